//! Event files, read back by a decoder that shares no code with the writer.

use std::collections::BTreeMap;

use super::super::{MetricsLine, MetricsLog, ObjectiveMetrics, StepMetrics, TermMetrics};
use super::masked_checksum;

/// CRC-32C bit by bit, reflected polynomial 0x82f63b78.
fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
        }
    }
    !crc
}

fn masked(bytes: &[u8]) -> u32 {
    let crc = checksum(bytes);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// One field of a message.
#[derive(Debug)]
enum Field<'b> {
    Number(u64),
    Double(f64),
    Float(f32),
    Bytes(&'b [u8]),
}

fn number(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            break;
        }
    }
    value
}

/// The fields of a protobuf message, by number, in their order.
fn fields(mut bytes: &[u8]) -> Vec<(u64, Field<'_>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let key = number(&mut bytes);
        let take = match key & 7 {
            0 => {
                found.push((key >> 3, Field::Number(number(&mut bytes))));
                continue;
            }
            1 => 8,
            2 => number(&mut bytes) as usize,
            5 => 4,
            other => panic!("wire type {other}"),
        };
        let (value, rest) = bytes.split_at(take);
        bytes = rest;
        let field = match key & 7 {
            1 => Field::Double(f64::from_le_bytes(value.try_into().unwrap())),
            5 => Field::Float(f32::from_le_bytes(value.try_into().unwrap())),
            _ => Field::Bytes(value),
        };
        found.push((key >> 3, field));
    }
    found
}

#[derive(Debug, Default)]
struct Event {
    seconds: f64,
    step: u64,
    version: Option<String>,
    session: Option<u64>,
    scalars: BTreeMap<String, f32>,
}

fn event(bytes: &[u8]) -> Event {
    let mut event = Event::default();
    for field in fields(bytes) {
        match field {
            (1, Field::Double(seconds)) => event.seconds = seconds,
            (2, Field::Number(step)) => event.step = step,
            (3, Field::Bytes(version)) => event.version = Some(String::from_utf8(version.into()).unwrap()),
            (5, Field::Bytes(summary)) => {
                for (_, value) in fields(summary) {
                    let Field::Bytes(value) = value else { panic!("{value:?}") };
                    let [(1, Field::Bytes(tag)), (2, Field::Float(number))] = fields(value)[..] else {
                        panic!("no tag and number")
                    };
                    event.scalars.insert(String::from_utf8(tag.into()).unwrap(), number);
                }
            }
            (7, Field::Bytes(session)) => match fields(session)[..] {
                [(1, Field::Number(status))] => event.session = Some(status),
                _ => panic!("no status"),
            },
            other => panic!("{other:?}"),
        }
    }
    event
}

/// Events of the only or the newest event file, every checksum verified.
fn events(run: &std::path::Path) -> Vec<Event> {
    let entries = std::fs::read_dir(run).unwrap().map(|e| e.unwrap().path());
    let newest = entries.filter(|p| p.to_str().unwrap().contains("tfevents")).max().unwrap();
    let bytes = std::fs::read(newest).unwrap();
    let (mut rest, mut found) = (bytes.as_slice(), Vec::new());
    while !rest.is_empty() {
        let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
        assert_eq!(rest[8..12], masked(&rest[..8]).to_le_bytes());
        let content = &rest[12..12 + length];
        assert_eq!(rest[12 + length..16 + length], masked(content).to_le_bytes());
        found.push(event(content));
        rest = &rest[16 + length..];
    }
    found
}

fn step(step: u64) -> MetricsLine {
    let term = |loss, weight| TermMetrics { loss, weight };
    MetricsLine::Step(StepMetrics {
        step,
        loss: 0.25 + step as f64,
        lr: 1e-3,
        gradient_norm: 2.0,
        seconds: 0.5,
        data_wait_seconds: 0.25,
        voxels_per_second: 8192.0,
        objectives: Some(ObjectiveMetrics {
            random: term(Some(0.125), 0.75),
            next: term(None, 0.25),
            masked_share: Some(0.625),
            spread: Some(0.875),
            ..ObjectiveMetrics::nothing(64.0)
        }),
    })
}

#[test]
fn the_checksum_is_the_published_one() {
    // Of the test vectors in RFC 3720, B.4.
    assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
    assert_eq!(checksum(b"123456789"), 0xe306_9283);
    assert_eq!(masked_checksum(b"123456789"), masked(b"123456789"));
}

#[test]
fn every_number_of_a_step_is_in_the_event_file() {
    let run = tempfile::tempdir().unwrap();
    let mut log = MetricsLog::open(run.path(), 0).unwrap();
    log.append(&step(1)).unwrap();
    log.append(&step(300)).unwrap();
    let events = events(run.path());
    assert_eq!(events[0].version.as_deref(), Some("brain.Event:2"));
    assert_eq!((events[1].session, events[1].step), (Some(1), 1));
    assert_eq!((events.len(), events[2].step, events[3].step), (4, 1, 300));
    assert!(events.iter().all(|e| e.seconds > 1.7e9));
    let expected: BTreeMap<String, f32> = [
        ("loss/total", 300.25),
        ("loss/random", 0.125),
        ("weight/random", 0.75),
        ("weight/next", 0.25),
        ("weight/next-all", 0.0),
        ("optimiser/learning_rate", 1e-3),
        ("optimiser/gradient_norm", 2.0),
        ("throughput/voxels_per_second", 8192.0),
        ("throughput/data_wait_seconds", 0.25),
        ("throughput/tokens_per_second", 64.0),
        ("policy/masked_share", 0.625),
        ("byol/spread", 0.875),
    ]
    .map(|(tag, value)| (tag.to_owned(), value))
    .into();
    assert_eq!(events[3].scalars, expected);
}

#[test]
fn a_resumed_run_names_the_step_from_which_earlier_events_do_not_count() {
    let run = tempfile::tempdir().unwrap();
    let mut log = MetricsLog::open(run.path(), 0).unwrap();
    (1..=5).for_each(|s| log.append(&step(s)).unwrap());
    drop(log);
    let mut log = MetricsLog::open(run.path(), 3).unwrap();
    log.append(&step(4)).unwrap();
    let events = events(run.path());
    assert_eq!((events[1].session, events[1].step), (Some(1), 4));
    assert_eq!(events[2].step, 4);
}
