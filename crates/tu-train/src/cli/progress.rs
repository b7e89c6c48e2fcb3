//! Progress on standard error: a bar with speed and remaining time on a terminal, a line now and then where there is none.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tu_train::segment::Progress;

/// Time between lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

/// Bars, lines or nothing.
pub(super) struct Bars {
    visible: bool,
    terminal: bool,
    phase: Mutex<Option<Phase>>,
}

struct Phase {
    name: String,
    bar: Option<ProgressBar>,
    voxels: u64,
    done_before: u64,
    done: u64,
    begun: Instant,
    last_line: Instant,
}

impl Phase {
    fn megavoxels_per_second(&self) -> f64 {
        (self.done - self.done_before) as f64 / 1e6 / self.begun.elapsed().as_secs_f64().max(1e-3)
    }
}

impl Bars {
    pub(super) fn new(visible: bool) -> Self {
        Self { visible, terminal: std::io::stderr().is_terminal(), phase: Mutex::new(None) }
    }

    fn with_phase(&self, f: impl FnOnce(&mut Phase)) {
        if let Some(phase) = self.phase.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            f(phase);
        }
    }
}

impl Progress for Bars {
    fn begin(&self, name: &str, voxels: u64, done: u64) {
        if !self.visible {
            return;
        }
        let bar = self.terminal.then(|| {
            let style =
                ProgressStyle::with_template("{prefix:10} {bar:30} {percent:>3} %  {msg}  {eta} left")
                    .unwrap_or_else(|_| ProgressStyle::default_bar());
            let bar =
                ProgressBar::new(voxels).with_position(done).with_style(style).with_prefix(name.to_owned());
            bar.reset_eta();
            bar
        });
        if !self.terminal && done > 0 {
            eprintln!("{name}: {:.0} % were done before", 100.0 * done as f64 / voxels.max(1) as f64);
        }
        let now = Instant::now();
        let phase =
            Phase { name: name.to_owned(), bar, voxels, done_before: done, done, begun: now, last_line: now };
        *self.phase.lock().unwrap_or_else(PoisonError::into_inner) = Some(phase);
    }

    fn advance(&self, voxels: u64) {
        self.with_phase(|phase| {
            phase.done += voxels;
            let speed = phase.megavoxels_per_second();
            if let Some(bar) = &phase.bar {
                bar.set_message(format!("{speed:.2} Mvoxel/s"));
                bar.set_position(phase.done);
            } else if phase.last_line.elapsed() >= LINE_EVERY {
                phase.last_line = Instant::now();
                let left = phase.voxels.saturating_sub(phase.done) as f64 / 1e6 / speed.max(1e-9);
                eprintln!(
                    "{}: {:.0} %, {speed:.2} Mvoxel/s, {} left",
                    phase.name,
                    100.0 * phase.done as f64 / phase.voxels.max(1) as f64,
                    indicatif::HumanDuration(Duration::try_from_secs_f64(left).unwrap_or_default())
                );
            }
        });
    }

    fn note(&self, text: &str) {
        if !self.visible {
            return;
        }
        let mut said = false;
        self.with_phase(|phase| {
            if let Some(bar) = &phase.bar {
                bar.println(text);
                said = true;
            }
        });
        if !said {
            eprintln!("{text}");
        }
    }

    fn end(&self) {
        if let Some(phase) = self.phase.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let (speed, seconds) = (phase.megavoxels_per_second(), phase.begun.elapsed().as_secs_f64());
            if let Some(bar) = &phase.bar {
                bar.finish_and_clear();
            }
            eprintln!("{}: {speed:.2} Mvoxel/s, {seconds:.1} s", phase.name);
        }
    }
}
