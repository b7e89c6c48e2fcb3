//! The training loop.

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
use crate::data::{Batch, Prefetcher, Sampler, TargetConfig, TrainingVolume};
use crate::metrics_log::{MetricsLine, MetricsLog, StepMetrics, ValidationMetrics};
use crate::segment::Silent;
use crate::training::{
    AdamW, NamedGradients, Progress, RunSettings, TrainError, TrainOptions, TrainingState, checkpoint_file,
    draw_curves, find_checkpoint, is_due, learning_rate, load_model, transfer,
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
    let checkpoint = find_checkpoint(&folder, run, options.resume)?;
    std::fs::create_dir_all(run).map_err(|source| TrainError::io("create", run, source))?;
    let mut budget = config.memory_mib.saturating_mul(1 << 20);
    let volumes = config
        .volumes
        .iter()
        .map(|v| TrainingVolume::open(v, &mut budget, true))
        .collect::<Result<Vec<_>, _>>()?;
    let sampler =
        Sampler::new(volumes, config.crop_zyx, config.augmentation.clone(), config.intensity, config.seed)?;
    let device = device.clone().autodiff();
    let mut trainer = Trainer::start(config, run, folder, &device, &sampler, checkpoint.as_ref())?;
    // Only now: settings that a checkpoint refuses must not replace those of the run.
    let settings = run.join("config.toml");
    write_file(&settings, config.to_toml()?.as_bytes()).map_err(|e| TrainError::io("write", &settings, e))?;
    trainer.run(Arc::new(sampler), options)
}

struct Trainer<'a> {
    config: &'a FinetuneConfig,
    run: &'a Path,
    folder: CheckpointFolder,
    device: Device,
    model: EmMamba,
    metadata: ModelMetadata,
    optimiser: AdamW,
    log: MetricsLog,
    validation: Option<Validation>,
    best: Option<ValidationMetrics>,
    first_step: u64,
    /// What was taken over from `init`, for a new run that has one.
    load_report: Option<String>,
    trained_parameters: usize,
    parameters: usize,
}

impl<'a> Trainer<'a> {
    fn start(
        config: &'a FinetuneConfig,
        run: &'a Path,
        folder: CheckpointFolder,
        device: &Device,
        sampler: &Sampler,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, TrainError> {
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
        let (model, trained_parameters) = select_modules(model, config.modules)?;
        let parameters = model.num_params();
        let mut optimiser = AdamW::new(&config.optimiser, &model);
        let mut state = TrainingState::new(config, 0, None);
        if let Some(checkpoint) = checkpoint {
            state = TrainingState::read(checkpoint_file(checkpoint, "state.json")?, config)?;
            optimiser.load(checkpoint_file(checkpoint, "optimiser.safetensors")?, &model, device)?;
        }
        let validation = config.validation.as_ref().map(Validation::open).transpose()?;
        let log = MetricsLog::open(run, state.step).map_err(|e| TrainError::io("write", run, e))?;
        Ok(Self {
            config,
            run,
            folder,
            device: device.clone(),
            model,
            metadata,
            optimiser,
            log,
            validation,
            best: state.best,
            first_step: state.step,
            load_report,
            trained_parameters,
            parameters,
        })
    }

    fn run(&mut self, sampler: Arc<Sampler>, options: &TrainOptions) -> Result<TrainOutcome, TrainError> {
        let config = self.config;
        let target = TargetConfig {
            loss: config.loss,
            ignore_unlabelled: config.ignore_unlabelled,
            widen_borders: config.widen_borders,
        };
        let end = options.stop_after.map_or(config.steps, |s| s.min(config.steps));
        let batches = Prefetcher::start(sampler, self.first_step..end, config.batch, target, 2)?;
        let mut progress = Progress::new(config.steps, self.first_step, options.progress);
        if let Some(report) = &self.load_report {
            progress.say(report);
        }
        progress.say(&format!(
            "training {} of {} parameters, steps {}..{}",
            self.trained_parameters, self.parameters, self.first_step, config.steps
        ));
        let mut done = self.first_step;
        let mut saved = None;
        let mut last_loss = None;
        while done < end && !options.stop.is_raised() {
            let metrics = self.step(batches.next_batch()?)?;
            done = metrics.step;
            last_loss = Some(metrics.loss);
            progress.step(&metrics);
            self.append(&MetricsLine::Step(metrics))?;
            if is_due(config.validate_every, done) || done == config.steps {
                self.validate(done, &progress)?;
            }
            if is_due(config.checkpoint_every, done) {
                self.save(done)?;
                saved = Some(done);
            }
        }
        if saved != Some(done) && done > self.first_step {
            self.save(done)?;
        }
        let model_file = self.run.join("model.safetensors");
        if self.best.is_none() {
            self.write_model(done, &model_file)?;
        }
        // A picture is a convenience: a run does not fail for want of one.
        if let Err(cause) = draw_curves(self.log.path(), &self.run.join("curves.png")) {
            progress.say(&format!("curves.png was not drawn: {cause}"));
        }
        progress.finish();
        Ok(TrainOutcome {
            steps: done,
            finished: done == config.steps,
            last_loss,
            best: self.best.clone(),
            trained_parameters: self.trained_parameters,
            parameters: self.parameters,
            model_file,
        })
    }

    fn append(&mut self, line: &MetricsLine) -> Result<(), TrainError> {
        let appended = self.log.append(line);
        appended.map_err(|source| TrainError::io("write", self.log.path(), source))
    }

    /// One optimiser step.
    fn step(&mut self, batch: Batch) -> Result<StepMetrics, TrainError> {
        let started = Instant::now();
        let config = self.config;
        let step = batch.step;
        let voxels = batch.input.len() as f64;
        let samples = batch.describe();
        let not_finite = |what| TrainError::NotFinite { step, what, samples: samples.clone() };
        let t = BatchTensors::new(batch, &self.device);
        let logits = self.model.forward_logits(t.input);
        let loss = loss_of_logits(config.loss, logits, t.affinities, t.weights, t.normaliser);
        let mut gradients = loss.backward();
        let value = f64::from(
            loss.try_into_scalar::<f32>()
                .map_err(|e| TrainError::Device(format!("computing the loss of step {step} ({e:?})")))?,
        );
        if !value.is_finite() {
            return Err(not_finite("loss"));
        }
        let gradients = NamedGradients::take(&self.model, &mut gradients);
        let norm = gradients.norm()?;
        if !norm.is_finite() {
            return Err(not_finite("gradient norm"));
        }
        let lr = learning_rate(&config.optimiser, config.steps, step);
        let model = self.model.clone();
        self.model = self.optimiser.step(model, gradients, norm, lr);
        let seconds = started.elapsed().as_secs_f64();
        Ok(StepMetrics {
            step: step + 1,
            loss: value,
            lr,
            gradient_norm: norm,
            seconds,
            voxels_per_second: voxels / seconds.max(1e-9),
            objectives: None,
        })
    }

    fn validate(&mut self, done: u64, progress: &Progress) -> Result<(), TrainError> {
        let Some(validation) = &self.validation else { return Ok(()) };
        let started = Instant::now();
        let plain = self.device.clone().without_autodiff();
        let network = Network::new(self.model.valid(), self.metadata.clone(), &plain);
        let results = validation.run(&network, &Silent)?;
        let Some(winner) = results.first() else { return Ok(()) };
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
        self.append(&MetricsLine::Validation(metrics.clone()))?;
        if is_best {
            self.best = Some(metrics);
            self.write_model(done, &self.run.join("model.safetensors"))?;
        }
        Ok(())
    }

    /// The model file at this moment, with the best post-processing known.
    fn model_bytes(&self, step: u64) -> Result<Vec<u8>, TrainError> {
        let mut metadata = self.metadata.clone();
        metadata.provenance.steps = step;
        if let Some(best) = &self.best {
            metadata.fragment_method = best.fragment_method;
            metadata.scoring = best.scoring;
            metadata.threshold = best.threshold;
        }
        tu_model::save(&self.model, &metadata, StoredFloat::F32)
            .map_err(|e| TrainError::Model { input: "trained network".into(), cause: e.to_string() })
    }

    fn write_model(&self, step: u64, path: &Path) -> Result<(), TrainError> {
        write_file(path, &self.model_bytes(step)?).map_err(|source| TrainError::io("write", path, source))
    }

    fn save(&self, step: u64) -> Result<(), TrainError> {
        let state = TrainingState::new(self.config, step, self.best.clone());
        let state = serde_json::to_vec_pretty(&state)
            .map_err(|e| TrainError::Config(format!("the training state cannot be written: {e}")))?;
        let files: [(&str, &[u8]); 3] = [
            ("model.safetensors", &self.model_bytes(step)?),
            ("optimiser.safetensors", &self.optimiser.to_bytes()?),
            ("state.json", &state),
        ];
        self.folder.write(step, &files, self.config.keep_checkpoints)?;
        Ok(())
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
            let architecture = config.resolved_architecture()?;
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
