//! Labels of a region, and what settings of post-processing score against them.
//!
//! Affinities of every tile with its halo become fragments, fragments a region graph, and the graph's segments at each
//! threshold are compared with the labels; only the network, or the volume, that the affinities come from differs.

use rayon::prelude::*;
use tu_segment::{
    AffinityView, Contingency, FragmentMethod, RegionGraph, Scores, Scoring, Tile, TileFragments, TileGrid,
    agglomerate_at_each,
};

use super::config::ValidationConfig;
use crate::segment::Progress;
use crate::training::TrainError;

/// Labels of a region, z outermost; label 0 does not count.
pub struct LabelledRegion {
    /// What messages call it.
    pub name: String,
    /// One per voxel.
    pub labels: Vec<u64>,
    /// Their extent.
    pub shape_zyx: [usize; 3],
}

/// Settings of post-processing: every method with every scoring and threshold.
pub struct PostProcessing<'s> {
    /// Ways to make fragments.
    pub methods: &'s [FragmentMethod],
    /// Ways to score edges.
    pub scorings: &'s [Scoring],
    /// Where agglomeration stops.
    pub thresholds: &'s [f32],
}

impl<'s> From<&'s ValidationConfig> for PostProcessing<'s> {
    fn from(config: &'s ValidationConfig) -> Self {
        Self { methods: &config.methods, scorings: &config.scorings, thresholds: &config.thresholds }
    }
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

/// A grid of tiles over a region that begins some voxels before it.
pub struct ShiftedGrid {
    /// The grid, over the region and what lies before it.
    pub grid: TileGrid,
    /// How much lies before it.
    pub shift_zyx: [usize; 3],
}

impl LabelledRegion {
    /// How many labels it has; 0 is none.
    pub fn objects(&self) -> usize {
        let mut labels: Vec<u64> = self.labels.chunk_by(|a, b| a == b).map(|run| run[0]).collect();
        labels.sort_unstable();
        labels.dedup();
        labels.iter().filter(|label| **label != 0).count()
    }

    /// Its tiles, if their grid begins `shift_zyx` voxels before it.
    ///
    /// # Errors
    /// Tile and region do not go together.
    pub fn grid(
        &self,
        (tile_zyx, halo_zyx): ([usize; 3], [usize; 3]),
        shift_zyx: [usize; 3],
    ) -> Result<ShiftedGrid, TrainError> {
        let extent = std::array::from_fn(|axis| (self.shape_zyx[axis] + shift_zyx[axis]) as u64);
        let grid = TileGrid::new(extent, tile_zyx, halo_zyx).map_err(|e| self.failure(&e))?;
        Ok(ShiftedGrid { grid, shift_zyx })
    }

    /// Scores of every setting, in the order of methods, scorings and thresholds. `bins` gives the affinities of a tile and
    /// its halo in 256 bins, `[3, read_shape_zyx]`.
    ///
    /// # Errors
    /// `bins` fails, or gives another number of voxels.
    pub fn score(
        &self,
        tiles: &ShiftedGrid,
        settings: &PostProcessing<'_>,
        progress: &dyn Progress,
        mut bins: impl FnMut(&Tile) -> Result<Vec<u8>, TrainError>,
    ) -> Result<Vec<ValidationResult>, TrainError> {
        let grid = &tiles.grid;
        let mut tables: Vec<(RegionGraph, Contingency)> =
            settings.methods.iter().map(|_| (RegionGraph::new(grid.clone()), Contingency::new())).collect();
        progress.begin("tiles", grid.volume_zyx().iter().product(), 0);
        for index in grid.tiles_intersecting([0; 3], grid.volume_zyx()) {
            let tile = grid.tile(index).map_err(|e| self.failure(&e))?;
            let bins = bins(&tile)?;
            let view = AffinityView::new(&bins, tile.read_shape_zyx).map_err(|e| self.failure(&e))?;
            let truth = self.truth_of(&tile, tiles.shift_zyx);
            settings.methods.par_iter().zip(&mut tables).try_for_each(|(method, (graph, contingency))| {
                let made =
                    TileFragments::compute(grid, index, &view, method).map_err(|e| self.failure(&e))?;
                contingency.add(made.labels(), &truth);
                graph.insert(&made);
                Ok::<_, TrainError>(())
            })?;
            progress.advance(tile.voxels() as u64);
        }
        progress.end();
        progress.note("scoring every setting");
        let results: Vec<Vec<ValidationResult>> = settings
            .methods
            .par_iter()
            .zip(&tables)
            .map(|(method, (graph, contingency))| scores(*method, graph, contingency, settings))
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

    /// A failure of this region's.
    pub(super) fn failure(&self, cause: &dyn std::fmt::Display) -> TrainError {
        TrainError::Validation(format!("`{}`: {cause}", self.name))
    }
}

fn scores(
    fragment_method: FragmentMethod,
    graph: &RegionGraph,
    contingency: &Contingency,
    settings: &PostProcessing<'_>,
) -> Vec<ValidationResult> {
    let (fragments, edges) = (graph.fragments(), graph.edges());
    let mut results = Vec::new();
    for &scoring in settings.scorings {
        let mut curve = Vec::new();
        agglomerate_at_each(&fragments, &edges, scoring, settings.thresholds, |position, segments| {
            let scores = contingency.relabelled(|fragment| segments.root(fragment)).scores();
            let threshold = settings.thresholds[position];
            curve.push((position, ValidationResult { fragment_method, scoring, threshold, scores }));
        });
        curve.sort_by_key(|(position, _)| *position);
        results.extend(curve.into_iter().map(|(_, result)| result));
    }
    results
}
