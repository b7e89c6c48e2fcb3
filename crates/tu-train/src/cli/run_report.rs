//! `tu-train report`.

use std::path::PathBuf;

use serde_json::json;
use tu_train::report::{RunKind, write_report};

use super::report::Report;

/// Write one HTML page about a run: settings, curves, validations, newest reconstructions
///
/// The page is one file that needs no network and no script; send it to whom you like. It can be written while the run goes
/// on, and again later.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train report run
  tu-train report runs/pretrained --out pretrained.html")]
pub(super) struct Options {
    /// Folder that `tu-train pretrain` or `tu-train finetune` writes
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// Where the page goes [default: RUN/report.html]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let out = options.out.clone().unwrap_or_else(|| options.run.join("report.html"));
    let contents = write_report(&options.run, &out)?;
    let kind = match contents.kind {
        RunKind::Pretraining => "pretrain",
        RunKind::FineTuning => "finetune",
    };
    let text = format!("{}: {} steps of {kind}", out.display(), contents.steps);
    let json = json!({
        "command": "report", "run": options.run.display().to_string(), "report": out.display().to_string(),
        "kind": kind, "steps": contents.steps, "planned_steps": contents.planned_steps,
        "loss": contents.loss.last(), "loss_smoothed": contents.loss.last_smoothed(),
        "validations": contents.validation_count, "unreadable_lines": contents.unreadable_lines,
    });
    Ok(Report::new(text, json))
}
