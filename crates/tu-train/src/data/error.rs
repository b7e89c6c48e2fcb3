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
    /// Crop after crop could not be read.
    #[error(
        "{attempts} crops in a row could not be read, the last one because of: {cause}; check that the volumes are whole and can be reached, then resume the run"
    )]
    Damaged {
        /// Crops tried for one place in a batch.
        attempts: u32,
        /// The last failure.
        cause: Box<DataError>,
    },
    /// The thread that prepares batches ended without saying why.
    #[error("the thread that prepares batches stopped; look above for its message and resume the run")]
    PrefetchStopped,
}

impl DataError {
    /// Whether another crop of the same volume may be readable: a chunk is damaged, or was not given.
    pub(super) fn is_local(&self) -> bool {
        use tu_volume::VolumeError::{Chunk, Http, Io};
        matches!(self, Self::Unreadable { cause, .. } if matches!(**cause, Chunk { .. } | Http { .. } | Io { .. }))
    }
}
