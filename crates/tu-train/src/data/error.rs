//! What can be wrong with a training volume.

use thiserror::Error;

/// Why a volume cannot be trained on.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// Storage refused.
    #[error("volume `{name}`: {cause}")]
    Unreadable {
        /// URL of the volume.
        name: String,
        /// What the volume reader said.
        cause: Box<tu_volume::VolumeError>,
    },
    /// The region of interest is empty or not inside the volume.
    #[error(
        "volume `{name}`: region {begin_zyx:?}..{end_zyx:?} (zyx) is empty or not inside the volume's shape {shape_zyx:?}; correct begin_zyx or end_zyx"
    )]
    Region {
        /// URL of the volume.
        name: String,
        /// First voxel asked for.
        begin_zyx: [u64; 3],
        /// End asked for, exclusive.
        end_zyx: [u64; 3],
        /// The volume's shape.
        shape_zyx: [u64; 3],
    },
    /// The volume is readable, but cannot serve.
    #[error("volume `{name}`: {cause}")]
    Unusable {
        /// URL of the volume.
        name: String,
        /// Cause and remedy.
        cause: String,
    },
    /// The thread that prepares batches ended without saying why.
    #[error("the thread that prepares batches stopped; look above for its message and resume the run")]
    PrefetchStopped,
}
