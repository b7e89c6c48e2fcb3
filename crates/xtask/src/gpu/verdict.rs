//! Whether numbers from the GPU are worth anything.

use super::state::{self, Step};
use anyhow::{Result, bail};
use serde_json::Value;
use std::path::Path;

/// Largest difference of an affinity in f32 between GPU and processor that rounding explains, that of TF32 included.
const AFFINITY_LIMIT: f64 = 5e-3;

/// Fails if a self-check in f32 found affinities further off, or got none from the device.
///
/// # Errors
/// It did, or the notes cannot be read.
pub(super) fn run(state: &Path) -> Result<()> {
    let steps = state::read(state)?;
    let checks: Vec<&Step> = steps.iter().filter(|step| step.name.starts_with("selfcheck-")).collect();
    if checks.is_empty() {
        println!("no self-check has run yet: run stage A first to be sure of the GPU");
    }
    let wrong: Vec<String> =
        checks.iter().filter_map(|step| Some(format!("{}: {}", step.name, wrong(step)?))).collect();
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("the GPU does not compute what the processor does: {}", wrong.join("; "))
}

/// What is wrong with the affinities of a self-check; one that has not ended says nothing.
fn wrong(step: &Step) -> Option<String> {
    let results = step.results();
    let check =
        results.iter().find(|found| found["command"] == "selfcheck" && found["precision"] == "f32")?;
    let row = affinities(check)?;
    match row["error"].as_f64() {
        Some(error) if error <= AFFINITY_LIMIT => None,
        Some(error) => Some(format!("affinities differ by {error:.1e}, more than {AFFINITY_LIMIT:.0e}")),
        None => Some(row["failure"].as_str().unwrap_or("affinities are no numbers").to_owned()),
    }
}

/// The row of a self-check that compares affinities.
pub(super) fn affinities(check: &Value) -> Option<&Value> {
    check["rows"].as_array()?.iter().find(|row| {
        row["stage"] == "forward"
            && row["check"].as_str().is_some_and(|name| name.contains("largest difference"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(error: &str, precision: &str) -> Step {
        let log = format!(
            "$ tu-train selfcheck\n{{\"command\":\"selfcheck\",\"precision\":\"{precision}\",\"rows\":[{{\"stage\":\"forward\",\
             \"check\":\"affinities, largest difference\",\"error\":{error},\"failure\":null}}]}}\n"
        );
        let text = String::from;
        Step {
            stage: text("A"),
            name: text("selfcheck-tiny-cuda-f32"),
            outcome: text("failed"),
            seconds: 1,
            log,
        }
    }

    #[test]
    fn affinities_beyond_rounding_are_wrong() {
        assert_eq!(wrong(&check("4.9e-3", "f32")), None);
        assert!(wrong(&check("6e-3", "f32")).unwrap().contains("6.0e-3"));
        assert!(wrong(&check("null", "f32")).is_some());
    }

    #[test]
    fn half_types_and_unfinished_checks_decide_nothing() {
        assert_eq!(wrong(&check("6e-3", "bf16")), None);
        let mut unfinished = check("6e-3", "f32");
        unfinished.log.truncate(40);
        assert_eq!(wrong(&unfinished), None);
    }

    #[test]
    fn a_machine_that_was_not_checked_is_not_refused() {
        assert!(run(tempfile::tempdir().unwrap().path()).is_ok());
    }
}
