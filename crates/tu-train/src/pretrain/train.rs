//! The pretraining loop.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use tu_model::{EmMamba, ModelMetadata, StoredFloat};

use super::objective::{ObjectiveContext, next, next_all, random};
use super::panels::draw_panels;
use super::reconstruction::ShownCrop;
use super::{MicroBatch, ObjectiveWeights, PositionTable, PretrainBatch, PretrainConfig, PretrainingNetwork};
use crate::checkpoint::{Checkpoint, CheckpointFolder, write_file};
use crate::data::{AugmentationConfig, Prefetcher, Sampler, TrainingVolume, VolumeEntry};
use crate::metrics_log::{MetricsLine, MetricsLog, ObjectiveMetrics, StepMetrics, TermMetrics};
use crate::training::{
    AdamW, NamedGradients, Progress, TrainError, TrainOptions, TrainingState, checkpoint_file, draw_curves,
    find_checkpoint, from_safetensors, is_due, learning_rate, load_model, to_safetensors, transfer,
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

/// Pretrains a network into the folder `run`, which receives `config.toml`, `metrics.jsonl`, `curves.png`, `checkpoints/`,
/// `panels/` and `model.safetensors`.
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
    let checkpoint = find_checkpoint(&folder, run, options.resume)?;
    std::fs::create_dir_all(run).map_err(|source| TrainError::io("create", run, source))?;
    let mut budget = config.memory_mib.saturating_mul(1 << 20);
    let volumes = config
        .volumes
        .iter()
        .map(|entry| {
            let unlabelled = VolumeEntry { labels: None, ..entry.clone() };
            TrainingVolume::open(&unlabelled, &mut budget, false)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let augmentation = AugmentationConfig { flip: config.flip, ..AugmentationConfig::none() };
    let sampler = Sampler::new(volumes, config.crop_zyx, augmentation, config.intensity, config.seed)?;
    let device = device.clone().autodiff();
    let mut trainer = Trainer::start(&config, run, folder, &device, &sampler, checkpoint.as_ref())?;
    // Only now: settings that a checkpoint refuses must not replace those of the run.
    let settings = run.join("config.toml");
    write_file(&settings, config.to_toml()?.as_bytes()).map_err(|e| TrainError::io("write", &settings, e))?;
    trainer.run(Arc::new(sampler), options)
}

struct Trainer<'a> {
    config: &'a PretrainConfig,
    run: &'a Path,
    folder: CheckpointFolder,
    context: ObjectiveContext,
    model: PretrainingNetwork,
    metadata: ModelMetadata,
    optimiser: AdamW,
    log: MetricsLog,
    shown: ShownCrop,
    first_step: u64,
    /// What was taken over from `init`, for a new run that has one.
    load_report: Option<String>,
}

/// Losses of a step before weighting, averaged over its forward passes, and the gradients of their weighted sum.
#[derive(Default)]
struct Accumulated {
    gradients: NamedGradients,
    losses: [f64; 3],
}

impl<'a> Trainer<'a> {
    fn start(
        config: &'a PretrainConfig,
        run: &'a Path,
        folder: CheckpointFolder,
        device: &Device,
        sampler: &Sampler,
        checkpoint: Option<&Checkpoint>,
    ) -> Result<Self, TrainError> {
        let (network, metadata, load_report) = match checkpoint {
            Some(checkpoint) => {
                let bytes = checkpoint_file(checkpoint, "model.safetensors")?;
                let (network, metadata) = load_model(bytes, "checkpoint", device)?;
                (network, metadata, None)
            }
            None => initial_network(config, device, sampler)?,
        };
        metadata
            .architecture
            .check_window(config.crop_zyx)
            .map_err(|e| TrainError::Config(format!("crop_zyx: {e}")))?;
        let mut model = PretrainingNetwork::new(network, metadata.architecture.features[0], config, device)?;
        let mut state = TrainingState::new(config, 0, None);
        if let Some(checkpoint) = checkpoint {
            state = TrainingState::read(checkpoint_file(checkpoint, "state.json")?, config)?;
            if let Some(heads) = model.heads.take() {
                let bytes = checkpoint_file(checkpoint, "heads.safetensors")?;
                model.heads = Some(from_safetensors(heads, bytes, "heads of the checkpoint")?);
            }
        }
        let mut optimiser = AdamW::new(&config.optimiser, &model);
        if let Some(checkpoint) = checkpoint {
            optimiser.load(checkpoint_file(checkpoint, "optimiser.safetensors")?, &model, device)?;
        }
        let log = MetricsLog::open(run, state.step).map_err(|e| TrainError::io("write", run, e))?;
        let grid = config.grid()?;
        let codes = PositionTable::new(&grid, config.heads.width);
        Ok(Self {
            config,
            run,
            folder,
            context: ObjectiveContext { grid, codes, device: device.clone() },
            model,
            metadata,
            optimiser,
            log,
            shown: ShownCrop::draw(sampler, config)?,
            first_step: state.step,
            load_report,
        })
    }

    fn run(&mut self, sampler: Arc<Sampler>, options: &TrainOptions) -> Result<PretrainOutcome, TrainError> {
        let config = self.config;
        let end = options.stop_after.map_or(config.steps, |s| s.min(config.steps));
        let settings = config.clone();
        let batches = Prefetcher::of(self.first_step..end, 2, move |step| {
            PretrainBatch::draw(&sampler, &settings, step)
        })?;
        let parameters = self.model.network.num_params();
        let head_parameters = self.model.num_params() - parameters;
        let mut progress = Progress::new(config.steps, self.first_step, options.progress);
        if let Some(report) = &self.load_report {
            progress.say(report);
        }
        progress.say(&format!(
            "pretraining {parameters} parameters with {head_parameters} in heads, {} tokens a crop, {}, steps {}..{}",
            self.context.grid.tokens(),
            config.objective.name(),
            self.first_step,
            config.steps
        ));
        let mut done = self.first_step;
        let mut saved = None;
        let mut last_loss = None;
        while done < end && !options.stop.is_raised() {
            let metrics = self.step(&batches.next_batch()?)?;
            done = metrics.step;
            last_loss = Some(metrics.loss);
            progress.step(&metrics);
            let appended = self.log.append(&MetricsLine::Step(metrics));
            appended.map_err(|source| TrainError::io("write", self.log.path(), source))?;
            if is_due(config.panels_every, done) {
                self.draw(done, &progress)?;
            }
            if is_due(config.checkpoint_every, done) {
                self.save(done)?;
                saved = Some(done);
            }
        }
        if done > self.first_step {
            if saved != Some(done) {
                self.save(done)?;
            }
            if !is_due(config.panels_every, done) {
                self.draw(done, &progress)?;
            }
        }
        let model_file = self.run.join("model.safetensors");
        write_file(&model_file, &self.model_bytes(done)?)
            .map_err(|source| TrainError::io("write", &model_file, source))?;
        // A picture is a convenience: a run does not fail for want of one.
        if let Err(cause) = draw_curves(self.log.path(), &self.run.join("curves.png")) {
            progress.say(&format!("curves.png was not drawn: {cause}"));
        }
        progress.finish();
        Ok(PretrainOutcome {
            steps: done,
            finished: done == config.steps,
            last_loss,
            parameters,
            head_parameters,
            tokens: self.context.grid.tokens(),
            model_file,
        })
    }

    /// One optimiser step over all forward passes of a batch.
    fn step(&mut self, batch: &PretrainBatch) -> Result<StepMetrics, TrainError> {
        let started = Instant::now();
        let (config, step) = (self.config, batch.step);
        let weights = config.weights_at(step);
        let not_finite = |what| TrainError::NotFinite { step, what, samples: batch.describe() };
        let mut sum = Accumulated::default();
        let share = 1.0 / batch.micro_batches.len().max(1) as f64;
        for micro in &batch.micro_batches {
            self.accumulate(micro, weights, share, &mut sum)?;
            if sum.losses.iter().any(|loss| !loss.is_finite()) {
                return Err(not_finite("loss"));
            }
        }
        let norm = sum.gradients.norm()?;
        if !norm.is_finite() {
            return Err(not_finite("gradient norm"));
        }
        let lr = learning_rate(&config.optimiser, config.steps, step);
        let model = self.model.clone();
        self.model = self.optimiser.step(model, sum.gradients, norm, lr);
        let seconds = started.elapsed().as_secs_f64();
        let per_second = (config.batch * config.accumulate) as f64 / seconds.max(1e-9);
        let weight_of = [weights.random, weights.next, weights.next_all];
        let [random, next, next_all] = [0, 1, 2].map(|i| TermMetrics {
            loss: (weight_of[i] > 0.0).then_some(sum.losses[i]),
            weight: weight_of[i],
        });
        Ok(StepMetrics {
            step: step + 1,
            loss: weight_of.iter().zip(&sum.losses).map(|(weight, loss)| weight * loss).sum(),
            lr,
            gradient_norm: norm,
            seconds,
            voxels_per_second: per_second * config.crop_zyx.iter().product::<usize>() as f64,
            objectives: Some(ObjectiveMetrics {
                random,
                next,
                next_all,
                tokens_per_second: per_second * self.context.grid.tokens() as f64,
            }),
        })
    }

    /// Adds losses and gradients of one micro-batch. Each view has a backward pass of its own: the gradient of a sum is the
    /// sum of gradients, and only one view's activations are held at a time.
    fn accumulate(
        &self,
        micro: &MicroBatch,
        weights: ObjectiveWeights,
        share: f64,
        sum: &mut Accumulated,
    ) -> Result<(), TrainError> {
        if let Some(view) = &micro.masked {
            let loss = random::loss(&self.context, &self.model.network, micro, view);
            sum.losses[0] += share * scalar(&loss)?;
            self.backward(&loss.mul_scalar(weights.random * share), sum);
        }
        let share = share / micro.cuts.len().max(1) as f64;
        for view in &micro.cuts {
            let Some(heads) = &self.model.heads else { continue };
            let latents = next::latents(&self.context, &self.model, heads, view);
            let mut total: Option<Tensor<1>> = None;
            let terms = [
                (1, weights.next, next::loss(&self.context, heads, latents.clone(), micro, view)),
                (2, weights.next_all, next_all::loss(&self.context, heads, latents, micro, view)),
            ];
            for (index, weight, loss) in terms {
                let Some(loss) = loss.filter(|_| weight > 0.0) else { continue };
                sum.losses[index] += share * scalar(&loss)?;
                let term = loss.mul_scalar(weight * share);
                total = Some(match total {
                    Some(total) => total + term,
                    None => term,
                });
            }
            if let Some(total) = total {
                self.backward(&total, sum);
            }
        }
        Ok(())
    }

    fn backward(&self, loss: &Tensor<1>, sum: &mut Accumulated) {
        let mut gradients = loss.backward();
        sum.gradients.add(NamedGradients::take(&self.model, &mut gradients));
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

    /// The model file at this moment.
    fn model_bytes(&self, step: u64) -> Result<Vec<u8>, TrainError> {
        let mut metadata = self.metadata.clone();
        metadata.provenance.steps = step;
        tu_model::save(&self.model.network, &metadata, StoredFloat::F32)
            .map_err(|e| TrainError::Model { input: "pretrained network".into(), cause: e.to_string() })
    }

    fn save(&self, step: u64) -> Result<(), TrainError> {
        let state = serde_json::to_vec_pretty(&TrainingState::new(self.config, step, None))
            .map_err(|e| TrainError::Config(format!("the training state cannot be written: {e}")))?;
        let (model, optimiser) = (self.model_bytes(step)?, self.optimiser.to_bytes()?);
        let heads = self.model.heads.as_ref().map(to_safetensors).transpose()?;
        let mut files: Vec<(&str, &[u8])> = vec![
            ("model.safetensors", &model),
            ("optimiser.safetensors", &optimiser),
            ("state.json", &state),
        ];
        if let Some(heads) = &heads {
            files.push(("heads.safetensors", heads));
        }
        self.folder.write(step, &files, self.config.keep_checkpoints)?;
        Ok(())
    }
}

fn scalar(loss: &Tensor<1>) -> Result<f64, TrainError> {
    let value = loss.clone().try_into_scalar::<f32>();
    value.map(f64::from).map_err(|e| TrainError::Device(format!("computing the loss ({e:?})")))
}

/// Random weights, or those of `init` with a fresh head where its channel count differs.
fn initial_network(
    config: &PretrainConfig,
    device: &Device,
    sampler: &Sampler,
) -> Result<(EmMamba, ModelMetadata, Option<String>), TrainError> {
    let mut architecture = config.resolved_architecture()?;
    let mut preset = config.architecture.is_none().then(|| config.preset.clone());
    let mut start = "random weights".to_string();
    let mut load_report = None;
    let network = match &config.init {
        None => {
            architecture.check().map_err(|e| TrainError::Config(e.to_string()))?;
            architecture.init_seeded(device, config.seed)
        }
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| TrainError::io("read", Path::new(path), e))?;
            let (source, metadata) = load_model(&bytes, path, device)?;
            preset = metadata.preset;
            architecture = metadata.architecture;
            architecture.out_channels = 1;
            let (network, report) =
                transfer(&source, architecture.init_seeded(device, config.seed), |_| true);
            report.check(path)?;
            load_report = Some(format!("{path}: {report}"));
            start = format!("{path} (sha256 {})", tu_model::sha256_hex(&bytes));
            network
        }
    };
    if architecture.in_channels != 1 {
        return Err(TrainError::Config("architecture: pretraining takes one input channel".into()));
    }
    let voxel_nm = config.voxel_nm_zyx.unwrap_or_else(|| sampler.volumes()[0].voxel_nm_zyx());
    let mut metadata = ModelMetadata::for_reconstruction(architecture, voxel_nm, config.crop_zyx);
    metadata.preset = preset;
    metadata.intensity = config.intensity;
    metadata.licence = config.licence.clone();
    metadata.provenance.training_data = sampler
        .volumes()
        .iter()
        .map(|v| format!("{} {:?}+{:?}", v.name(), v.begin_zyx(), v.shape_zyx()))
        .collect();
    let weights = config.weights.map_or_else(String::new, |weights| format!(", weights {weights:?}"));
    metadata.provenance.objective = format!(
        "token prediction ({}{weights}), tokens of {:?} voxels, from {start}",
        config.objective.name(),
        config.patch_zyx
    );
    metadata.provenance.seed = config.seed;
    metadata.provenance.notes = config.notes.clone();
    Ok((network, metadata, load_report))
}
