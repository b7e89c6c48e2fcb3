//! The same numbers for TensorBoard: an event file per start of a run, in the format that TensorFlow defines.
//!
//! ```text
//! file   = record*
//! record = length u64 | masked crc32c(length) u32 | bytes | masked crc32c(bytes) u32        little endian
//! mask(c) = (c >> 15 | c << 17) + 0xa282ead8
//! bytes  = Event { 1: wall_time f64, 2: step i64, one of 3: file_version, 5: Summary, 7: SessionLog }
//! Summary = { 1: Value { 2: tag f32, … }* },  SessionLog = { 1: status, START = 1 }            protobuf
//! ```
//! A resumed run opens a new file whose SessionLog names its first step: readers drop what an earlier file holds from that
//! step on.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::MetricsLine;

/// Added to a rotated checksum, so that the checksum of bytes that hold checksums stays a good one.
const MASK: u32 = 0xa282_ead8;

/// An open event file.
#[derive(Debug)]
pub(super) struct EventFile {
    file: File,
}

impl EventFile {
    /// Creates the event file of a run that goes on after `step` steps.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn create(run: &Path, step: u64) -> std::io::Result<Self> {
        let now = since_epoch();
        // Readers take files in the order of their names.
        let name = format!("events.out.tfevents.{:010}.{:09}.tu-train", now.as_secs(), now.subsec_nanos());
        let file = OpenOptions::new().write(true).create_new(true).open(run.join(name))?;
        let mut events = Self { file };
        events.write(0, |event| bytes_field(event, 3, b"brain.Event:2"))?;
        let mut start = Vec::new();
        varint_field(&mut start, 1, 1);
        events.write(step + 1, |event| bytes_field(event, 7, &start))?;
        Ok(events)
    }

    /// Appends the numbers of a line.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn append(&mut self, line: &MetricsLine) -> std::io::Result<()> {
        let mut summary = Vec::new();
        for (tag, number) in scalars(line) {
            let mut value = Vec::new();
            bytes_field(&mut value, 1, tag.as_bytes());
            key(&mut value, 2, 5);
            value.extend_from_slice(&(number as f32).to_le_bytes());
            bytes_field(&mut summary, 1, &value);
        }
        self.write(line.step(), |event| bytes_field(event, 5, &summary))
    }

    /// Writes one event in one piece, so that a crash cuts off its tail at most.
    fn write(&mut self, step: u64, content: impl FnOnce(&mut Vec<u8>)) -> std::io::Result<()> {
        let mut event = Vec::new();
        key(&mut event, 1, 1);
        event.extend_from_slice(&since_epoch().as_secs_f64().to_le_bytes());
        varint_field(&mut event, 2, step);
        content(&mut event);
        self.file.write_all(&record(&event))
    }
}

fn since_epoch() -> Duration {
    // A clock before 1970 tells nothing worth failing for.
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Names and values of what a line holds.
fn scalars(line: &MetricsLine) -> Vec<(String, f64)> {
    let mut scalars = Vec::new();
    let mut push = |tag: &str, value: f64| scalars.push((tag.to_owned(), value));
    match line {
        MetricsLine::Step(step) => {
            push("loss/total", step.loss);
            for (name, term) in step.objectives.iter().flat_map(super::ObjectiveMetrics::terms) {
                if let Some(loss) = term.loss {
                    push(&format!("loss/{name}"), loss);
                }
                push(&format!("weight/{name}"), term.weight);
            }
            push("optimiser/learning_rate", step.lr);
            push("optimiser/gradient_norm", step.gradient_norm);
            push("throughput/voxels_per_second", step.voxels_per_second);
            push("throughput/data_wait_seconds", step.data_wait_seconds);
            if let Some(objectives) = &step.objectives {
                push("throughput/tokens_per_second", objectives.tokens_per_second);
                if let Some(share) = objectives.masked_share {
                    push("policy/masked_share", share);
                }
                if let Some(spread) = objectives.spread {
                    push("byol/spread", spread);
                }
            }
        }
        MetricsLine::Validation(validation) => {
            let scores = &validation.scores;
            push("validation/voi", scores.voi);
            push("validation/voi_split", scores.voi_split);
            push("validation/voi_merge", scores.voi_merge);
            push("validation/arand", scores.arand);
        }
        MetricsLine::Replacement(_) => {}
    }
    scalars
}

/// Bytes with their length and the checksums of both.
fn record(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(bytes.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_checksum(&length).to_le_bytes());
    record.extend_from_slice(bytes);
    record.extend_from_slice(&masked_checksum(bytes).to_le_bytes());
    record
}

fn masked_checksum(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(MASK)
}

/// Field number and wire type: 0 varint, 1 eight bytes, 2 bytes with their length, 5 four bytes.
fn key(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    out.push(field << 3 | wire_type);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn varint_field(out: &mut Vec<u8>, field: u8, value: u64) {
    key(out, field, 0);
    varint(out, value);
}

fn bytes_field(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    key(out, field, 2);
    varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
