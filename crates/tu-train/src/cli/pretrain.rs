//! `tu-train pretrain`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use tu_model::Precision;
use tu_train::data::VolumeEntry;
use tu_train::pretrain::{Objective, PretrainConfig, pretrain};
use tu_train::training::{StopSignal, TrainOptions};

use super::Common;
use super::inputs::{DeviceOption, Triple, read_file};
use super::known_answer::refuse_wrong_device_for;
use super::report::Report;

/// Pretrain a network on unlabelled EM by predicting tokens
///
/// Settings come from --config, then from options. RUN receives config.toml (all settings resolved), metrics.jsonl,
/// events for TensorBoard, pictures of reconstructions in panels/, checkpoints and model.safetensors, which `tu-train finetune --init` takes;
/// interrupted runs go on with --resume.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train pretrain --data em.zarr/raw --out run --preset small --steps 20000
  tu-train pretrain --data a.zarr b.zarr 'https://host/c.zarr|zarr3:' --data-list more.txt --out run --config settings.toml
  tu-train pretrain --data em.zarr/raw --out ablation --objective random+next
  tu-train pretrain --out run --resume
  tu-train finetune --init run/model.safetensors --raw em.zarr/raw --labels em.zarr/labels --out tuned

A file of --data-list holds one volume per line; empty lines and lines that begin with # are skipped.")]
pub(super) struct Options {
    /// EM to train on
    #[arg(long, value_name = "VOL", num_args = 1..)]
    data: Vec<String>,
    /// Files that list more EM, one volume per line
    #[arg(long, value_name = "FILE", num_args = 1..)]
    data_list: Vec<PathBuf>,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Model to start from [default: random weights]
    #[arg(long, value_name = "MODEL")]
    init: Option<String>,
    /// tiny, small, base, 100m, 200m, 500m or 1b [default: tiny]
    #[arg(long)]
    preset: Option<String>,
    /// curriculum, random, next, next-all, random+next, random+next-all, mae, dbmim or byol [default: curriculum]
    #[arg(long)]
    objective: Option<Objective>,
    /// Optimiser steps [default: 1000]
    #[arg(long)]
    steps: Option<u64>,
    /// Crops per forward pass [default: 1]
    #[arg(long)]
    batch: Option<usize>,
    /// Forward passes per step [default: 1]
    #[arg(long, value_name = "N")]
    accumulate: Option<usize>,
    /// Shape of a crop in voxels; y and x multiples of 16 [default: 16,160,160]
    #[arg(long, value_name = "Z,Y,X")]
    crop: Option<Triple<usize>>,
    /// Shape of a token in voxels; a crop is a whole number of them [default: 4,16,16]
    #[arg(long, value_name = "Z,Y,X")]
    patch: Option<Triple<usize>>,
    /// Share of tokens that random prediction masks [default: 0.4; 0.75 for mae and, to begin with, dbmim]
    #[arg(long, value_name = "SHARE")]
    mask_ratio: Option<f64>,
    /// Peak learning rate [default: 0.001]
    #[arg(long)]
    lr: Option<f64>,
    /// Write model.safetensors from a moving average of the weights with this momentum, as 0.999
    #[arg(long, value_name = "MOMENTUM")]
    ema: Option<f64>,
    /// Type of volumes within the network: f32, or bf16 where the device offers it [default: f32]
    #[arg(long, value_name = "TYPE")]
    precision: Option<Precision>,
    /// Compute cheap results again in the backward pass, to train larger networks or crops in the same memory
    #[arg(long)]
    checkpoint_activations: bool,
    /// Seed of weights, crops, masks and cuts [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Steps between pictures of reconstructions; 0 draws one at the end only [default: 500]
    #[arg(long, value_name = "STEPS")]
    panels_every: Option<u64>,
    /// Steps between checkpoints; 0 writes one at the end only [default: 200]
    #[arg(long, value_name = "STEPS")]
    checkpoint_every: Option<u64>,
    /// Settings as TOML; options override them
    #[arg(long, value_name = "F.toml")]
    config: Option<PathBuf>,
    /// Go on from the newest checkpoint, with the settings in RUN/config.toml unless others are given
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    device: DeviceOption,
    /// GPUs of this machine that share the passes of a step; make --accumulate a multiple of it
    #[arg(long, value_name = "N", default_value_t = NonZeroUsize::MIN)]
    devices: NonZeroUsize,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let (device, other_devices, choice) = options.device.open_several(options.devices)?;
    let config = settings(options)?;
    if let Some(init) = config.init.as_ref().filter(|_| !options.resume) {
        let progress = common.progress();
        refuse_wrong_device_for(Path::new(init), &device, choice, config.precision, &progress)?;
    }
    let train = TrainOptions {
        resume: options.resume,
        progress: !common.quiet,
        stop: StopSignal::of_process(),
        other_devices,
        ..TrainOptions::default()
    };
    let outcome = pretrain(&config, &options.out, &device, &train)?;
    let run = options.out.display();
    if !outcome.finished {
        bail!("run {run}: it was stopped at step {} of {}: go on with --resume", outcome.steps, config.steps);
    }
    let model = outcome.model_file.display().to_string();
    let loss = outcome.last_loss.map_or_else(String::new, |loss| format!(", loss {loss:.4}"));
    let text = format!("{model}: {} steps of {} on {choice}{loss}", outcome.steps, config.objective.name());
    let json = json!({
        "command": "pretrain", "run": run.to_string(), "model": model, "steps": outcome.steps,
        "objective": config.objective.name(), "loss": outcome.last_loss, "tokens_per_crop": outcome.tokens,
        "parameters": outcome.parameters, "head_parameters": outcome.head_parameters,
        "device": choice.to_string(),
    });
    Ok(Report::new(text, json))
}

/// Settings of a file, or of the run to resume, with the options laid over them.
fn settings(options: &Options) -> anyhow::Result<PretrainConfig> {
    let kept = options.out.join("config.toml");
    let mut config = match &options.config {
        Some(path) => PretrainConfig::from_toml_file(path)?,
        None if options.resume && kept.exists() => PretrainConfig::from_toml_file(&kept)?,
        None => PretrainConfig::default(),
    };
    let mut volumes = options.data.clone();
    for path in &options.data_list {
        volumes.extend(listed(path)?);
    }
    if !volumes.is_empty() {
        let entry = |raw| VolumeEntry { raw: Some(raw), ..VolumeEntry::default() };
        config.volumes = volumes.into_iter().map(entry).collect();
    }
    fn set<T>(setting: &mut T, option: Option<T>) {
        if let Some(value) = option {
            *setting = value;
        }
    }
    set(&mut config.preset, options.preset.clone());
    set(&mut config.objective, options.objective);
    set(&mut config.steps, options.steps);
    set(&mut config.batch, options.batch);
    set(&mut config.accumulate, options.accumulate);
    set(&mut config.crop_zyx, options.crop.map(|crop| crop.0));
    set(&mut config.patch_zyx, options.patch.map(|patch| patch.0));
    set(&mut config.seed, options.seed);
    set(&mut config.precision, options.precision);
    config.checkpoint_activations |= options.checkpoint_activations;
    set(&mut config.panels_every, options.panels_every);
    set(&mut config.checkpoint_every, options.checkpoint_every);
    if let Some(lr) = options.lr {
        config.optimiser.lr = lr;
        config.base_lr = None;
    }
    if options.mask_ratio.is_some() {
        config.mask.ratio = options.mask_ratio;
    }
    if options.ema.is_some() {
        config.ema = options.ema;
    }
    if options.init.is_some() {
        config.init.clone_from(&options.init);
    }
    Ok(config)
}

/// The volumes that a file lists.
fn listed(path: &Path) -> anyhow::Result<Vec<String>> {
    let bytes = read_file("data list", path)?;
    let Ok(text) = String::from_utf8(bytes) else {
        bail!("data list {}: it is no text: write one volume per line", path.display());
    };
    let volumes: Vec<String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    if volumes.is_empty() {
        bail!("data list {}: it names no volume: write one per line", path.display());
    }
    Ok(volumes)
}
