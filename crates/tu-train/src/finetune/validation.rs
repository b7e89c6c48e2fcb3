//! Scores a network as it will be used: the validation region is cut into the model's tiles with halo and reflection at
//! the border, affinities are quantised, fragments are made per tile and joined over the region graph, and the segments
//! are compared with the labels. The network runs once; every post-processing setting is tried on its affinities.

use std::collections::HashMap;

use tu_model::Network;
use tu_segment::{
    AffinityView, Contingency, FragmentMethod, RegionGraph, Scores, Scoring, TileFragments, TileGrid,
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
        let fail = |cause: String| TrainError::Validation(format!("`{}`: {cause}", self.name));
        let metadata = &network.metadata;
        let extent = self.shape_zyx.map(|s| s as u64);
        let grid =
            TileGrid::new(extent, metadata.tile_zyx, metadata.halo_zyx).map_err(|e| fail(e.to_string()))?;
        let indices = grid.tiles_intersecting([0; 3], extent);
        let mut graphs: Vec<(RegionGraph, Vec<u64>)> = self
            .config
            .methods
            .iter()
            .map(|_| (RegionGraph::new(grid.clone()), vec![0; self.labels.len()]))
            .collect();
        progress.begin("tiles", extent.iter().product(), 0);
        for index in indices {
            let tile = grid.tile(index).map_err(|e| fail(e.to_string()))?;
            let read = block(&self.raw, self.shape_zyx, tile.read_origin_zyx, tile.read_shape_zyx);
            let bins = network
                .tile_window(read, self.data_type_max, &tile)
                .and_then(|window| network.tile_bins_blocking(window, &tile))
                .map_err(|e| fail(e.to_string()))?;
            let view = AffinityView::new(&bins, tile.shape_zyx).map_err(|e| fail(e.to_string()))?;
            for (method, (graph, fragments)) in self.config.methods.iter().zip(&mut graphs) {
                let made =
                    TileFragments::compute(&grid, index, &view, method).map_err(|e| fail(e.to_string()))?;
                place(made.labels(), tile.shape_zyx, fragments, self.shape_zyx, tile.origin_zyx);
                graph.insert(&made);
            }
            progress.advance(tile.voxels() as u64);
        }
        progress.end();
        progress.note("scoring every setting");
        let mut results = Vec::new();
        for (method, (graph, fragments)) in self.config.methods.iter().zip(&graphs) {
            self.score_graph(*method, graph, fragments, &mut results);
        }
        results.sort_by(|a, b| a.scores.voi.total_cmp(&b.scores.voi));
        Ok(results)
    }

    fn score_graph(
        &self,
        method: FragmentMethod,
        graph: &RegionGraph,
        fragments: &[u64],
        results: &mut Vec<ValidationResult>,
    ) {
        let ids = graph.fragment_ids();
        let edges = graph.edges();
        // Voxels hold positions in `ids`, so that a new agglomeration is a table look-up per voxel.
        let position: HashMap<u64, usize> = ids.iter().enumerate().map(|(i, id)| (*id, i + 1)).collect();
        let voxels: Vec<u32> =
            fragments.iter().map(|id| position.get(id).copied().unwrap_or(0) as u32).collect();
        let mut segments = vec![0u64; voxels.len()];
        for &scoring in &self.config.scorings {
            for &threshold in &self.config.thresholds {
                let agglomeration = tu_segment::agglomerate(&ids, &edges, scoring, threshold);
                let mut roots = vec![0u64];
                roots.extend(ids.iter().map(|id| agglomeration.root(*id)));
                for (segment, voxel) in segments.iter_mut().zip(&voxels) {
                    *segment = roots[*voxel as usize];
                }
                let mut contingency = Contingency::new();
                contingency.add(&segments, &self.labels);
                let scores = contingency.scores();
                results.push(ValidationResult { fragment_method: method, scoring, threshold, scores });
            }
        }
    }
}

/// The part of a volume that begins at `origin_zyx`.
fn block(data: &[f32], shape: [usize; 3], origin_zyx: [u64; 3], size: [usize; 3]) -> Vec<f32> {
    let [z0, y0, x0] = origin_zyx.map(|o| o as usize);
    let mut out = Vec::with_capacity(size.iter().product());
    for z in z0..z0 + size[0] {
        for y in y0..y0 + size[1] {
            let row = (z * shape[1] + y) * shape[2] + x0;
            out.extend_from_slice(&data[row..row + size[2]]);
        }
    }
    out
}

/// Writes a tile into a volume.
fn place(tile: &[u64], size: [usize; 3], data: &mut [u64], shape: [usize; 3], origin_zyx: [u64; 3]) {
    let [z0, y0, x0] = origin_zyx.map(|o| o as usize);
    for (i, row) in tile.chunks_exact(size[2]).enumerate() {
        let (z, y) = (z0 + i / size[1], y0 + i % size[1]);
        let at = (z * shape[1] + y) * shape[2] + x0;
        data[at..at + size[2]].copy_from_slice(row);
    }
}
