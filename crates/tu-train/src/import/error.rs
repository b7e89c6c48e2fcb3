//! Why a checkpoint cannot be imported. Messages go on from "checkpoint PATH: ".

use thiserror::Error;

/// Why a checkpoint cannot be imported.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The file system refuses.
    #[error("cannot be read: {0}; check the path and its permissions")]
    Io(#[from] std::io::Error),
    /// Another kind of file.
    #[error("{found}; {remedy}")]
    Format {
        /// What the file is.
        found: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A zip archive that is damaged, or that torch.save does not write.
    #[error("the archive is damaged or was not written by torch.save: {0}; download it again")]
    Archive(String),
    /// A pickle that is damaged, beyond the bounds, or of another kind than torch.save writes.
    #[error("its pickle is refused: {0}; save the network's state_dict alone with torch.save")]
    Pickle(String),
    /// There are no tensors where weights belong, or they cannot be told apart.
    #[error("{0}; save the network's state_dict with torch.save, bare or under \"model\"")]
    Weights(String),
    /// There are tensors, but not of an EMmamba that can be built.
    #[error("these are no weights of EMmamba: {0}; only checkpoints of that network can be imported")]
    Architecture(String),
    /// The model file cannot be written.
    #[error(transparent)]
    Model(#[from] tu_model::ModelFileError),
}
