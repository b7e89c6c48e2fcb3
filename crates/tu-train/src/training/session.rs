//! The loop that every training run goes through, whatever it computes:
//!
//! ```text
//! batch ─► step ─► log ─► observe (pictures, validation) ─► checkpoint every n steps ─► … ─► last checkpoint, model, curves
//! ```
//! A raised stop signal ends it after the step in progress, saved.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use super::{
    AdamW, NamedGradients, NamedModule, OptimiserConfig, Progress, RunLock, RunSettings, TrainError,
    TrainOptions, TrainingState, draw_curves, is_due, learning_rate,
};
use crate::checkpoint::{CheckpointFolder, write_file};
use crate::data::{Prefetcher, Sampler};
use crate::metrics_log::{MetricsLine, MetricsLog, ReplacementMetrics, StepMetrics, ValidationMetrics};

/// What a run computes.
pub(crate) trait Task {
    /// What a step consumes.
    type Batch: Send + 'static;

    /// One optimiser step; the metrics tell how long it waited for its batch.
    fn step(&mut self, batch: Self::Batch, data_wait_seconds: f64) -> Result<StepMetrics, TrainError>;

    /// Looks at the network after `done` steps, where that is due; a validation is logged.
    fn observe(&mut self, done: u64, progress: &Progress) -> Result<Option<ValidationMetrics>, TrainError>;

    /// Files of a checkpoint beside its state.
    fn checkpoint(&self, step: u64) -> Result<Vec<(&'static str, Vec<u8>)>, TrainError>;

    /// The best validation so far.
    fn best(&self) -> Option<ValidationMetrics>;

    /// Writes the model after the last step; `stepped` is false if there was none to do.
    fn finish(&mut self, done: u64, stepped: bool, progress: &Progress) -> Result<(), TrainError>;
}

/// Where a run stands and what becomes of it.
pub(crate) struct Session<'a, S> {
    /// Its settings.
    settings: &'a S,
    /// Its folder.
    run: &'a Path,
    /// Its log.
    log: MetricsLog,
    /// Steps done before.
    first_step: u64,
    /// Where its crops come from.
    sampler: Arc<Sampler>,
    /// Keeps other processes off the folder.
    _lock: RunLock,
}

/// How far a session came.
pub(crate) struct Reached {
    /// Steps done in total.
    pub(crate) steps: u64,
    /// Loss of the last step done here.
    pub(crate) last_loss: Option<f64>,
}

impl<'a, S: RunSettings> Session<'a, S> {
    /// Goes on in a run's folder after `first_step` steps. Settings are written and the log is cut only here, after a
    /// checkpoint has accepted them: settings that it refuses must not replace those of the run.
    pub(crate) fn open(
        settings: &'a S,
        run: &'a Path,
        lock: RunLock,
        first_step: u64,
        sampler: Arc<Sampler>,
    ) -> Result<Self, TrainError> {
        let log = MetricsLog::open(run, first_step).map_err(|e| TrainError::io("write", run, e))?;
        let path = run.join("config.toml");
        write_file(&path, settings.to_toml()?.as_bytes()).map_err(|e| TrainError::io("write", &path, e))?;
        Ok(Self { settings, run, log, first_step, sampler, _lock: lock })
    }

    /// The step before which this session ends.
    pub(crate) fn end(&self, options: &TrainOptions) -> u64 {
        options.stop_after.map_or(self.settings.steps(), |s| s.min(self.settings.steps()))
    }

    /// Runs a task to its end, or until it is asked to stop.
    pub(crate) fn drive<T: Task>(
        &mut self,
        task: &mut T,
        batches: &Prefetcher<T::Batch>,
        mut progress: Progress,
        options: &TrainOptions,
    ) -> Result<Reached, TrainError> {
        let end = self.end(options);
        let mut done = self.first_step;
        let mut saved = None;
        let mut last_loss = None;
        let mut replaced = 0u64;
        while done < end && !options.stop.is_raised() {
            let asked = Instant::now();
            let batch = batches.next_batch()?;
            let metrics = task.step(batch, asked.elapsed().as_secs_f64())?;
            done = metrics.step;
            for replacement in self.sampler.take_replacements(done) {
                replaced += 1;
                progress.say(&format!(
                    "crop of step {} replaced: {}",
                    replacement.step + 1,
                    replacement.cause
                ));
                let (step, cause) = (replacement.step + 1, replacement.cause);
                self.append(&MetricsLine::Replacement(ReplacementMetrics { step, cause }))?;
            }
            last_loss = Some(metrics.loss);
            progress.step(&metrics);
            self.append(&MetricsLine::Step(metrics))?;
            if let Some(validation) = task.observe(done, &progress)? {
                self.append(&MetricsLine::Validation(validation))?;
            }
            if is_due(self.settings.checkpoints().0, done) {
                self.save(task, done)?;
                saved = Some(done);
            }
        }
        let stepped = done > self.first_step;
        if stepped && saved != Some(done) {
            self.save(task, done)?;
        }
        task.finish(done, stepped, &progress)?;
        // A picture is a convenience: a run does not fail for want of one.
        if let Err(cause) = draw_curves(self.log.path(), &self.run.join("curves.png")) {
            progress.say(&format!("curves.png was not drawn: {cause}"));
        }
        if replaced > 0 {
            progress.say(&format!(
                "{replaced} crops could not be read and were replaced; {} tells which",
                self.log.path().display()
            ));
        }
        progress.finish();
        Ok(Reached { steps: done, last_loss })
    }

    fn append(&mut self, line: &MetricsLine) -> Result<(), TrainError> {
        let appended = self.log.append(line);
        appended.map_err(|source| TrainError::io("write", self.log.path(), source))
    }

    fn save(&self, task: &impl Task, step: u64) -> Result<(), TrainError> {
        let state = serde_json::to_vec_pretty(&TrainingState::new(self.settings, step, task.best()))
            .map_err(|e| TrainError::Config(format!("the training state cannot be written: {e}")))?;
        let made = task.checkpoint(step)?;
        let mut files: Vec<(&str, &[u8])> =
            made.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
        files.push(("state.json", &state));
        CheckpointFolder::new(self.run).write(step, &files, self.settings.checkpoints().1)?;
        Ok(())
    }
}

/// What an optimiser step used.
pub(crate) struct Update {
    /// Norm of all gradients before clipping.
    pub(crate) gradient_norm: f64,
    /// Learning rate.
    pub(crate) lr: f64,
}

/// Moves `model` by gradients, at the learning rate of `step` in a run of `steps`; gradients that are no number stop the
/// run, and `samples` says which crops they come from.
pub(crate) fn optimise<M: NamedModule>(
    model: &mut M,
    optimiser: &mut AdamW,
    gradients: NamedGradients,
    config: &OptimiserConfig,
    (step, steps): (u64, u64),
    samples: impl FnOnce() -> String,
) -> Result<Update, TrainError> {
    let gradient_norm = gradients.norm()?;
    if !gradient_norm.is_finite() {
        return Err(TrainError::NotFinite { step, what: "gradient norm", samples: samples() });
    }
    let lr = learning_rate(config, steps, step);
    *model = optimiser.step(model.clone(), gradients, gradient_norm, lr);
    Ok(Update { gradient_norm, lr })
}
