//! The network alone: affinities of a region, tiled as in segmentation, or as one window.

use tu_model::Network;
use tu_segment::TileGrid;

use super::compute::{AffinitySink, ComputedTile, for_each_tile};
use super::error::SegmentError;
use super::job::TileInput;
use super::progress::Progress;
use super::source::RawSource;
use crate::roi::Roi;

/// Computes the tiles that a region touches and writes the region's affinities.
///
/// # Errors
/// A tile failed; the volume is not marked complete then.
pub fn write_affinities(
    network: &Network,
    raw: &dyn RawSource,
    grid: &TileGrid,
    roi: Roi,
    sink: AffinitySink,
    progress: &dyn Progress,
) -> Result<usize, SegmentError> {
    let indices = grid.tiles_intersecting(roi.begin_zyx, roi.end_zyx);
    let voxels = indices
        .iter()
        .map(|index| Ok(grid.tile(*index)?.voxels() as u64))
        .sum::<Result<u64, SegmentError>>()?;
    progress.begin("affinities", voxels, 0);
    let input = TileInput::Network { network, raw };
    let failures =
        for_each_tile(&input, grid, &indices, (1, sink.exact()), progress, &|computed| sink.write(&computed));
    progress.end();
    if let Some(first) = failures.first() {
        return Err(SegmentError::refused(
            raw.name(),
            format!("{} of {} tiles failed, the first one: {}", failures.len(), indices.len(), first.cause),
            "put the cause right, delete the unfinished output and run the command again",
        ));
    }
    sink.finish()?;
    Ok(indices.len())
}

/// Runs a region through the network as one window, without tiles and without padding.
///
/// # Errors
/// The region does not fit the network, or it cannot be read or computed.
pub fn write_affinities_whole(
    network: &Network,
    raw: &dyn RawSource,
    roi: Roi,
    sink: AffinitySink,
) -> Result<(), SegmentError> {
    let region = roi.region();
    let mut values = raw.read(&region)?;
    network.metadata.intensity.apply(&mut values, raw.data_type_max());
    let affinities = network.affinities_blocking(values, region.shape_zyx).map_err(|e| {
        SegmentError::refused(
            format!("region {roi} of {}", raw.name()),
            e.to_string(),
            "choose a region that fits, or leave --whole out",
        )
    })?;
    // A region is a tile of a grid that has one.
    let shape = roi.shape_zyx();
    let grid = TileGrid::new(shape, region.shape_zyx, [0; 3])?;
    let mut tile = grid.tile([0; 3])?;
    (tile.origin_zyx, tile.read_origin_zyx) = (roi.begin_zyx, roi.begin_zyx);
    let bins = affinities.iter().copied().map(tu_segment::quantise_affinity).collect();
    sink.write(&ComputedTile { tile, bins, exact: Some(affinities), fragments: None })?;
    sink.finish()
}
