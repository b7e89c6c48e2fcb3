//! The table at the end of a run of stages.

use crate::counts::Counts;
use std::time::Duration;

/// What became of one stage.
pub(crate) struct Stage {
    pub(crate) name: String,
    pub(crate) counts: Counts,
    pub(crate) wall: Duration,
    /// Why it was skipped or failed, if it was.
    pub(crate) note: String,
}

/// All stages so far.
#[derive(Default)]
pub(crate) struct Report {
    stages: Vec<Stage>,
}

impl Report {
    pub(crate) fn add(&mut self, stage: Stage) {
        println!("── {}: {}\n", stage.name, sentence(&stage));
        self.stages.push(stage);
    }

    /// Sum over the stages.
    pub(crate) fn total(&self) -> Counts {
        self.stages.iter().fold(Counts::default(), |total, stage| total.plus(stage.counts))
    }

    /// Prints the table.
    pub(crate) fn print(&self) {
        let width = self.stages.iter().map(|stage| stage.name.len()).max().unwrap_or(0).max(5);
        println!("{:width$}  {:>7} {:>7} {:>7}  {:>8}", "stage", "passed", "failed", "skipped", "wall");
        for Stage { name, counts, wall, note } in &self.stages {
            let wall = clock(*wall);
            println!(
                "{name:width$}  {:>7} {:>7} {:>7}  {wall:>8}  {note}",
                counts.passed, counts.failed, counts.skipped
            );
        }
    }
}

fn sentence(stage: &Stage) -> String {
    let Counts { passed, failed, skipped } = stage.counts;
    let note = if stage.note.is_empty() { String::new() } else { format!(" ({})", stage.note) };
    format!("{passed} passed, {failed} failed, {skipped} skipped in {}{note}", clock(stage.wall))
}

fn clock(wall: Duration) -> String {
    let seconds = wall.as_secs();
    format!("{}:{:02}", seconds / 60, seconds % 60)
}
