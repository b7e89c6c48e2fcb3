//! `tu-train selfcheck`.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use tu_model::{EmMambaConfig, Preset};
use tu_train::device::DeviceChoice;
use tu_train::selfcheck::{Plan, Row, self_check};

use super::Common;
use super::inputs::{PrecisionOption, Triple, read_file};
use super::report::Report;

/// What training sees.
const WINDOW_ZYX: [usize; 3] = [16, 160, 160];

/// Compare what a device computes with the processor: kernels, a forward pass, three training steps
///
/// Every operation of the network runs at its own sizes, with gradients, then the network as a whole, on synthetic data. The
/// exit code is 0 only if all of it agrees within what the types round; a kernel that does not is named. The processor is compared
/// with other implementations of the same operations, and has to repeat itself to the bit.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train selfcheck --device cuda
  tu-train selfcheck --device wgpu --preset base --precision f16
  tu-train selfcheck --device cuda --model models/tiny-fib25.safetensors --json

Seconds on a GPU, minutes on a software driver, where --window 4,32,32 is enough to find a kernel that is wrong. Commands
that use a GPU run a short form of it first, unless --skip-selfcheck is given.")]
pub(super) struct Options {
    /// auto, cpu, cuda or wgpu
    #[arg(long, default_value = "auto", value_name = "DEVICE")]
    device: DeviceChoice,
    /// Architecture, with seeded weights: tiny, small, base, 100m, 200m, 500m or 1b
    #[arg(long, default_value = "tiny", value_name = "PRESET", conflicts_with = "model", value_parser = preset)]
    preset: Preset,
    /// A trained network, in place of a preset
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Voxels that the network sees, y and x multiples of 16 [default: 16,160,160; the model's own tile and halo]
    #[arg(long, value_name = "Z,Y,X")]
    window: Option<Triple<usize>>,
    #[command(flatten)]
    precision: PrecisionOption,
}

fn preset(name: &str) -> Result<Preset, String> {
    name.parse::<Preset>().map_err(|error| error.to_string())
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let (device, choice) = options.device.open()?;
    let precision = options.precision.precision;
    let window = options.window.map(|window| window.0);
    let (name, plan) = match &options.model {
        Some(path) => {
            let name = path.display().to_string();
            let plan = Plan::of_model(&device, precision, read_file("model", path)?, window);
            (name.clone(), plan.with_context(|| format!("model {name}"))?)
        }
        None => {
            let config = EmMambaConfig::preset(options.preset);
            let plan = Plan::of_architecture(&device, precision, config, window.unwrap_or(WINDOW_ZYX))?;
            (options.preset.name().to_owned(), plan)
        }
    };
    let bar = bar(common, plan.rows());
    let rows = self_check(&plan, &mut |row| {
        bar.set_message(row.check.clone());
        bar.inc(1);
        if !row.agrees {
            bar.suspend(|| eprintln!("wrong: {row}"));
        }
    });
    bar.finish_and_clear();
    let seconds = begun.elapsed().as_secs_f64();
    let [z, y, x] = plan.window_zyx();
    let subject = format!("{name}, window {z}×{y}×{x}, {precision}, on {choice}");
    let json = json!({
        "command": "selfcheck", "device": choice.to_string(), "network": name, "precision": precision,
        "window_zyx": plan.window_zyx(), "seconds": seconds,
    });
    Ok(report(&rows, &subject, choice, json))
}

/// The table with a summary, and whether all of it agrees.
fn report(rows: &[Row], subject: &str, choice: DeviceChoice, mut json: Value) -> Report {
    let wrong: Vec<&Row> = rows.iter().filter(|row| !row.agrees).collect();
    let (all, agreeing) = (rows.len(), rows.len() - wrong.len());
    json["agrees"] = json!(wrong.is_empty());
    json["checks"] = json!(all);
    json["wrong"] = json!(wrong.len());
    json["rows"] = json!(rows);
    let text = format!("{}\n{subject}: {agreeing} of {all} checks agree", table(rows));
    let Some(first) = wrong.first() else {
        return Report::new(text, json);
    };
    let mut names: Vec<&str> = Vec::new();
    for row in &wrong {
        if !names.contains(&row.check.as_str()) {
            names.push(&row.check);
        }
    }
    let failure = format!(
        "device {choice}: it does not agree with the processor in {} of {all} checks ({}); first {first}. Update the driver or use --device cpu",
        wrong.len(),
        names.join("; ")
    );
    Report::failed(text, json, failure)
}

/// A bar over checks, on a terminal.
fn bar(common: &Common, rows: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos:>3} of {len}  {msg}  {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    let target = if common.quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
    ProgressBar::with_draw_target(Some(rows as u64), target).with_style(style)
}

fn table(rows: &[Row]) -> String {
    let widths = |text: fn(&Row) -> &str| rows.iter().map(|row| text(row).chars().count()).max().unwrap_or(0);
    let (check, shape, result) = (widths(|r| &r.check), widths(|r| &r.shape), widths(|r| &r.result));
    let mut text = format!(
        "{:check$}  {:shape$}  {:result$}  {:>9}  {:>9}  {:>9}\n",
        "check", "shape", "furthest off", "error", "limit", "ms"
    );
    for row in rows {
        let error = row.error.map_or_else(|| "none".to_owned(), |error| format!("{error:.1e}"));
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:check$}  {:shape$}  {:result$}  {error:>9}  {:>9}  {:>9.1}  {}",
            row.check,
            row.shape,
            row.result,
            format!("{:.1e}", row.limit),
            row.milliseconds,
            if row.agrees { "agrees" } else { "WRONG" }
        );
        if let Some(failure) = &row.failure {
            let _ = writeln!(text, "  {failure}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use tu_train::selfcheck::Stage;

    use super::*;

    fn row(check: &str, error: Option<f64>) -> Row {
        Row {
            stage: Stage::Kernel,
            check: check.to_owned(),
            result: "gradient of x".to_owned(),
            shape: "8 rows of 4097, f32".to_owned(),
            error,
            limit: 1e-5,
            milliseconds: 1.5,
            agrees: error.is_some_and(|error| error <= 1e-5),
            failure: None,
        }
    }

    #[test]
    fn a_disagreement_is_a_failure_that_names_the_kernel_and_what_is_wrong_with_it() {
        let right = row("gelu", Some(1e-7));
        let of = |rows: &[Row]| report(rows, "tiny", DeviceChoice::Wgpu, json!({}));
        assert!(of(&[right.clone()]).failure().is_none());
        let found = of(&[right, row("row normalisation", Some(0.25)), row("row normalisation", None)]);
        let failure = found.failure().unwrap().to_owned();
        for part in [
            "wgpu",
            "2 of 3",
            "(row normalisation)",
            "8 rows of 4097",
            "gradient of x",
            "2.5e-1",
            "--device cpu",
        ] {
            assert!(failure.contains(part), "{part} is missing: {failure}");
        }
        let json = found.into_json();
        assert!(
            json["agrees"] == false && json["wrong"] == 2 && json["rows"][2]["error"].is_null(),
            "{json}"
        );
    }
}
