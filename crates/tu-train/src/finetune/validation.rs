//! Scores a network as it will be used: the validation region is cut into the model's tiles with halo and reflection at
//! the border, affinities are quantised, fragments are made per tile and joined over the region graph, and the segments
//! are compared with the labels. The network runs once; every post-processing setting is tried on its affinities.

use tu_model::Network;
use tu_segment::{crop, pad_reflect};

use super::config::ValidationConfig;
use super::labelled_region::{LabelledRegion, ValidationResult};
use crate::data::{TrainingVolume, VoxelMemory};
use crate::segment::Progress;
use crate::training::TrainError;

/// A validation region in memory, ready to be scored again and again.
pub struct Validation {
    config: ValidationConfig,
    raw: Vec<f32>,
    data_type_max: f32,
    region: LabelledRegion,
}

impl Validation {
    /// Its labels.
    pub fn region(&self) -> &LabelledRegion {
        &self.region
    }

    /// Reads the region.
    ///
    /// # Errors
    /// The volumes cannot be read.
    pub fn open(config: &ValidationConfig) -> Result<Self, TrainError> {
        // The whole region is segmented at once, so it is held in memory whatever its size.
        let volume = TrainingVolume::open(&config.volume, &VoxelMemory::new(u64::MAX), true)?;
        let shape_zyx = volume.shape_zyx();
        let block = volume.read([0; 3], shape_zyx)?;
        Ok(Self {
            config: config.clone(),
            raw: block.raw,
            data_type_max: volume.data_type_max(),
            region: LabelledRegion { name: volume.name().into(), labels: block.labels, shape_zyx },
        })
    }

    /// Scores of every setting in the grid, best VOI first.
    ///
    /// # Errors
    /// The network fails, or tile and region do not go together.
    pub fn run(
        &self,
        network: &Network,
        progress: &dyn Progress,
    ) -> Result<Vec<ValidationResult>, TrainError> {
        let mut results = self.run_shifted(network, [0; 3], progress)?;
        results.sort_by(|a, b| a.scores.voi.total_cmp(&b.scores.voi));
        Ok(results)
    }

    /// Scores of every setting, in the order of methods, scorings and thresholds, with the grid of tiles beginning so many
    /// voxels before the region. What lies before it is filled by reflection, as windows are, and does not count.
    ///
    /// # Errors
    /// The network fails, or tile and region do not go together.
    pub fn run_shifted(
        &self,
        network: &Network,
        shift_zyx: [usize; 3],
        progress: &dyn Progress,
    ) -> Result<Vec<ValidationResult>, TrainError> {
        let metadata = &network.metadata;
        let tiles = self.region.grid((metadata.tile_zyx, metadata.halo_zyx), shift_zyx)?;
        let shape = tiles.grid.volume_zyx().map(|n| n as usize);
        let raw = pad_reflect(&self.raw, self.region.shape_zyx, shift_zyx, shape);
        self.region.score(&tiles, &(&self.config).into(), progress, |tile| {
            let read = crop(&raw, 1, shape, tile.read_origin_zyx.map(|o| o as usize), tile.read_shape_zyx);
            network
                .tile_window(read, self.data_type_max, tile)
                .and_then(|window| network.tile_bins_blocking(window, tile))
                .map_err(|e| self.region.failure(&e))
        })
    }
}
