//! `state.json` of a checkpoint: what resuming needs beside the weights and the optimiser's moments. Crops are a
//! function of (seed, step), so the random generator has no state of its own.

use serde::{Deserialize, Serialize};

use super::TrainError;
use crate::metrics_log::ValidationMetrics;

/// What a checkpoint has to know of a run's settings.
pub trait RunSettings {
    /// Optimiser steps of the whole run.
    fn steps(&self) -> u64;
    /// Seed of the run.
    fn seed(&self) -> u64;
    /// Hash of every setting that decides the run's numbers.
    fn fingerprint(&self) -> String;
    /// All settings as TOML.
    ///
    /// # Errors
    /// A value has no TOML form.
    fn to_toml(&self) -> Result<String, TrainError>;
    /// Steps between checkpoints, and how many are kept.
    fn checkpoints(&self) -> (u64, usize);
}

/// Where a run stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainingState {
    /// Version of this file's format.
    pub format_version: u32,
    /// Steps done.
    pub step: u64,
    /// Seed of the run.
    pub seed: u64,
    /// Hash of every setting that decides the run's numbers.
    pub fingerprint: String,
    /// Best validation so far.
    pub best: Option<ValidationMetrics>,
}

impl TrainingState {
    /// The state after `step` steps of a run with these settings.
    #[must_use]
    pub fn new(config: &impl RunSettings, step: u64, best: Option<ValidationMetrics>) -> Self {
        Self { format_version: 1, step, seed: config.seed(), fingerprint: config.fingerprint(), best }
    }

    /// Reads a state and checks that it belongs to these settings.
    ///
    /// # Errors
    /// The bytes are no state, or the run was started with other settings.
    pub fn read(bytes: &[u8], config: &impl RunSettings) -> Result<Self, TrainError> {
        let state: Self = serde_json::from_slice(bytes)
            .map_err(|e| TrainError::Config(format!("state.json of the checkpoint cannot be read: {e}")))?;
        if state.format_version != 1 {
            return Err(TrainError::Config(format!(
                "the checkpoint has format version {}, this program reads 1; resume with the version that wrote it",
                state.format_version
            )));
        }
        if state.fingerprint != config.fingerprint() {
            return Err(TrainError::Config(
                "the checkpoint was made with other settings; resume with the run's own config.toml, or start a new run with `init`"
                    .into(),
            ));
        }
        if state.step > config.steps() {
            return Err(TrainError::Config(format!(
                "the checkpoint has {} steps, the run is to have {}; raise `steps`, or use the run's model as it is",
                state.step,
                config.steps()
            )));
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finetune::FinetuneConfig;

    #[test]
    fn a_run_may_be_lengthened_but_not_cut_below_what_it_has_done() {
        let config = FinetuneConfig { steps: 10, ..FinetuneConfig::default() };
        let bytes = serde_json::to_vec(&TrainingState::new(&config, 8, None)).unwrap();
        let longer = FinetuneConfig { steps: 20, ..config.clone() };
        assert_eq!(TrainingState::read(&bytes, &longer).unwrap().step, 8);
        let shorter = FinetuneConfig { steps: 7, ..config };
        let error = TrainingState::read(&bytes, &shorter).unwrap_err().to_string();
        assert!(error.contains('8') && error.contains('7'), "{error}");
    }
}
