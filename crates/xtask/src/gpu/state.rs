//! What stages leave behind: `steps.jsonl`, a line for each step, and `logs/STAGE-STEP.log`, in which lines of JSON are results.

use anyhow::{Context, Result};
use serde_json::Value;
use std::path::Path;

/// A step of a stage, the last time it ran.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// `A`, `B` or `C`.
    pub(super) stage: String,
    pub(super) name: String,
    /// `passed`, `failed`, `timed out`, `stopped`, `left out` or `cut short`.
    pub(super) outcome: String,
    pub(super) seconds: u64,
    /// What it printed.
    pub(super) log: String,
}

impl Step {
    /// Lines of the log that are JSON objects.
    pub(super) fn results(&self) -> Vec<Value> {
        self.log
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The value behind `name: ` at the beginning of a line, for every such line.
    pub(super) fn facts<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.log.lines().filter_map(move |line| Some(line.strip_prefix(name)?.strip_prefix(": ")?.trim()))
    }
}

/// Reads the notes of all stages, in the order in which steps first ran. A line that was cut in the middle is passed over.
///
/// # Errors
/// `steps.jsonl` exists and cannot be read.
pub(super) fn read(state: &Path) -> Result<Vec<Step>> {
    let path = state.join("steps.jsonl");
    let notes = match std::fs::read_to_string(&path) {
        Ok(notes) => notes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut steps: Vec<Step> = Vec::new();
    for note in notes.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |key: &str| note.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (stage, name) = (text("stage"), text("step"));
        let log = std::fs::read(state.join("logs").join(format!("{stage}-{name}.log"))).unwrap_or_default();
        let step = Step {
            outcome: text("outcome"),
            seconds: note.get("seconds").and_then(Value::as_u64).unwrap_or_default(),
            log: String::from_utf8_lossy(&log).into_owned(),
            stage,
            name,
        };
        match steps.iter_mut().find(|known| known.stage == step.stage && known.name == step.name) {
            Some(known) => *known = step,
            None => steps.push(step),
        }
    }
    Ok(steps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_run_of_a_step_counts_and_a_cut_line_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let line = |outcome: &str| {
            format!(
                "{{\"stage\":\"A\",\"step\":\"facts\",\"outcome\":\"{outcome}\",\"status\":0,\"seconds\":2,\"limit\":9}}\n"
            )
        };
        let notes = line("failed") + &line("passed") + "{\"stage\":\"A\",\"st";
        std::fs::write(folder.path().join("steps.jsonl"), notes).unwrap();
        std::fs::create_dir(folder.path().join("logs")).unwrap();
        std::fs::write(folder.path().join("logs/A-facts.log"), "GPU: a card\n{\"n\":1}\n{\"n\":").unwrap();
        let steps = read(folder.path()).unwrap();
        assert_eq!(steps.len(), 1);
        assert_eq!(steps[0].outcome, "passed");
        assert_eq!(steps[0].facts("GPU").collect::<Vec<_>>(), ["a card"]);
        assert_eq!(steps[0].results(), [serde_json::json!({ "n": 1 })]);
    }

    #[test]
    fn without_notes_there_are_no_steps() {
        assert!(read(tempfile::tempdir().unwrap().path()).unwrap().is_empty());
    }
}
