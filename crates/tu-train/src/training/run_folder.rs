//! How a run is carried out, and what a new or a resumed run finds in its folder.

use std::path::Path;

use burn::tensor::Device;
use tu_model::{EmMamba, ModelMetadata};

use super::{StopSignal, TrainError};
use crate::checkpoint::{Checkpoint, CheckpointFolder};

/// How a run is carried out, as opposed to what it computes.
#[derive(Clone, Debug, Default)]
pub struct TrainOptions {
    /// Goes on from the newest whole checkpoint in the run folder; starts anew if there is none.
    pub resume: bool,
    /// Shows a progress bar or lines on standard error.
    pub progress: bool,
    /// Ends the run early, saved, when raised.
    pub stop: StopSignal,
    /// Ends the run early, saved, after this step.
    pub stop_after: Option<u64>,
    /// Further devices, which share the forward passes of a step with the run's own.
    pub other_devices: Vec<Device>,
}

/// The checkpoint to go on from; a folder with checkpoints is refused unless it is to be resumed.
pub(crate) fn find_checkpoint(
    folder: &CheckpointFolder,
    run: &Path,
    resume: bool,
) -> Result<Option<Checkpoint>, TrainError> {
    if resume {
        return Ok(folder.latest()?);
    }
    if !folder.steps()?.is_empty() {
        return Err(TrainError::Config(format!(
            "{} already holds a run; resume it, or choose another folder",
            run.display()
        )));
    }
    Ok(None)
}

/// Whether something that happens every `every` steps (0: never) is due after `step` of them.
pub(crate) fn is_due(every: u64, step: u64) -> bool {
    every > 0 && step.is_multiple_of(every)
}

/// One file of a checkpoint.
pub(crate) fn checkpoint_file<'c>(checkpoint: &'c Checkpoint, name: &str) -> Result<&'c [u8], TrainError> {
    checkpoint.files.get(name).map(Vec::as_slice).ok_or_else(|| TrainError::Model {
        input: checkpoint.path.display().to_string(),
        cause: format!("{name} is missing; delete that checkpoint to resume from the one before"),
    })
}

/// Reads a model file; `input` names it in messages.
pub(crate) fn load_model(
    bytes: &[u8],
    input: &str,
    device: &Device,
) -> Result<(EmMamba, ModelMetadata), TrainError> {
    tu_model::load(bytes, device).map_err(|e| TrainError::Model { input: input.into(), cause: e.to_string() })
}

/// The model file that a run leaves, with the known answer of its network: one window on the CPU.
pub(crate) fn with_known_answer(bytes: &[u8]) -> Result<Vec<u8>, TrainError> {
    tu_model::known_answer::with_known_answer(bytes)
        .map_err(|e| TrainError::Model { input: "trained network".into(), cause: e.to_string() })
}
