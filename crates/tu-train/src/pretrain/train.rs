//! The pretraining run.

mod start;
mod step;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use tu_model::{EmMamba, ModelMetadata, StoredFloat};

use super::byol::ByolTarget;
use super::objective::ObjectiveContext;
use super::panels::draw_panels;
use super::reconstruction::ShownCrop;
use super::{PositionTable, PretrainBatch, PretrainConfig, PretrainingNetwork};
use crate::checkpoint::{Checkpoint, CheckpointFolder, write_file};
use crate::data::{AugmentationConfig, Prefetcher, Sampler, TrainingVolume, VolumeEntry, VoxelMemory};
use crate::metrics_log::{StepMetrics, ValidationMetrics};
use crate::training::{
    AdamW, Progress, RunLock, Session, Task, TrainError, TrainOptions, TrainingDevices, TrainingState,
    WeightAverage, checkpoint_file, find_checkpoint, from_safetensors, is_due, load_model, to_safetensors,
    with_known_answer,
};

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainOutcome {
    /// Steps done in total.
    pub steps: u64,
    /// False if it was stopped before its last step.
    pub finished: bool,
    /// Loss of the last step computed here.
    pub last_loss: Option<f64>,
    /// Parameters of the network that fine-tuning starts from.
    pub parameters: usize,
    /// Parameters of the heads that it leaves behind.
    pub head_parameters: usize,
    /// K, tokens of a crop.
    pub tokens: usize,
    /// The network.
    pub model_file: PathBuf,
}

/// Pretrains a network into the folder `run`, which receives `config.toml`, `metrics.jsonl`, an event file for
/// TensorBoard, `curves.png`, `checkpoints/`, `panels/` and `model.safetensors`.
///
/// # Errors
/// Settings, data or a checkpoint cannot be used, the loss stops being finite, the device or the file system fails.
pub fn pretrain(
    config: &PretrainConfig,
    run: &Path,
    device: &Device,
    options: &TrainOptions,
) -> Result<PretrainOutcome, TrainError> {
    config.check()?;
    let config = config.resolved();
    let folder = CheckpointFolder::new(run);
    let (precision, checkpoint) = (config.precision, config.checkpoint_activations);
    let devices = TrainingDevices::new(device, &options.other_devices, precision, checkpoint)?;
    let lock = RunLock::take(run)?;
    let checkpoint = find_checkpoint(&folder, run, options.resume)?;
    let sampler = Arc::new(sampler_of(&config)?);
    let (mut trainer, first_step) = Trainer::start(&config, run, devices, &sampler, checkpoint.as_ref())?;
    let mut session = Session::open(&config, run, lock, first_step, Arc::clone(&sampler))?;
    let drawn = config.clone();
    let batches = Prefetcher::of(first_step..session.end(options), 2, move |step| {
        PretrainBatch::draw(&sampler, &drawn, step)
    })?;
    let parameters = trainer.model.network.num_params();
    let head_parameters = trainer.model.num_params() - parameters;
    let tokens = trainer.context.grid.tokens();
    let progress = Progress::new(config.steps, first_step, options.progress);
    if let Some(report) = &trainer.load_report {
        progress.say(report);
    }
    progress.say(&format!(
        "pretraining {parameters} parameters with {head_parameters} in heads, {tokens} tokens a crop, {}, steps {first_step}..{}",
        config.objective.name(),
        config.steps
    ));
    let reached = session.drive(&mut trainer, &batches, progress, options)?;
    Ok(PretrainOutcome {
        steps: reached.steps,
        finished: reached.steps == config.steps,
        last_loss: reached.last_loss,
        parameters,
        head_parameters,
        tokens,
        model_file: trainer.model_file(),
    })
}

/// The crops that a run with these settings draws.
///
/// # Errors
/// A volume cannot be opened.
pub(super) fn sampler_of(config: &PretrainConfig) -> Result<Sampler, TrainError> {
    let memory = VoxelMemory::new(config.memory_mib.saturating_mul(1 << 20));
    let volumes = config
        .volumes
        .iter()
        .map(|entry| {
            let unlabelled = VolumeEntry { labels: None, ..entry.clone() };
            TrainingVolume::open(&unlabelled, &memory, false)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let augmentation = AugmentationConfig { flip: config.flip, ..AugmentationConfig::none() };
    Ok(Sampler::new(volumes, config.crop_zyx, augmentation, config.intensity, config.seed)?)
}

/// A run's network with everything that changes along with it.
struct Trainer<'a> {
    config: &'a PretrainConfig,
    run: &'a Path,
    context: ObjectiveContext,
    /// Devices that share the passes of a step with the context's.
    other_devices: Vec<Device>,
    model: PretrainingNetwork,
    metadata: ModelMetadata,
    optimiser: AdamW,
    /// What the model file is written from, where that is an average.
    average: Option<WeightAverage<EmMamba>>,
    /// What BYOL's views are compared with.
    target: Option<ByolTarget>,
    shown: ShownCrop,
    /// What was taken over from `init`, for a new run that has one.
    load_report: Option<String>,
}

impl<'a> Trainer<'a> {
    /// The trainer of a new run, or that of a checkpoint with the steps it has done.
    fn start(
        config: &'a PretrainConfig,
        run: &'a Path,
        devices: TrainingDevices,
        sampler: &Sampler,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(Self, u64), TrainError> {
        let device = &devices.first;
        let (network, metadata, load_report) = match checkpoint {
            Some(checkpoint) => {
                let bytes = checkpoint_file(checkpoint, "model.safetensors")?;
                let (network, metadata) = load_model(bytes, "checkpoint", device)?;
                (network, metadata, None)
            }
            None => start::initial_network(config, device, sampler)?,
        };
        metadata
            .architecture
            .check_window(config.crop_zyx)
            .map_err(|e| TrainError::Config(format!("crop_zyx: {e}")))?;
        let network = network.with_precision(config.precision);
        let mut model = PretrainingNetwork::new(network, metadata.architecture.features[0], config, device)?;
        let mut first_step = 0;
        if let Some(checkpoint) = checkpoint {
            first_step = TrainingState::read(checkpoint_file(checkpoint, "state.json")?, config)?.step;
            model = restore_heads(model, checkpoint)?;
        }
        let mut optimiser = AdamW::new(&config.optimiser, &model);
        let mut average = config.ema.map(|momentum| WeightAverage::new(&model.network, momentum));
        let mut target = ByolTarget::of(&model);
        if let Some(checkpoint) = checkpoint {
            optimiser.load(checkpoint_file(checkpoint, "optimiser.safetensors")?, &model, device)?;
            if let Some(fresh) = average {
                average = Some(fresh.load(checkpoint_file(checkpoint, "ema.safetensors")?)?);
            }
            if let Some(fresh) = target {
                target = Some(fresh.load(checkpoint_file(checkpoint, "target.safetensors")?)?);
            }
        }
        let grid = config.grid()?;
        let codes = PositionTable::new(&grid, config.heads.width);
        let context = ObjectiveContext { grid, codes, device: device.clone() };
        let shown = ShownCrop::draw(sampler, config)?;
        let trainer = Self {
            config,
            run,
            context,
            other_devices: devices.others,
            model,
            metadata,
            optimiser,
            average,
            target,
            shown,
            load_report,
        };
        Ok((trainer, first_step))
    }

    fn model_file(&self) -> PathBuf {
        self.run.join("model.safetensors")
    }

    /// Pictures of reconstructions at this moment.
    fn draw(&self, step: u64, progress: &Progress) -> Result<(), TrainError> {
        let folder = self.run.join("panels");
        std::fs::create_dir_all(&folder).map_err(|source| TrainError::io("create", &folder, source))?;
        let device = self.context.device.clone().without_autodiff();
        let context = ObjectiveContext { device, ..self.context.clone() };
        let panels = self.shown.panels(&self.model.valid(), &context)?;
        // A picture is a convenience: a run does not fail for want of one.
        if let Err(cause) = draw_panels(&panels, &folder.join(format!("step-{step}.png"))) {
            progress.say(&format!("panels were not drawn: {cause}"));
        }
        Ok(())
    }

    /// A model file with the weights of `network`.
    fn model_bytes(&self, network: &EmMamba, step: u64) -> Result<Vec<u8>, TrainError> {
        let mut metadata = self.metadata.clone();
        metadata.provenance.steps = step;
        tu_model::save(network, &metadata, StoredFloat::F32)
            .map_err(|e| TrainError::Model { input: "pretrained network".into(), cause: e.to_string() })
    }
}

impl Task for Trainer<'_> {
    type Batch = PretrainBatch;

    fn step(&mut self, batch: PretrainBatch, data_wait_seconds: f64) -> Result<StepMetrics, TrainError> {
        self.optimiser_step(&batch, data_wait_seconds)
    }

    fn observe(&mut self, done: u64, progress: &Progress) -> Result<Option<ValidationMetrics>, TrainError> {
        if is_due(self.config.panels_every, done) {
            self.draw(done, progress)?;
        }
        Ok(None)
    }

    fn checkpoint(&self, step: u64) -> Result<Vec<(&'static str, Vec<u8>)>, TrainError> {
        let mut files = vec![
            ("model.safetensors", self.model_bytes(&self.model.network, step)?),
            ("optimiser.safetensors", self.optimiser.to_bytes()?),
        ];
        if let Some(heads) = &self.model.heads {
            files.push(("heads.safetensors", to_safetensors(heads)?));
        }
        if let Some(heads) = &self.model.byol {
            files.push(("byol.safetensors", to_safetensors(heads)?));
        }
        if let Some(policy) = &self.model.policy {
            files.push(("policy.safetensors", to_safetensors(policy)?));
        }
        if let Some(average) = &self.average {
            files.push(("ema.safetensors", average.to_bytes()?));
        }
        if let Some(target) = &self.target {
            files.push(("target.safetensors", target.to_bytes()?));
        }
        Ok(files)
    }

    fn best(&self) -> Option<ValidationMetrics> {
        None
    }

    fn finish(&mut self, done: u64, stepped: bool, progress: &Progress) -> Result<(), TrainError> {
        if stepped && !is_due(self.config.panels_every, done) {
            self.draw(done, progress)?;
        }
        let network = self.average.as_ref().map_or(&self.model.network, WeightAverage::network);
        let path = self.model_file();
        write_file(&path, &with_known_answer(&self.model_bytes(network, done)?)?)
            .map_err(|source| TrainError::io("write", &path, source))
    }
}

/// The heads of a checkpoint in place of fresh ones.
pub(super) fn restore_heads(
    mut model: PretrainingNetwork,
    checkpoint: &Checkpoint,
) -> Result<PretrainingNetwork, TrainError> {
    if let Some(heads) = model.heads.take() {
        let bytes = checkpoint_file(checkpoint, "heads.safetensors")?;
        model.heads = Some(from_safetensors(heads, bytes, "heads of the checkpoint")?);
    }
    if let Some(heads) = model.byol.take() {
        let bytes = checkpoint_file(checkpoint, "byol.safetensors")?;
        model.byol = Some(from_safetensors(heads, bytes, "BYOL heads of the checkpoint")?);
    }
    if let Some(policy) = model.policy.take() {
        let bytes = checkpoint_file(checkpoint, "policy.safetensors")?;
        model.policy = Some(from_safetensors(policy, bytes, "mask policy of the checkpoint")?);
    }
    Ok(model)
}
