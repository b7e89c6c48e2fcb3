//! The fine-tuning run.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use tu_model::{EmMamba, ModelMetadata, Network, StoredFloat};

use super::config::{FinetuneConfig, LossKind, Modules};
use super::loss::{BatchTensors, loss_of_logits};
use super::modules::select_modules;
use super::validation::Validation;
use crate::checkpoint::{Checkpoint, CheckpointFolder, write_file};
use crate::data::{Batch, Prefetcher, Sampler, TargetConfig, TrainingVolume, VoxelMemory};
use crate::metrics_log::{StepMetrics, ValidationMetrics};
use crate::segment::Silent;
use crate::training::{
    AdamW, NamedGradients, Progress, Replica, RunLock, RunSettings, Session, Task, TrainError, TrainOptions,
    TrainingDevices, TrainingState, WeightAverage, checkpoint_file, find_checkpoint, is_due, load_model,
    optimise, share_out, transfer, with_known_answer,
};

impl RunSettings for FinetuneConfig {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    fn fingerprint(&self) -> String {
        FinetuneConfig::fingerprint(self)
    }

    fn to_toml(&self) -> Result<String, TrainError> {
        FinetuneConfig::to_toml(self)
    }

    fn checkpoints(&self) -> (u64, usize) {
        (self.checkpoint_every, self.keep_checkpoints)
    }
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainOutcome {
    /// Steps done in total.
    pub steps: u64,
    /// False if it was stopped before its last step.
    pub finished: bool,
    /// Loss of the last step computed here.
    pub last_loss: Option<f64>,
    /// Best validation.
    pub best: Option<ValidationMetrics>,
    /// Parameters that were trained.
    pub trained_parameters: usize,
    /// Parameters in all.
    pub parameters: usize,
    /// The best model (or the last, without validation).
    pub model_file: PathBuf,
}

/// Trains a network into the folder `run`; see the module head for what it writes there.
///
/// # Errors
/// Settings, data or a checkpoint cannot be used, the loss stops being finite, the device or the file system fails.
pub fn finetune(
    config: &FinetuneConfig,
    run: &Path,
    device: &Device,
    options: &TrainOptions,
) -> Result<TrainOutcome, TrainError> {
    config.check()?;
    let folder = CheckpointFolder::new(run);
    let (precision, checkpoint) = (config.precision, config.checkpoint_activations);
    let devices = TrainingDevices::new(device, &options.other_devices, precision, checkpoint)?;
    let lock = RunLock::take(run)?;
    let checkpoint = find_checkpoint(&folder, run, options.resume)?;
    let memory = VoxelMemory::new(config.memory_mib.saturating_mul(1 << 20));
    let volumes = config
        .volumes
        .iter()
        .map(|v| TrainingVolume::open(v, &memory, true))
        .collect::<Result<Vec<_>, _>>()?;
    let sampler =
        Sampler::new(volumes, config.crop_zyx, config.augmentation.clone(), config.intensity, config.seed)?;
    let sampler = Arc::new(sampler);
    let (mut trainer, first_step) = Trainer::start(config, run, devices, &sampler, checkpoint.as_ref())?;
    let mut session = Session::open(config, run, lock, first_step, Arc::clone(&sampler))?;
    let target = TargetConfig {
        loss: config.loss,
        ignore_unlabelled: config.ignore_unlabelled,
        widen_borders: config.widen_borders,
    };
    let steps = first_step..session.end(options);
    let (size, passes) = (config.batch, config.accumulate);
    let batches =
        Prefetcher::of(steps, 2, move |step| Batch::draw_passes(&sampler, step, size, passes, target))?;
    let progress = Progress::new(config.steps, first_step, options.progress);
    if let Some(report) = &trainer.load_report {
        progress.say(report);
    }
    let (trained_parameters, parameters) = (trainer.trained_parameters, trainer.model.num_params());
    progress.say(&format!(
        "training {trained_parameters} of {parameters} parameters, steps {first_step}..{}",
        config.steps
    ));
    let reached = session.drive(&mut trainer, &batches, progress, options)?;
    Ok(TrainOutcome {
        steps: reached.steps,
        finished: reached.steps == config.steps,
        last_loss: reached.last_loss,
        best: trainer.best.clone(),
        trained_parameters,
        parameters,
        model_file: trainer.model_file(),
    })
}

/// A run's network with everything that changes along with it.
struct Trainer<'a> {
    config: &'a FinetuneConfig,
    run: &'a Path,
    devices: TrainingDevices,
    model: EmMamba,
    metadata: ModelMetadata,
    optimiser: AdamW,
    /// What is validated and written, where that is an average.
    average: Option<WeightAverage<EmMamba>>,
    validation: Option<Validation>,
    best: Option<ValidationMetrics>,
    /// What was taken over from `init`, for a new run that has one.
    load_report: Option<String>,
    trained_parameters: usize,
}

impl<'a> Trainer<'a> {
    /// The trainer of a new run, or that of a checkpoint with the steps it has done.
    fn start(
        config: &'a FinetuneConfig,
        run: &'a Path,
        devices: TrainingDevices,
        sampler: &Sampler,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<(Self, u64), TrainError> {
        let device = &devices.first;
        let (model, metadata, load_report) = match checkpoint {
            Some(checkpoint) => {
                let bytes = checkpoint_file(checkpoint, "model.safetensors")?;
                let (model, metadata) = load_model(bytes, "checkpoint", device)?;
                (model, metadata, None)
            }
            None => initial_model(config, device, sampler)?,
        };
        metadata
            .architecture
            .check_window(config.crop_zyx)
            .map_err(|e| TrainError::Config(format!("crop_zyx: {e}")))?;
        if let Some(defect) = metadata.defect() {
            return Err(TrainError::Config(format!("tile_zyx and halo_zyx: {defect}")));
        }
        let (model, trained_parameters) = select_modules(model, config.modules)?;
        let model = model.with_precision(config.precision);
        let mut optimiser = AdamW::new(&config.optimiser, &model);
        let mut average = config.ema.map(|momentum| WeightAverage::new(&model, momentum));
        let mut state = TrainingState::new(config, 0, None);
        if let Some(checkpoint) = checkpoint {
            state = TrainingState::read(checkpoint_file(checkpoint, "state.json")?, config)?;
            optimiser.load(checkpoint_file(checkpoint, "optimiser.safetensors")?, &model, device)?;
            if let Some(fresh) = average {
                average = Some(fresh.load(checkpoint_file(checkpoint, "ema.safetensors")?)?);
            }
        }
        let validation = config.validation.as_ref().map(Validation::open).transpose()?;
        let best = state.best;
        let trainer = Self {
            config,
            run,
            devices,
            model,
            metadata,
            optimiser,
            average,
            validation,
            best,
            load_report,
            trained_parameters,
        };
        Ok((trainer, state.step))
    }

    fn model_file(&self) -> PathBuf {
        self.run.join("model.safetensors")
    }

    /// The network that is validated and written, without gradients.
    fn judged(&self) -> EmMamba {
        self.average.as_ref().map_or_else(|| self.model.valid(), |average| average.network().clone())
    }

    fn validate(&mut self, done: u64, progress: &Progress) -> Result<Option<ValidationMetrics>, TrainError> {
        let Some(validation) = &self.validation else { return Ok(None) };
        let started = Instant::now();
        let plain = self.devices.first.clone().without_autodiff();
        let network = Network::new(self.judged(), self.metadata.clone(), &plain);
        let results = validation.run(&network, &Silent)?;
        let Some(winner) = results.first() else { return Ok(None) };
        let mut voi_by_method: Vec<(String, f64)> = Vec::new();
        for result in &results {
            let name = result.fragment_method.name();
            if voi_by_method.iter().all(|(known, _)| known != name) {
                voi_by_method.push((name.to_string(), result.scores.voi));
            }
        }
        let metrics = ValidationMetrics {
            step: done,
            scores: winner.scores,
            fragment_method: winner.fragment_method,
            scoring: winner.scoring,
            threshold: winner.threshold,
            voi_by_method,
            seconds: started.elapsed().as_secs_f64(),
        };
        let is_best = self.best.as_ref().is_none_or(|best| metrics.scores.voi < best.scores.voi);
        progress.validation(&metrics, is_best);
        if is_best {
            self.best = Some(metrics.clone());
            self.write_model(done)?;
        }
        Ok(Some(metrics))
    }

    /// A model file with the weights of `network` and the best post-processing known.
    fn model_bytes(&self, network: &EmMamba, step: u64) -> Result<Vec<u8>, TrainError> {
        let mut metadata = self.metadata.clone();
        metadata.provenance.steps = step;
        if let Some(best) = &self.best {
            metadata.fragment_method = best.fragment_method;
            metadata.scoring = best.scoring;
            metadata.threshold = best.threshold;
        }
        tu_model::save(network, &metadata, StoredFloat::F32)
            .map_err(|e| TrainError::Model { input: "trained network".into(), cause: e.to_string() })
    }

    fn write_model(&self, step: u64) -> Result<(), TrainError> {
        let path = self.model_file();
        write_file(&path, &with_known_answer(&self.model_bytes(&self.judged(), step)?)?)
            .map_err(|source| TrainError::io("write", &path, source))
    }
}

/// What computes a pass on one device.
struct Pass {
    model: EmMamba,
    device: Device,
    loss: LossKind,
}

impl Replica for Pass {
    fn on(&self, device: &Device) -> Self {
        Self { model: self.model.clone().fork(device), device: device.clone(), loss: self.loss }
    }
}

impl Pass {
    /// `share` times the loss of a batch, which `described` names, and its gradients.
    fn run(&self, batch: Batch, described: &str, share: f64) -> Result<(f64, NamedGradients), TrainError> {
        let step = batch.step;
        let t = BatchTensors::new(batch, &self.device);
        let logits = self.model.forward_logits(t.input);
        let loss = loss_of_logits(self.loss, logits, t.affinities, t.weights, t.normaliser);
        let loss = if share == 1.0 { loss } else { loss.mul_scalar(share) };
        let mut gradients = loss.backward();
        let value = loss
            .try_into_scalar::<f32>()
            .map_err(|e| TrainError::Device(format!("computing the loss of step {step} ({e:?})")))?;
        if !value.is_finite() {
            return Err(TrainError::NotFinite { step, what: "loss", samples: described.to_owned() });
        }
        Ok((f64::from(value), NamedGradients::take(&self.model, &mut gradients)))
    }
}

impl Task for Trainer<'_> {
    type Batch = Vec<Batch>;

    fn step(&mut self, passes: Vec<Batch>, data_wait_seconds: f64) -> Result<StepMetrics, TrainError> {
        let started = Instant::now();
        let config = self.config;
        let step = passes.first().map_or(0, |batch| batch.step);
        let voxels = passes.iter().map(|batch| batch.input.len()).sum::<usize>() as f64;
        let share = 1.0 / passes.len().max(1) as f64;
        let device = self.devices.first.clone();
        let plain = device.clone().without_autodiff();
        let first = Pass { model: self.model.clone(), device, loss: config.loss };
        let described: Vec<String> = passes.iter().map(Batch::describe).collect();
        let (mut value, mut gradients) = (0.0, NamedGradients::default());
        share_out(
            first,
            &self.devices.others,
            passes.into_iter().zip(&described).collect(),
            |pass, (batch, described)| pass.run(batch, described, share),
            |(loss, found)| {
                value += loss;
                gradients.add(found.on(&plain));
                Ok(())
            },
        )?;
        let samples = || described.join("; ");
        let span = (step, config.steps);
        let update =
            optimise(&mut self.model, &mut self.optimiser, gradients, &config.optimiser, span, samples)?;
        self.average = self.average.take().map(|average| average.follow(&self.model, step + 1));
        let seconds = started.elapsed().as_secs_f64();
        Ok(StepMetrics {
            step: step + 1,
            loss: value,
            lr: update.lr,
            gradient_norm: update.gradient_norm,
            seconds,
            voxels_per_second: voxels / seconds.max(1e-9),
            data_wait_seconds,
            objectives: None,
        })
    }

    fn observe(&mut self, done: u64, progress: &Progress) -> Result<Option<ValidationMetrics>, TrainError> {
        if is_due(self.config.validate_every, done) || done == self.config.steps {
            return self.validate(done, progress);
        }
        Ok(None)
    }

    fn checkpoint(&self, step: u64) -> Result<Vec<(&'static str, Vec<u8>)>, TrainError> {
        let mut files = vec![
            ("model.safetensors", self.model_bytes(&self.model, step)?),
            ("optimiser.safetensors", self.optimiser.to_bytes()?),
        ];
        if let Some(average) = &self.average {
            files.push(("ema.safetensors", average.to_bytes()?));
        }
        Ok(files)
    }

    fn best(&self) -> Option<ValidationMetrics> {
        self.best.clone()
    }

    fn finish(&mut self, done: u64, _stepped: bool, _progress: &Progress) -> Result<(), TrainError> {
        // With a validation the best model has been written when it was found.
        if self.best.is_none() { self.write_model(done) } else { Ok(()) }
    }
}

/// Random weights, or those of `init` with a fresh head where its channel count differs.
fn initial_model(
    config: &FinetuneConfig,
    device: &Device,
    sampler: &Sampler,
) -> Result<(EmMamba, ModelMetadata, Option<String>), TrainError> {
    let voxel_nm = config.voxel_nm_zyx.unwrap_or_else(|| sampler.volumes()[0].voxel_nm_zyx());
    let mut load_report = None;
    let mut preset = config.architecture.is_none().then(|| config.preset.clone());
    let (model, architecture, start) = match &config.init {
        None => {
            let named = config.resolved_architecture()?;
            let architecture = if config.plan_z { named.planned_for(voxel_nm) } else { named };
            architecture.check().map_err(|e| TrainError::Config(e.to_string()))?;
            (architecture.init_seeded(device, config.seed), architecture, "random weights".to_string())
        }
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| TrainError::io("read", Path::new(path), e))?;
            let (pretrained, metadata) = load_model(&bytes, path, device)?;
            preset = metadata.preset.clone();
            let mut architecture = metadata.architecture;
            let model = if architecture.out_channels == 3 {
                pretrained
            } else {
                architecture.out_channels = 3;
                let fresh = architecture.init_seeded(device, config.seed);
                let (model, report) = transfer(&pretrained, fresh, |name| !name.starts_with("out."));
                report.check(path)?;
                load_report = Some(format!("{path}: {report}"));
                model
            };
            (model, architecture, format!("{path} (sha256 {})", tu_model::sha256_hex(&bytes)))
        }
    };
    if architecture.out_channels != 3 || architecture.in_channels != 1 {
        return Err(TrainError::Config(
            "architecture: an affinity network has one input and three output channels".into(),
        ));
    }
    architecture
        .check_window(config.crop_zyx)
        .map_err(|error| TrainError::Config(format!("crop_zyx: {error}")))?;
    let mut metadata = ModelMetadata::for_affinities(architecture, voxel_nm);
    metadata.preset = preset;
    metadata.tile_zyx = config.tile_zyx;
    metadata.halo_zyx = config.halo_zyx;
    metadata.intensity = config.intensity;
    metadata.licence = config.licence.clone();
    metadata.provenance.training_data = sampler
        .volumes()
        .iter()
        .map(|v| format!("{} {:?}+{:?}", v.name(), v.begin_zyx(), v.shape_zyx()))
        .collect();
    let loss = match config.loss {
        LossKind::Mse => "MSE",
        LossKind::WeightedMse => "class-weighted MSE",
        LossKind::Bce => "class-weighted cross-entropy",
    };
    let modules =
        if config.modules == Modules::All { String::new() } else { format!(", {:?} only", config.modules) };
    metadata.provenance.objective = format!("affinities by {loss} from {start}{modules}");
    metadata.provenance.seed = config.seed;
    metadata.provenance.notes = config.notes.clone();
    Ok((model, metadata, load_report))
}
