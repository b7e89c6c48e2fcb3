//! Scores a network as it will be used: the validation region is cut into the model's tiles with halo and reflection at
//! the border, affinities are quantised, fragments are made per tile and joined over the region graph, and the segments
//! are compared with the labels. The network runs once; every post-processing setting is tried on its affinities.

use rayon::prelude::*;
use tu_model::Network;
use tu_segment::{
    AffinityView, Contingency, FragmentMethod, RegionGraph, Scores, Scoring, Tile, TileFragments, TileGrid,
    crop, pad_reflect,
};

use super::config::ValidationConfig;
use crate::data::{TrainingVolume, VoxelMemory};
use crate::segment::Progress;
use crate::training::TrainError;

/// A validation region in memory, ready to be scored again and again.
pub struct Validation {
    config: ValidationConfig,
    raw: Vec<f32>,
    labels: Vec<u64>,
    shape_zyx: [usize; 3],
    data_type_max: f32,
    name: String,
}

/// One post-processing setting and what it scored.
#[derive(Clone, Debug, PartialEq)]
pub struct ValidationResult {
    /// How fragments were made.
    pub fragment_method: FragmentMethod,
    /// How edges were scored.
    pub scoring: Scoring,
    /// Where agglomeration stopped.
    pub threshold: f32,
    /// Scores against the labels; label 0 does not count.
    pub scores: Scores,
}

impl Validation {
    /// How many labels it has; 0 is none.
    pub fn objects(&self) -> usize {
        let mut labels: Vec<u64> = self.labels.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.iter().filter(|label| **label != 0).count()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
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
            labels: block.labels,
            shape_zyx,
            data_type_max: volume.data_type_max(),
            name: volume.name().into(),
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
        let fail = |cause: String| TrainError::Validation(format!("`{}`: {cause}", self.name));
        let metadata = &network.metadata;
        let shape: [usize; 3] = std::array::from_fn(|axis| self.shape_zyx[axis] + shift_zyx[axis]);
        let raw = pad_reflect(&self.raw, self.shape_zyx, shift_zyx, shape);
        let extent = shape.map(|s| s as u64);
        let grid =
            TileGrid::new(extent, metadata.tile_zyx, metadata.halo_zyx).map_err(|e| fail(e.to_string()))?;
        let methods = &self.config.methods;
        let mut tables: Vec<(RegionGraph, Contingency)> =
            methods.iter().map(|_| (RegionGraph::new(grid.clone()), Contingency::new())).collect();
        progress.begin("tiles", extent.iter().product(), 0);
        for index in grid.tiles_intersecting([0; 3], extent) {
            let tile = grid.tile(index).map_err(|e| fail(e.to_string()))?;
            let read = crop(&raw, 1, shape, tile.read_origin_zyx.map(|o| o as usize), tile.read_shape_zyx);
            let bins = network
                .tile_window(read, self.data_type_max, &tile)
                .and_then(|window| network.tile_bins_blocking(window, &tile))
                .map_err(|e| fail(e.to_string()))?;
            let view = AffinityView::new(&bins, tile.read_shape_zyx).map_err(|e| fail(e.to_string()))?;
            let truth = self.truth_of(&tile, shift_zyx);
            methods.par_iter().zip(&mut tables).try_for_each(|(method, (graph, contingency))| {
                let made =
                    TileFragments::compute(&grid, index, &view, method).map_err(|e| fail(e.to_string()))?;
                contingency.add(made.labels(), &truth);
                graph.insert(&made);
                Ok::<_, TrainError>(())
            })?;
            progress.advance(tile.voxels() as u64);
        }
        progress.end();
        progress.note("scoring every setting");
        let results: Vec<Vec<ValidationResult>> = methods
            .par_iter()
            .zip(&tables)
            .map(|(method, (graph, contingency))| self.score(*method, graph, contingency))
            .collect();
        Ok(results.concat())
    }

    /// The labels of a tile of the shifted grid; 0 before the region.
    fn truth_of(&self, tile: &Tile, shift_zyx: [usize; 3]) -> Vec<u64> {
        let [_, height, width] = self.shape_zyx;
        let mut truth = Vec::with_capacity(tile.voxels());
        let place = |axis: usize, i: usize| (tile.origin_zyx[axis] as usize + i).checked_sub(shift_zyx[axis]);
        for z in 0..tile.shape_zyx[0] {
            for y in 0..tile.shape_zyx[1] {
                let row = place(0, z).zip(place(1, y)).map(|(z, y)| (z * height + y) * width);
                truth.extend((0..tile.shape_zyx[2]).map(|x| match (row, place(2, x)) {
                    (Some(row), Some(x)) => self.labels[row + x],
                    _ => 0,
                }));
            }
        }
        truth
    }

    fn score(
        &self,
        fragment_method: FragmentMethod,
        graph: &RegionGraph,
        contingency: &Contingency,
    ) -> Vec<ValidationResult> {
        let (ids, edges) = (graph.fragment_ids(), graph.edges());
        let mut results = Vec::new();
        for &scoring in &self.config.scorings {
            for &threshold in &self.config.thresholds {
                let agglomeration = tu_segment::agglomerate(&ids, &edges, scoring, threshold);
                let scores = contingency.relabelled(|fragment| agglomeration.root(fragment)).scores();
                results.push(ValidationResult { fragment_method, scoring, threshold, scores });
            }
        }
        results
    }
}
