//! From volumes to batches: regions of interest, random crops, augmentation, affinity targets, and the thread that
//! prepares them ahead of the network. What a batch holds depends on (seed, step, position in the batch) alone, so a
//! resumed run sees the crops that an uninterrupted one would have seen. A crop whose voxels cannot be read is replaced by the
//! next one of its generator, and reported.

mod augmentation;
mod batch;
mod error;
mod geometry;
mod intensity;
mod prefetch;
mod replacement;
mod sampler;
mod volume;
mod voxel_memory;

pub use augmentation::AugmentationConfig;
pub use batch::{Batch, SampleOrigin, Target, TargetConfig};
pub use error::DataError;
pub use geometry::{Geometry, Orientation};
pub use intensity::change_intensity;
pub(crate) use intensity::gaussian_plane;
pub use prefetch::Prefetcher;
pub use replacement::Replacement;
pub use sampler::{Crop, Sampler};
pub use volume::{Block, TrainingVolume, VolumeEntry};
pub use voxel_memory::{ChunkCounts, VoxelMemory};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The generator of one sample: a function of (seed, step, position in the batch) and nothing else.
#[must_use]
pub fn sample_rng(seed: u64, step: u64, sample: u64) -> ChaCha8Rng {
    let mut key = [0u8; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&step.to_le_bytes());
    key[16..24].copy_from_slice(&sample.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

#[cfg(test)]
mod tests;
