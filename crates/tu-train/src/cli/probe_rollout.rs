//! `tu-train probe-rollout`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use serde_json::json;
use tu_train::checkpoint::write_file;
use tu_train::data::VolumeEntry;
use tu_train::pretrain::rollout::{RolloutConfig, RolloutProbe, draw_rollout};

use super::Common;
use super::inputs::{DeviceOption, Triple};
use super::report::Report;

/// Measure how errors add up over generated tokens: next-token rollout against next-all prediction
///
/// From a prefix of each crop, tokens are generated one by one from the network's own predictions, and all at once. OUT
/// receives rollout.json and rollout.png with both curves and their fitted exponents: 1 where errors grow in proportion to
/// the number of tokens, 0.5 where they grow like its root.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train probe-rollout --run pretrained --out probe
  tu-train probe-rollout --run pretrained --data validation.zarr/raw --prefixes 64 --seeds 1,2,3 --out probe
  tu-train probe-rollout --run pretrained --crop 16,96,96 --generate 40 --out quick

Two sums over the first m tokens are recorded: of the mean absolute error of a token, and the norm of the sum of its errors
(with their signs). Only the second can grow slower than in proportion.")]
pub(super) struct Options {
    /// Folder of a pretraining run; its newest checkpoint is probed
    #[arg(long, value_name = "RUN")]
    run: PathBuf,
    /// EM to generate from [default: the run's own volumes]
    #[arg(long, value_name = "VOL", num_args = 1..)]
    data: Vec<String>,
    /// Folder for the results
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Prefixes per seed
    #[arg(long, value_name = "N", default_value_t = 16)]
    prefixes: usize,
    /// Seeds of crops, paths and fills
    #[arg(long, value_name = "SEED,…", value_delimiter = ',', default_value = "1,2,3")]
    seeds: Vec<u64>,
    /// Prefixes that run together
    #[arg(long, value_name = "N", default_value_t = 4)]
    batch: usize,
    /// Share of a crop's tokens that is given
    #[arg(long, value_name = "SHARE", default_value_t = 0.25)]
    prefix: f64,
    /// Tokens to generate [default: all that follow the prefix]
    #[arg(long, value_name = "N")]
    generate: Option<usize>,
    /// Another crop than in training, in voxels
    #[arg(long, value_name = "Z,Y,X")]
    crop: Option<Triple<usize>>,
    #[command(flatten)]
    device: DeviceOption,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let (device, choice) = options.device.open()?;
    let volumes =
        options.data.iter().map(|raw| VolumeEntry { raw: Some(raw.clone()), ..VolumeEntry::default() });
    let probe =
        RolloutProbe::open(&options.run, volumes.collect(), options.crop.map(|crop| crop.0), &device)?;
    let config = RolloutConfig {
        seeds: options.seeds.clone(),
        prefixes: options.prefixes,
        batch: options.batch,
        prefix_share: options.prefix,
        generated: options.generate,
    };
    let found = probe.run(&config, &common.progress())?;
    let out = options.out.display();
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("{out}: cannot be made: choose another folder"))?;
    let mut json = serde_json::to_value(&found).context("rollout: the result has no JSON form")?;
    let file = options.out.join("rollout.json");
    write_file(&file, json.to_string().as_bytes())
        .with_context(|| format!("{}: cannot be written: check space and permissions", file.display()))?;
    let picture = options.out.join("rollout.png");
    draw_rollout(&found, &picture).map_err(|cause| anyhow!("{cause}: check space and permissions"))?;
    let mut text = format!(
        "{} prefixes of {} tokens, {} generated, network of {} steps, on {choice}\n\n\
         method    MSE      exponent of Σ|e|   of ‖Σe‖  (per seed)\n",
        found.prefixes_per_seed * options.seeds.len(),
        found.prefix,
        found.generated,
        found.steps
    );
    for method in &found.methods {
        let seeds: Vec<String> = method.by_seed.iter().map(|s| format!("{:.2}", s.vector)).collect();
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:<9} {:.5}  {:<17.3}  {:.3}    ({})",
            method.method.name(),
            method.mse,
            method.absolute_fit.exponent,
            method.vector_fit.exponent,
            seeds.join(", ")
        );
    }
    let _ = writeln!(text, "\n{}\n{}", file.display(), picture.display());
    if let Some(object) = json.as_object_mut() {
        object.insert("command".to_owned(), json!("probe-rollout"));
        object.insert("run".to_owned(), json!(options.run.display().to_string()));
        object.insert("files".to_owned(), json!([file.display().to_string(), picture.display().to_string()]));
        object.insert("device".to_owned(), json!(choice.to_string()));
    }
    Ok(Report::new(text, json))
}
