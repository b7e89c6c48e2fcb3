//! What a run folder holds, read with a bound on everything.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use super::{ReportError, Series};
use crate::metrics_log::{MetricsLine, StepMetrics, ValidationMetrics};

/// Longest line of the log that is looked at, in bytes.
const LINE: u64 = 64 << 10;
/// Most of config.toml that is shown, in bytes.
const SETTINGS: u64 = 256 << 10;
/// Largest picture that is embedded, in bytes.
const PICTURE: u64 = 16 << 20;
/// Validations in the table; of more, the newest.
const VALIDATIONS: usize = 200;
/// How a PNG begins.
const PNG: &[u8] = b"\x89PNG\r\n\x1a\n";

/// What a run did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunKind {
    /// `tu-train pretrain`.
    Pretraining,
    /// `tu-train finetune`.
    FineTuning,
}

/// A curve with a name.
#[derive(Clone, Debug, Default)]
pub struct NamedSeries {
    /// Objective or score.
    pub name: &'static str,
    /// Its values.
    pub series: Series,
}

/// What is shown of a run.
#[derive(Clone, Debug)]
pub struct RunContents {
    /// The folder.
    pub run: String,
    /// What it did.
    pub kind: RunKind,
    /// Settings by dotted name, or none where config.toml is no TOML.
    pub settings: Vec<(String, String)>,
    /// Steps done.
    pub steps: u64,
    /// Steps of the whole run, if the settings say so.
    pub planned_steps: Option<u64>,
    /// Seconds spent in steps.
    pub seconds: f64,
    /// Seconds that steps waited for their batches.
    pub data_wait_seconds: f64,
    /// Crops that could not be read and were replaced.
    pub replaced_crops: u64,
    /// Lines of the log that could not be read.
    pub unreadable_lines: u64,
    /// What is minimised.
    pub loss: Series,
    /// Losses of the objectives before weighting.
    pub losses: Vec<NamedSeries>,
    /// Weights of the objectives.
    pub weights: Vec<NamedSeries>,
    /// Share of tokens that a policy masked.
    pub masked_share: Series,
    /// How far descriptions of tokens lie apart, for BYOL.
    pub spread: Series,
    /// Learning rate.
    pub learning_rate: Series,
    /// Norm of the gradient before clipping.
    pub gradient_norm: Series,
    /// Tokens or, without objectives, voxels per second.
    pub throughput: Series,
    /// Validations, oldest first.
    pub validations: VecDeque<ValidationMetrics>,
    /// Validations in all.
    pub validation_count: u64,
    /// VOI, its parts and ARAND.
    pub scores: Vec<NamedSeries>,
    /// Step and bytes of the newest picture of reconstructions.
    pub panels: Option<(u64, Vec<u8>)>,
}

impl RunContents {
    /// Reads a run's folder.
    ///
    /// # Errors
    /// There is no run, it has no steps yet, or its log cannot be read.
    pub fn read(run: &Path) -> Result<Self, ReportError> {
        let path = run.join("metrics.jsonl");
        let io = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
                ReportError::NoRun { run: run.to_path_buf() }
            }
            _ => ReportError::Io { path: path.clone(), source },
        };
        // A pipe or a device would never end.
        if !std::fs::metadata(&path).map_err(io)?.is_file() {
            return Err(ReportError::NoRun { run: run.to_path_buf() });
        }
        let log = File::open(&path).map_err(io)?;
        let (settings, table) = settings(run);
        let has = |name: &str| table.as_ref().is_some_and(|table| table.contains_key(name));
        let planned = table.as_ref().and_then(|table| table.get("steps")?.as_integer());
        let mut contents = Self {
            run: run.display().to_string(),
            kind: if has("patch_zyx") { RunKind::Pretraining } else { RunKind::FineTuning },
            settings,
            steps: 0,
            planned_steps: planned.and_then(|steps| u64::try_from(steps).ok()),
            seconds: 0.0,
            data_wait_seconds: 0.0,
            replaced_crops: 0,
            unreadable_lines: 0,
            loss: Series::default(),
            losses: Vec::new(),
            weights: Vec::new(),
            masked_share: Series::default(),
            spread: Series::default(),
            learning_rate: Series::default(),
            gradient_norm: Series::default(),
            throughput: Series::default(),
            validations: VecDeque::new(),
            validation_count: 0,
            scores: Vec::new(),
            panels: newest_panels(run),
        };
        contents.read_log(BufReader::new(log)).map_err(io)?;
        if contents.loss.is_empty() {
            return Err(ReportError::NoSteps { run: run.to_path_buf() });
        }
        Ok(contents)
    }

    fn read_log(&mut self, mut log: impl BufRead) -> std::io::Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if log.by_ref().take(LINE).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            if line.last() != Some(&b'\n') {
                // Cut off by a crash, or longer than any line that training writes.
                self.unreadable_lines += 1;
                log.skip_until(b'\n')?;
                continue;
            }
            match serde_json::from_slice(&line) {
                Ok(MetricsLine::Step(step)) => self.step(&step),
                Ok(MetricsLine::Validation(validation)) => self.validation(validation),
                Ok(MetricsLine::Replacement(_)) => self.replaced_crops += 1,
                Err(_) => self.unreadable_lines += 1,
            }
        }
    }

    fn step(&mut self, step: &StepMetrics) {
        self.steps = self.steps.max(step.step);
        if step.seconds.is_finite() {
            self.seconds += step.seconds;
        }
        if step.data_wait_seconds.is_finite() {
            self.data_wait_seconds += step.data_wait_seconds;
        }
        self.loss.push(step.step, step.loss);
        self.learning_rate.push(step.step, step.lr);
        self.gradient_norm.push(step.step, step.gradient_norm);
        let Some(objectives) = &step.objectives else {
            return self.throughput.push(step.step, step.voxels_per_second);
        };
        self.throughput.push(step.step, objectives.tokens_per_second);
        if let Some(share) = objectives.masked_share {
            self.masked_share.push(step.step, share);
        }
        if let Some(spread) = objectives.spread {
            self.spread.push(step.step, spread);
        }
        for (name, term) in objectives.terms() {
            if let Some(loss) = term.loss {
                push(&mut self.losses, name, step.step, loss);
            }
            push(&mut self.weights, name, step.step, term.weight);
        }
    }

    fn validation(&mut self, validation: ValidationMetrics) {
        let (step, scores) = (validation.step, &validation.scores);
        push(&mut self.scores, "VOI", step, scores.voi);
        push(&mut self.scores, "split", step, scores.voi_split);
        push(&mut self.scores, "merge", step, scores.voi_merge);
        push(&mut self.scores, "ARAND", step, scores.arand);
        self.validation_count += 1;
        if self.validations.len() == VALIDATIONS {
            self.validations.pop_front();
        }
        self.validations.push_back(validation);
    }
}

fn push(list: &mut Vec<NamedSeries>, name: &'static str, step: u64, value: f64) {
    match list.iter_mut().find(|known| known.name == name) {
        Some(known) => known.series.push(step, value),
        None => {
            let mut series = Series::default();
            series.push(step, value);
            list.push(NamedSeries { name, series });
        }
    }
}

/// The settings by dotted name, and as TOML if they are. A run without them is shown without them.
fn settings(run: &Path) -> (Vec<(String, String)>, Option<toml::Table>) {
    let Some(bytes) = bounded(&run.join("config.toml"), SETTINGS) else {
        return (Vec::new(), None);
    };
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let Ok(table) = text.parse::<toml::Table>() else {
        return (vec![("config.toml".into(), text)], None);
    };
    let mut flat = Vec::new();
    table.iter().for_each(|(name, value)| flatten(name, value, &mut flat));
    (flat, Some(table))
}

fn flatten(name: &str, value: &toml::Value, flat: &mut Vec<(String, String)>) {
    match value {
        toml::Value::Table(table) => {
            table.iter().for_each(|(key, value)| flatten(&format!("{name}.{key}"), value, flat));
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            list.iter().enumerate().for_each(|(i, value)| flatten(&format!("{name}[{i}]"), value, flat));
        }
        toml::Value::String(text) => flat.push((name.to_owned(), text.clone())),
        other => flat.push((name.to_owned(), other.to_string())),
    }
}

/// A plain file of at most `limit` bytes.
fn bounded(path: &Path, limit: u64) -> Option<Vec<u8>> {
    // A link could lead to a file that is none of the run's.
    if !std::fs::symlink_metadata(path).ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(limit + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= limit).then_some(bytes)
}

/// The newest picture in `panels/` that is a PNG.
fn newest_panels(run: &Path) -> Option<(u64, Vec<u8>)> {
    let entries = std::fs::read_dir(run.join("panels")).ok()?;
    let step_of = |name: &str| name.strip_prefix("step-")?.strip_suffix(".png")?.parse::<u64>().ok();
    let mut steps: Vec<u64> = entries.filter_map(|e| step_of(e.ok()?.file_name().to_str()?)).collect();
    steps.sort_unstable();
    steps.into_iter().rev().find_map(|step| {
        let bytes = bounded(&run.join(format!("panels/step-{step}.png")), PICTURE)?;
        bytes.starts_with(PNG).then_some((step, bytes))
    })
}
