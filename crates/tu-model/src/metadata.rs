//! What a model file says about itself, and what a host needs to run it as it was trained.

use serde::{Deserialize, Serialize};
use tu_segment::{EdgeStatistic, FragmentMethod, Scoring};

use crate::config::EmMambaConfig;
use crate::intensity::IntensityRule;
use crate::known_answer::KnownAnswer;

/// The format that this version reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// JSON under `__metadata__["tokenunify"]` of `model.safetensors`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ModelMetadata {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Name of the preset the architecture was made from, if any.
    #[serde(default)]
    pub preset: Option<String>,
    /// Every architecture field.
    pub architecture: EmMambaConfig,
    /// Tile: the unit of work, voxels (z, y, x).
    pub tile_zyx: [usize; 3],
    /// Context on each side of a tile, voxels (z, y, x).
    pub halo_zyx: [usize; 3],
    /// Voxel size of the training data in nanometres (z, y, x).
    pub voxel_nm_zyx: [f64; 3],
    /// From stored intensities to [0, 1].
    #[serde(default)]
    pub intensity: IntensityRule,
    /// Meaning of the output channels, e.g. `affinity_z`.
    pub channels: Vec<String>,
    /// Neighbour that each affinity looks at, voxels (z, y, x).
    pub offsets_zyx: Vec<[i64; 3]>,
    /// Fragment method found best on validation data.
    pub fragment_method: FragmentMethod,
    /// How edges are scored in agglomeration: a statistic, and what sizes add.
    pub scoring: Scoring,
    /// Agglomeration threshold found best on validation data.
    pub threshold: f32,
    /// Where the weights come from.
    pub provenance: Provenance,
    /// Licence of the weights (SPDX or a sentence).
    pub licence: String,
    /// What the network gives for a window that anybody can make, so that a device can be checked; older files have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_answer: Option<KnownAnswer>,
}

/// Where weights come from.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Volumes, with their licences where they matter.
    pub training_data: Vec<String>,
    /// Optimiser steps.
    pub steps: u64,
    /// What was minimised.
    pub objective: String,
    /// Seed of the run.
    pub seed: u64,
    /// Source revision of the trainer, where known.
    pub commit: String,
    /// Scores and remarks.
    pub notes: String,
}

impl ModelMetadata {
    /// Metadata of an affinity network without provenance: channels z, y, x, tile 16×64×64 with halo 4×16×16.
    pub fn for_affinities(architecture: EmMambaConfig, voxel_nm_zyx: [f64; 3]) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            preset: None,
            architecture,
            tile_zyx: [16, 64, 64],
            halo_zyx: [4, 16, 16],
            voxel_nm_zyx,
            intensity: IntensityRule::FullRange,
            channels: ["affinity_z", "affinity_y", "affinity_x"].map(str::to_owned).to_vec(),
            offsets_zyx: vec![[-1, 0, 0], [0, -1, 0], [0, 0, -1]],
            fragment_method: FragmentMethod::Seeded(Default::default()),
            scoring: EdgeStatistic::Mean.into(),
            threshold: 0.5,
            provenance: Provenance::default(),
            licence: String::new(),
            known_answer: None,
        }
    }

    /// Metadata of a pretrained network, which gives one channel, the intensity in (0, 1), and sees whole windows of
    /// `window_zyx`; it makes no affinities before it has been fine-tuned.
    pub fn for_reconstruction(
        architecture: EmMambaConfig,
        voxel_nm_zyx: [f64; 3],
        window_zyx: [usize; 3],
    ) -> Self {
        Self {
            tile_zyx: window_zyx,
            halo_zyx: [0; 3],
            channels: vec!["intensity".to_owned()],
            offsets_zyx: Vec::new(),
            ..Self::for_affinities(architecture, voxel_nm_zyx)
        }
    }

    /// Voxels of the window around a tile (z, y, x).
    pub fn window_zyx(&self) -> [usize; 3] {
        std::array::from_fn(|i| self.tile_zyx[i].saturating_add(2usize.saturating_mul(self.halo_zyx[i])))
    }

    /// What makes the metadata unusable, as a sentence; `None` when it is sound.
    pub fn defect(&self) -> Option<String> {
        if self.format_version != FORMAT_VERSION {
            return Some(format!(
                "format version {} is not {FORMAT_VERSION}; convert the file or use a matching release",
                self.format_version
            ));
        }
        if let Err(e) = self.architecture.check() {
            return Some(e.to_string());
        }
        if self.tile_zyx.iter().chain(&self.halo_zyx).any(|&v| v > 4096) || self.tile_zyx.contains(&0) {
            return Some(format!("tile {:?} with halo {:?} is out of bounds", self.tile_zyx, self.halo_zyx));
        }
        if let Err(e) = self.architecture.check_window(self.window_zyx()) {
            return Some(e.to_string());
        }
        if self.channels.len() != self.architecture.out_channels {
            return Some(format!(
                "{} channel names for {} output channels",
                self.channels.len(),
                self.architecture.out_channels
            ));
        }
        if !self.voxel_nm_zyx.iter().all(|v| v.is_finite() && *v > 0.0) {
            return Some(format!("voxel size {:?} nm is not positive", self.voxel_nm_zyx));
        }
        if !self.threshold.is_finite() || !self.intensity.is_valid() {
            return Some("the threshold or the intensity range is not usable".to_owned());
        }
        self.known_answer.as_ref().and_then(|answer| answer.defect(self))
    }
}
