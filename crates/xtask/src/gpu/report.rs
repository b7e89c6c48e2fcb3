//! One page and one file of numbers from what stages left behind.

mod page;
mod speed;

use super::state::{self, Step};
use crate::bench;
use crate::workspace::Workspace;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

/// Writes `report.md`, for people, and `results.json`, every result of every step.
///
/// # Errors
/// The notes cannot be read, or the file system refuses.
pub(super) fn write(state: &Path, out: &Path) -> Result<()> {
    let steps = state::read(state)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot create {}", out.display()))?;
    let results: Vec<Value> = steps.iter().map(result).collect();
    save(&out.join("results.json"), &format!("{:#}\n", json!({ "steps": results })))?;
    save(&out.join("report.md"), &page::page(&steps))
}

/// Puts the table of speeds into BENCHMARKS.md.
///
/// # Errors
/// The notes cannot be read, nothing was measured, or BENCHMARKS.md has no place for it.
pub(super) fn into_benchmarks(workspace: &Workspace, state: &Path) -> Result<()> {
    let steps = state::read(state)?;
    let table = speed::table(&steps).context("no speed was measured: run stage B first")?;
    bench::write_gpu_part(workspace, &format!("{}\n\n{table}", page::machine(&steps)))
}

fn result(step: &Step) -> Value {
    json!({
        "stage": step.stage, "step": step.name, "outcome": step.outcome, "seconds": step.seconds, "results": step.results(),
    })
}

/// Written aside and renamed, so that a cut leaves the file of the step before.
fn save(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("unfinished");
    std::fs::write(&aside, text).with_context(|| format!("cannot write {}", aside.display()))?;
    std::fs::rename(&aside, path).with_context(|| format!("cannot write {}", path.display()))
}
