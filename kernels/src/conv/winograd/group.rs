//! How the tiles of a convolution are cut into groups, and where a group's positions lie in memory.

use super::transform::Place;
use super::{outputs, remaining_taps};
use crate::conv::ConvShape;
use crate::conv::lanes::OVERRUN;
use crate::conv::vector::MAX_LANES;

/// Floats of one point's planes that a group should have: they stay in a thread's second cache.
const PLANE_FLOATS: usize = 1 << 15;
/// Fewest and most positions of a group of values: few positions read the weights too often.
const POSITIONS: [usize; 2] = [256, 4096];
/// Floats of all planes of a group of gradients, which all threads share.
const GRADIENT_FLOATS: usize = 1 << 22;
/// Fewest and most positions of a group of gradients.
const GRADIENT_POSITIONS: [usize; 2] = [1024, 16_384];

/// Tiles of one sample: some of every slice of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) sample: usize,
    /// First slice, and how many.
    pub(super) slice: usize,
    pub(super) slices: usize,
    /// First tile along y, and how many.
    pub(super) tile: usize,
    pub(super) tiles: usize,
}

/// Groups for values: as many as threads at least, where there are so many slices.
pub(super) fn for_values(shape: &ConvShape, threads: usize) -> Vec<Group> {
    let positions = (PLANE_FLOATS / shape.input).clamp(POSITIONS[0], POSITIONS[1]);
    groups(shape, positions, threads.div_ceil(shape.batch.max(1)))
}

/// Groups for the gradient of the weight, one after the other.
pub(super) fn for_gradients(shape: &ConvShape) -> Vec<Group> {
    let positions = GRADIENT_FLOATS / 8 / (shape.input + shape.output);
    groups(shape, positions.clamp(GRADIENT_POSITIONS[0], GRADIENT_POSITIONS[1]), 1)
}

/// Groups of about `positions` transformed positions, at least `wanted` of them in a sample where slices allow it.
fn groups(shape: &ConvShape, positions: usize, wanted: usize) -> Vec<Group> {
    let [depth, height, width] = shape.size_zyx;
    let tiles = height.div_ceil(outputs(shape));
    let plane = tiles * width;
    let bands = plane.div_ceil(positions).min(tiles);
    let ranges = if bands > 1 { depth } else { (depth * plane).div_ceil(positions).max(wanted).min(depth) };
    let mut groups = Vec::with_capacity(shape.batch * ranges * bands);
    for sample in 0..shape.batch {
        for range in 0..ranges {
            let (slice, next) = (range * depth / ranges, (range + 1) * depth / ranges);
            for band in 0..bands {
                let (tile, after) = (band * tiles / bands, (band + 1) * tiles / bands);
                groups.push(Group { sample, slice, slices: next - slice, tile, tiles: after - tile });
            }
        }
    }
    groups
}

/// Where position (z, tile, x) of a group lies: `z·z_step + tile·tile_step + x·column_step`, alike in the planes of inputs,
/// which have kx − 1 columns and kz − 1 slices more, and in those of sums and gradients.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    z_step: usize,
    tile_step: usize,
    column_step: usize,
    /// Positions from the first to the last; some between them may be of no use.
    pub(super) count: usize,
    /// Offsets of the taps along z and x.
    pub(super) offsets: Vec<usize>,
    /// From one channel to the next, of an input's plane and of a plane of sums, with room for whole registers.
    pub(super) source_step: usize,
    pub(super) sum_step: usize,
}

impl Layout {
    pub(super) fn new(shape: &ConvShape, group: &Group) -> Self {
        let ([_, _, width], [kz, _, kx]) = (shape.size_zyx, shape.kernel_zyx);
        let columns = width + kx - 1;
        // A row whose border is an eighth of it is better read across.
        let rows_are_long = width >= 8 * (kx - 1);
        let (tile_step, z_step, column_step, count) = if rows_are_long {
            (columns, group.tiles * columns, 1, group.slices * group.tiles * columns)
        } else {
            let column_step = (group.slices + kz - 1) * group.tiles;
            (1, group.tiles, column_step, width * column_step)
        };
        let offsets: Vec<usize> =
            (0..remaining_taps(shape)).map(|t| t / kx * z_step + t % kx * column_step).collect();
        let run = count.next_multiple_of(MAX_LANES) + OVERRUN;
        let furthest = offsets.last().copied().unwrap_or_default();
        Self {
            z_step,
            tile_step,
            column_step,
            count,
            offsets,
            source_step: spread(run + furthest),
            sum_step: spread(run),
        }
    }

    pub(super) fn place(&self, point_step: usize) -> Place {
        Place { point_step, z_step: self.z_step, tile_step: self.tile_step, column_step: self.column_step }
    }
}

/// At least `floats`, an odd number of cache lines: the same position of many channels then falls on different sets.
fn spread(floats: usize) -> usize {
    (floats.div_ceil(MAX_LANES) | 1) * MAX_LANES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_cover_every_tile_of_every_slice_once() {
        for (batch, input, output, size_zyx, kernel_zyx) in [
            (1, 1, 1, [1, 1, 1], [1, 5, 5]),
            (2, 512, 512, [16, 10, 10], [1, 5, 5]),
            (1, 8, 8, [16, 160, 160], [1, 5, 5]),
            (1, 64, 32, [3, 160, 161], [1, 3, 3]),
            (3, 8, 8, [5, 81, 80], [3, 3, 3]),
        ] {
            let shape = ConvShape { batch, input, output, size_zyx, kernel_zyx };
            let tiles = size_zyx[1].div_ceil(outputs(&shape));
            for groups in [for_values(&shape, 1), for_values(&shape, 7), for_gradients(&shape)] {
                let mut seen = vec![0; batch * size_zyx[0] * tiles];
                for g in groups {
                    for z in g.slice..g.slice + g.slices {
                        for t in g.tile..g.tile + g.tiles {
                            seen[(g.sample * size_zyx[0] + z) * tiles + t] += 1;
                        }
                    }
                }
                assert!(seen.iter().all(|n| *n == 1), "{shape:?}");
            }
        }
    }

    #[test]
    fn small_planes_occupy_every_thread() {
        let shape =
            ConvShape { batch: 1, input: 512, output: 512, size_zyx: [16, 10, 10], kernel_zyx: [1, 5, 5] };
        assert!(for_values(&shape, 2).len() >= 2);
        assert_eq!(for_values(&shape, 16).len(), 16);
    }
}
