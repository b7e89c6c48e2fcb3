//! `tu-train finetune`.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use tu_model::Precision;
use tu_train::data::VolumeEntry;
use tu_train::finetune::{FinetuneConfig, Modules, StopSignal, TrainOptions, ValidationConfig, finetune};
use tu_train::roi::RoiSpec;
use tu_volume::Volume;

use super::Common;
use super::inputs::{DeviceOption, Triple};
use super::known_answer::refuse_wrong_device_for;
use super::report::Report;

/// Train a network to predict affinities from labelled EM
///
/// Settings come from --config, then from options. RUN receives config.toml (all settings resolved), metrics.jsonl,
/// events for TensorBoard, checkpoints and model.safetensors; interrupted runs go on with --resume.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train finetune --raw em.zarr/raw --labels em.zarr/labels --roi 0:170,:,: --val-roi 180:250,:,: --out run --steps 2000
  tu-train finetune --raw a.zarr/raw --labels a.zarr/labels --raw b.zarr/raw --labels b.zarr/labels --out run --init model.safetensors --modules mamba+encoder
  tu-train finetune --config settings.toml --out run
  tu-train finetune --out run --resume

--val-roi alone validates on that region of the first training volume.")]
pub(super) struct Options {
    /// EM to train on; repeat for more volumes
    #[arg(long, value_name = "VOL")]
    raw: Vec<String>,
    /// Labels of the EM, in the same order
    #[arg(long, value_name = "VOL")]
    labels: Vec<String>,
    /// Region to train on; none, or one for each --raw
    #[arg(long, visible_alias = "train-roi", value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Vec<RoiSpec>,
    /// EM to validate on [default: the first --raw, if --val-roi is given]
    #[arg(long, value_name = "VOL", requires = "val_labels")]
    val_raw: Option<String>,
    /// Its labels
    #[arg(long, value_name = "VOL", requires = "val_raw")]
    val_labels: Option<String>,
    /// Region to validate on
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    val_roi: Option<RoiSpec>,
    /// Folder of the run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Model to start from [default: random weights]
    #[arg(long, value_name = "MODEL")]
    init: Option<String>,
    /// tiny, small, base, 100m, 200m, 500m or 1b [default: tiny]
    #[arg(long)]
    preset: Option<String>,
    /// Halve z, and convolve over it, as the voxel size asks for: for data that are (nearly) isotropic
    #[arg(long, conflicts_with = "init")]
    plan_z: bool,
    /// Parts that are trained: all, mamba, encoder, decoder or mamba+encoder [default: all]
    #[arg(long)]
    modules: Option<Modules>,
    /// Optimiser steps [default: 1000]
    #[arg(long)]
    steps: Option<u64>,
    /// Crops per step [default: 1]
    #[arg(long)]
    batch: Option<usize>,
    /// Forward passes per step, --batch crops each; several devices share them [default: 1]
    #[arg(long, value_name = "N")]
    accumulate: Option<usize>,
    /// Shape of a crop in voxels; y and x multiples of 16 [default: 16,96,96]
    #[arg(long, value_name = "Z,Y,X")]
    crop: Option<Triple<usize>>,
    /// Peak learning rate [default: 0.001]
    #[arg(long)]
    lr: Option<f64>,
    /// Validate and write a moving average of the weights with this momentum, as 0.999
    #[arg(long, value_name = "MOMENTUM")]
    ema: Option<f64>,
    /// Type of volumes within the network: f32, or bf16 where the device offers it [default: f32]
    #[arg(long, value_name = "TYPE")]
    precision: Option<Precision>,
    /// Compute cheap results again in the backward pass, to train larger networks or crops in the same memory
    #[arg(long)]
    checkpoint_activations: bool,
    /// Seed of weights, crops and augmentation [default: 1]
    #[arg(long)]
    seed: Option<u64>,
    /// Steps between validations; 0 validates at the end only [default: 500]
    #[arg(long, value_name = "STEPS")]
    validate_every: Option<u64>,
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
    let outcome = finetune(&config, &options.out, &device, &train)?;
    let run = options.out.display();
    if !outcome.finished {
        bail!("run {run}: it was stopped at step {} of {}: go on with --resume", outcome.steps, config.steps);
    }
    let model = outcome.model_file.display().to_string();
    let scores = outcome.best.as_ref().map(|best| best.scores);
    let scored = scores.map_or_else(String::new, |s| format!(", VOI {:.4}, ARAND {:.4}", s.voi, s.arand));
    let text = format!("{model}: {} steps on {choice}{scored}", outcome.steps);
    let json = json!({
        "command": "finetune", "run": run.to_string(), "model": model, "steps": outcome.steps,
        "loss": outcome.last_loss, "scores": scores, "parameters": outcome.parameters,
        "trained_parameters": outcome.trained_parameters, "device": choice.to_string(),
    });
    Ok(Report::new(text, json))
}

/// Settings of a file, or of the run to resume, with the options laid over them.
fn settings(options: &Options) -> anyhow::Result<FinetuneConfig> {
    let kept = options.out.join("config.toml");
    let mut config = match &options.config {
        Some(path) => FinetuneConfig::from_toml_file(path)?,
        None if options.resume && kept.exists() => FinetuneConfig::from_toml_file(&kept)?,
        None => FinetuneConfig::default(),
    };
    if options.raw.len() != options.labels.len() {
        bail!(
            "--raw and --labels: {} volumes and {} label volumes: give one --labels for each --raw",
            options.raw.len(),
            options.labels.len()
        );
    }
    if !options.roi.is_empty() && options.roi.len() != options.raw.len() {
        bail!(
            "--roi: {} regions for {} volumes: give none, or one for each --raw",
            options.roi.len(),
            options.raw.len()
        );
    }
    if !options.raw.is_empty() {
        config.volumes = options
            .raw
            .iter()
            .zip(&options.labels)
            .enumerate()
            .map(|(i, (raw, labels))| labelled_entry(raw, labels, options.roi.get(i).copied()))
            .collect::<anyhow::Result<_>>()?;
    }
    match (&options.val_raw, &options.val_labels, options.val_roi) {
        (Some(raw), Some(labels), roi) => {
            config.validation = Some(ValidationConfig::new(labelled_entry(raw, labels, roi)?));
        }
        (_, _, Some(roi)) => {
            let first = config.volumes.first().and_then(|v| v.raw.as_deref().zip(v.labels.as_deref()));
            let Some((raw, labels)) = first else {
                bail!(
                    "--val-roi: there is no training volume to take it from: give --val-raw and --val-labels"
                );
            };
            config.validation = Some(ValidationConfig::new(labelled_entry(raw, labels, Some(roi))?));
        }
        _ => {}
    }
    fn set<T>(setting: &mut T, option: Option<T>) {
        if let Some(value) = option {
            *setting = value;
        }
    }
    set(&mut config.preset, options.preset.clone());
    set(&mut config.modules, options.modules);
    set(&mut config.steps, options.steps);
    set(&mut config.batch, options.batch);
    set(&mut config.accumulate, options.accumulate);
    set(&mut config.crop_zyx, options.crop.map(|crop| crop.0));
    set(&mut config.optimiser.lr, options.lr);
    set(&mut config.seed, options.seed);
    set(&mut config.precision, options.precision);
    config.plan_z |= options.plan_z;
    config.checkpoint_activations |= options.checkpoint_activations;
    set(&mut config.validate_every, options.validate_every);
    if options.ema.is_some() {
        config.ema = options.ema;
    }
    if options.init.is_some() {
        config.init.clone_from(&options.init);
    }
    Ok(config)
}

/// A labelled volume, or a region of one.
pub(super) fn labelled_entry(raw: &str, labels: &str, roi: Option<RoiSpec>) -> anyhow::Result<VolumeEntry> {
    let mut entry = VolumeEntry::labelled(raw, labels);
    if let Some(spec) = roi {
        let roi = spec.resolve(raw, Volume::open(raw)?.shape_zyx())?;
        entry.begin_zyx = Some(roi.begin_zyx);
        entry.end_zyx = Some(roi.end_zyx);
    }
    Ok(entry)
}
