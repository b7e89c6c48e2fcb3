//! `tu-train known-answer`, and the check that commands make of a GPU before they use it.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::json;
use tu_model::known_answer::{tolerance, with_known_answer};
use tu_model::{KnownAnswer, Network, Precision, sha256_hex};
use tu_train::checkpoint::write_file;
use tu_train::device::DeviceChoice;
use tu_train::segment::Progress;

use super::Common;
use super::inputs::{DeviceOption, PrecisionOption, read_file};
use super::report::Report;

/// Check a device against a model's known answer, or write one into a model file
///
/// A known answer is what the network gives, on the CPU in f32, for a window that is made from a seed. It is part of every
/// model file that tu-train writes; browsers and commands that open a GPU check it before they use the device. With --out
/// a copy of the model gets it, for older files and files of other tools: weights stay as they are.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train known-answer --model models/tiny-fib25.safetensors --device cuda --precision bf16
  tu-train known-answer --model old.safetensors --out model.safetensors")]
pub(super) struct Options {
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Write the model with its known answer, computed on the CPU, to this file; must not exist
    #[arg(long, value_name = "MODEL", conflicts_with_all = ["device", "precision"])]
    out: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    precision: PrecisionOption,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    match &options.out {
        Some(out) => write(common, &options.model, out),
        None => check(common, options),
    }
}

fn write(common: &Common, model: &Path, out: &Path) -> anyhow::Result<Report> {
    if out.exists() {
        bail!("--out {}: it exists already: remove it or give another path", out.display());
    }
    let bytes = read_file("model", model)?;
    let bytes = sealed(&bytes, model, common)?;
    write_file(out, &bytes).with_context(|| format!("--out {}: it cannot be written", out.display()))?;
    let sha256 = sha256_hex(&bytes);
    let text = format!("{}: {} bytes, SHA-256 {sha256}", out.display(), bytes.len());
    let json = json!({
        "command": "known-answer", "model": out.display().to_string(), "bytes": bytes.len(), "sha256": sha256,
    });
    Ok(Report::new(text, json))
}

fn check(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let (device, choice) = options.device.open()?;
    let precision = options.precision.precision;
    let bytes = read_file("model", &options.model)?;
    let context = || format!("model {}", options.model.display());
    let network = Network::from_bytes(&bytes, &device)
        .with_context(context)?
        .in_precision(precision)
        .with_context(|| format!("--precision {precision}"))?;
    let from_file = network.metadata.known_answer.is_some();
    let difference = gives_known_answer(&network, &bytes, &options.model, choice, &common.progress())?;
    let allowed = tolerance_on(choice, precision);
    let remark = if from_file {
        ""
    } else {
        "\nThe file has no known answer: a small window was computed on the CPU instead (--out writes one)"
    };
    let text = format!(
        "{}: right on {choice} in {precision}, within {difference:e} ({allowed:e} may be){remark}",
        options.model.display()
    );
    let json = json!({
        "command": "known-answer", "model": options.model.display().to_string(), "device": choice.to_string(),
        "precision": precision, "in_file": from_file, "largest_difference": difference, "tolerance": allowed,
    });
    Ok(Report::new(text, json))
}

/// A model file with its known answer.
pub(super) fn sealed(bytes: &[u8], model: &Path, common: &Common) -> anyhow::Result<Vec<u8>> {
    common.progress().note("computing the known answer: one window on the CPU");
    with_known_answer(bytes).with_context(|| format!("model {}: its known answer", model.display()))
}

/// Refuses a GPU on which a network does not give its known answer; this also compiles what tiles will need. The CPU, which
/// every known answer comes from, is taken as it is.
pub(super) fn refuse_wrong_device(
    network: &Network,
    bytes: &[u8],
    model: &Path,
    choice: DeviceChoice,
    progress: &impl Progress,
) -> anyhow::Result<()> {
    if choice != DeviceChoice::Cpu {
        gives_known_answer(network, bytes, model, choice, progress)?;
    }
    Ok(())
}

/// [`refuse_wrong_device`] for a model file that has not been loaded.
pub(super) fn refuse_wrong_device_for(
    model: &Path,
    device: &burn::tensor::Device,
    choice: DeviceChoice,
    precision: Precision,
    progress: &impl Progress,
) -> anyhow::Result<()> {
    if choice == DeviceChoice::Cpu {
        return Ok(());
    }
    let bytes = read_file("model", model)?;
    let context = || format!("model {}", model.display());
    let network = Network::from_bytes(&bytes, device).with_context(context)?;
    let network = network.in_precision(precision).with_context(|| format!("precision {precision}"))?;
    refuse_wrong_device(&network, &bytes, model, choice, progress)
}

/// The largest difference from the known answer.
fn gives_known_answer(
    network: &Network,
    bytes: &[u8],
    model: &Path,
    choice: DeviceChoice,
    progress: &impl Progress,
) -> anyhow::Result<f32> {
    progress.note(&format!("checking {choice} with the known answer of {}", model.display()));
    let context = || {
        format!(
            "device {choice}, model {}: the device computes wrong values, or the file is damaged: see whether `tu-train known-answer --model {0} --device cpu` holds; if so update the driver, or use --device cpu",
            model.display()
        )
    };
    let known = KnownAnswer::of_file_blocking(bytes).with_context(context)?;
    known.check_blocking(network, tolerance_on(choice, network.model.precision)).with_context(context)
}

/// On CUDA, convolutions and products in f32 pass through TF32, which has as many bits as f16.
fn tolerance_on(choice: DeviceChoice, precision: Precision) -> f32 {
    match (choice, precision) {
        (DeviceChoice::Cuda, Precision::F32) => tolerance(Precision::F16),
        _ => tolerance(precision),
    }
}
