//! What stops a training run, each naming the input, the cause and the remedy.

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::checkpoint::CheckpointError;
use crate::data::DataError;

/// Why training could not start or go on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A setting is missing, unknown or out of range.
    #[error("settings: {0}")]
    Config(String),
    /// A training or validation volume cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model file cannot be used or written.
    #[error("model `{input}`: {cause}")]
    Model {
        /// The model file, or a word for the network in memory.
        input: String,
        /// What is wrong with it.
        cause: String,
    },
    /// The loss or the gradient stopped being a number.
    #[error(
        "step {step}: {what} is not finite; the batch was {samples}. Weights of the last checkpoint are intact: resume with a lower learning rate or a smaller clip_norm, or look at those crops"
    )]
    NotFinite {
        /// Step that was being computed, counted from 0.
        step: u64,
        /// `loss` or `gradient norm`.
        what: &'static str,
        /// Volume and crop of each sample in the batch.
        samples: String,
    },
    /// A file of the run folder cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create` or `lock`.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// The device failed to give a result back.
    #[error("the device failed while {0}; retry, or use another device")]
    Device(String),
    /// Validation could not be computed.
    #[error("validation: {0}")]
    Validation(String),
}

impl TrainError {
    pub(crate) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_path_buf(), source }
    }
}
