//! `metrics.jsonl`: one JSON object per line, appended as training goes. `kind` is `step`, `validation` or
//! `replacement`. The same numbers go into an event file for TensorBoard.

mod tensorboard;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tu_segment::{FragmentMethod, Scores, Scoring};

use crate::checkpoint::write_file;
use tensorboard::EventFile;

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MetricsLine {
    /// An optimiser step.
    Step(StepMetrics),
    /// A validation.
    Validation(ValidationMetrics),
    /// A crop that could not be read and was replaced by another one.
    Replacement(ReplacementMetrics),
}

/// What an optimiser step gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepMetrics {
    /// Steps done, this one included.
    pub step: u64,
    /// Loss of the batch.
    pub loss: f64,
    /// Learning rate used.
    pub lr: f64,
    /// Norm of all gradients before clipping.
    pub gradient_norm: f64,
    /// Wall-clock seconds of the step.
    pub seconds: f64,
    /// Wall-clock seconds that the step waited for its batch before it began.
    #[serde(default)]
    pub data_wait_seconds: f64,
    /// Voxels of input per second.
    pub voxels_per_second: f64,
    /// Terms of the loss, in pretraining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objectives: Option<ObjectiveMetrics>,
}

/// The terms of a pretraining step's loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveMetrics {
    /// Random token prediction.
    pub random: TermMetrics,
    /// Next-token prediction.
    pub next: TermMetrics,
    /// Next-all-token prediction.
    pub next_all: TermMetrics,
    /// Agreement of two views, where that is the objective.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub byol: Option<TermMetrics>,
    /// The policy that chooses masks, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<TermMetrics>,
    /// Share of tokens that the policy masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub masked_share: Option<f64>,
    /// How far apart the target's descriptions of tokens lie: 0 where all are alike, which is collapse, 1 at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spread: Option<f64>,
    /// Tokens of the crops per second.
    pub tokens_per_second: f64,
}

impl ObjectiveMetrics {
    /// No term at all, at `tokens_per_second`.
    #[must_use]
    pub fn nothing(tokens_per_second: f64) -> Self {
        let none = TermMetrics { loss: None, weight: 0.0 };
        Self {
            random: none,
            next: none,
            next_all: none,
            byol: None,
            policy: None,
            masked_share: None,
            spread: None,
            tokens_per_second,
        }
    }

    /// The terms by name.
    pub fn terms(&self) -> impl Iterator<Item = (&'static str, TermMetrics)> {
        let tokens = [("random", self.random), ("next", self.next), ("next-all", self.next_all)];
        let others = [("byol", self.byol), ("policy", self.policy)];
        tokens.into_iter().chain(others.into_iter().filter_map(|(name, term)| Some((name, term?))))
    }
}

/// One term of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TermMetrics {
    /// Its value before weighting; none where its weight is 0 and it was not computed.
    pub loss: Option<f64>,
    /// Its weight.
    pub weight: f64,
}

/// A crop that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplacementMetrics {
    /// The step that trained on another crop in its place, counted from 1.
    pub step: u64,
    /// What was wrong.
    pub cause: String,
}

/// The best post-processing of one validation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ValidationMetrics {
    /// Steps done when it was made.
    pub step: u64,
    /// Scores of the best setting.
    pub scores: Scores,
    /// Its fragment method.
    pub fragment_method: FragmentMethod,
    /// Its scoring.
    pub scoring: Scoring,
    /// Its threshold.
    pub threshold: f32,
    /// Best VOI of each fragment method, by name.
    pub voi_by_method: Vec<(String, f64)>,
    /// Wall-clock seconds.
    pub seconds: f64,
}

impl MetricsLine {
    /// Steps done when the line was written.
    #[must_use]
    pub fn step(&self) -> u64 {
        match self {
            Self::Step(line) => line.step,
            Self::Validation(line) => line.step,
            Self::Replacement(line) => line.step,
        }
    }
}

/// An open log.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    file: File,
    events: EventFile,
}

impl MetricsLog {
    /// Opens the log of a run for appending. Lines beyond `step` (written after the checkpoint that is resumed from) and
    /// a line cut off by a crash are dropped first.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn open(run: &Path, step: u64) -> std::io::Result<Self> {
        let path = run.join("metrics.jsonl");
        if path.exists() {
            // Kept lines stay byte for byte as they were written.
            let mut kept = String::new();
            for line in std::fs::read_to_string(&path)?.lines() {
                if serde_json::from_str::<MetricsLine>(line).is_ok_and(|parsed| parsed.step() <= step) {
                    kept.push_str(line);
                    kept.push('\n');
                }
            }
            write_file(&path, kept.as_bytes())?;
        }
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        Ok(Self { path, file, events: EventFile::create(run, step)? })
    }

    /// Appends a line, here and for TensorBoard.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn append(&mut self, line: &MetricsLine) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.events.append(line)
    }

    /// Where the log is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// All whole lines of a log; a last line without an end is left out.
///
/// # Errors
/// The file cannot be read.
pub fn read_lines(path: &Path) -> std::io::Result<Vec<MetricsLine>> {
    let mut lines = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        if let Ok(parsed) = serde_json::from_str(&line?) {
            lines.push(parsed);
        }
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reopening_at_a_step_drops_what_came_later_and_half_lines() {
        let run = tempfile::tempdir().unwrap();
        let line = |step| {
            MetricsLine::Step(StepMetrics {
                step,
                loss: 0.1 + 1.0 / step as f64,
                lr: 1e-3,
                gradient_norm: 1.0,
                seconds: 0.1,
                data_wait_seconds: 0.0,
                voxels_per_second: 10.0,
                objectives: None,
            })
        };
        let mut log = MetricsLog::open(run.path(), 0).unwrap();
        for step in 1..=5 {
            log.append(&line(step)).unwrap();
        }
        log.file.write_all(b"{\"kind\":\"step\",\"st").unwrap();
        let log = MetricsLog::open(run.path(), 3).unwrap();
        assert_eq!(read_lines(log.path()).unwrap(), [line(1), line(2), line(3)]);
    }
}
