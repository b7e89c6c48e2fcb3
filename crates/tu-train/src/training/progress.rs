//! What a person sees while training runs: a bar with loss, learning rate and speed on a terminal, and a line now and
//! then where there is none.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::metrics_log::{StepMetrics, ValidationMetrics};

/// Progress of one run on standard error.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    lines: bool,
    steps: u64,
    last_line: Instant,
    smooth_loss: Option<f64>,
}

impl Progress {
    pub(crate) fn new(steps: u64, done: u64, visible: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let bar = (visible && terminal).then(|| {
            let style = ProgressStyle::with_template("{bar:30} {pos}/{len} steps, {eta} left  {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar = ProgressBar::new(steps).with_position(done).with_style(style);
            bar.reset_eta();
            bar
        });
        Self { bar, lines: visible && !terminal, steps, last_line: Instant::now(), smooth_loss: None }
    }

    pub(crate) fn step(&mut self, metrics: &StepMetrics) {
        let smooth = self.smooth_loss.map_or(metrics.loss, |old| 0.95 * old + 0.05 * metrics.loss);
        self.smooth_loss = Some(smooth);
        let speed = match &metrics.objectives {
            Some(objectives) => format!("{:.0} tokens/s", objectives.tokens_per_second),
            None => format!("{:.0} kvoxel/s", metrics.voxels_per_second / 1e3),
        };
        let text = format!("loss {smooth:.4}  lr {:.2e}  {speed}", metrics.lr);
        if let Some(bar) = &self.bar {
            bar.set_position(metrics.step);
            bar.set_message(text);
        } else if self.lines
            && (self.last_line.elapsed() > Duration::from_secs(20) || metrics.step == self.steps)
        {
            self.last_line = Instant::now();
            eprintln!("step {}/{}  {text}", metrics.step, self.steps);
        }
    }

    pub(crate) fn say(&self, text: &str) {
        if let Some(bar) = &self.bar {
            bar.println(text);
        } else if self.lines {
            eprintln!("{text}");
        }
    }

    pub(crate) fn validation(&self, metrics: &ValidationMetrics, best: bool) {
        let s = &metrics.scores;
        self.say(&format!(
            "validation at step {}: VOI {:.4} (split {:.4}, merge {:.4}), ARAND {:.4} with {} fragments, {} at {:.2}{}",
            metrics.step,
            s.voi,
            s.voi_split,
            s.voi_merge,
            s.arand,
            metrics.fragment_method.name(),
            metrics.scoring,
            metrics.threshold,
            if best { ", the best so far" } else { "" }
        ));
    }

    pub(crate) fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish();
        }
    }
}
