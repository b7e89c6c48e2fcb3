//! Tile sizes, by rule.
//!
//! Values: of all tiles that hold the wanted number of voxels, the one that covers the volume with the fewest
//! tiles, then the one with the smallest halo; the number is halved while a device would stand idle. Weight gradient: of all tiles that fit, the one for which an estimate of
//! a unit's work, times units, is least.

use crate::conv::ConvShape;

/// Floats of a vector.
pub(super) const LANES: usize = 4;
/// Voxels along x that a unit computes at once.
pub(super) const RUN: usize = 8;
/// Vectors of shared memory in 16 KiB.
const SHARED_VECTORS: usize = 1024;
/// Units of a cube.
const MAX_UNITS: usize = 256;
/// More input channels per slice only lower the number of cubes that a processor holds at once.
const MAX_SLICE: usize = 8;
/// Cubes of the values below which tiles shrink.
const VALUE_CUBES_WANTED: usize = 128;
/// Vectors of output channels that a unit of the weight gradient holds.
pub(super) const GRADIENT_VECTORS: usize = 2;

/// A cube's share of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ValueTile {
    /// Output channels, a multiple of [`LANES`].
    pub(super) channels: usize,
    /// Voxels along z.
    pub(super) z: usize,
    /// Voxels along y.
    pub(super) y: usize,
    /// Voxels along x, a multiple of [`RUN`].
    pub(super) x: usize,
    /// Input channels in shared memory at a time.
    pub(super) slice: usize,
    /// Kernel taps along z.
    pub(super) kz: usize,
    /// Kernel taps along y.
    pub(super) ky: usize,
    /// Kernel taps along x.
    pub(super) kx: usize,
}

/// Vectors of a window of inputs that serves one run and one kernel row.
pub(super) const fn window_vectors(kx: usize) -> usize {
    (RUN + kx - 1).div_ceil(LANES)
}

/// Vectors of a row of `x` voxels with its halo.
const fn row_vectors(x: usize, kx: usize) -> usize {
    (x + kx - 1).div_ceil(LANES)
}

impl ValueTile {
    /// Output channels of a tile, by which packed weights are laid out; the size of the volume has no part in it. `None` when
    /// the kernel does not fit shared memory.
    pub(super) fn channels_of(shape: &ConvShape) -> Option<usize> {
        let wanted = shape.output.next_power_of_two().clamp(4, 32);
        let fits = |channels: usize| Self::covering(shape, channels, Self::most_voxels(channels)).is_some();
        [32, 16, 8, 4].into_iter().find(|channels| *channels <= wanted && fits(*channels))
    }

    const fn most_voxels(channels: usize) -> usize {
        if channels == 32 { 256 } else { 512 }
    }

    /// The tile for a convolution; `None` when the kernel does not fit shared memory.
    pub(super) fn of(shape: &ConvShape) -> Option<Self> {
        let channels = Self::channels_of(shape)?;
        let mut tile = Self::covering(shape, channels, Self::most_voxels(channels))?;
        // Small volumes: fewer voxels per cube for more cubes, as long as a cube keeps 64 units.
        while tile.cubes(shape) < VALUE_CUBES_WANTED && tile.units() > 64 {
            tile = Self::covering(shape, channels, tile.z * tile.y * tile.x / 2)?;
        }
        Some(tile)
    }

    /// The best tile of a number of voxels.
    fn covering(shape: &ConvShape, channels: usize, voxels: usize) -> Option<Self> {
        [32, 16, 8]
            .into_iter()
            .flat_map(|x| [32, 16, 8, 4, 2, 1].map(|y| (y, x)))
            .filter(|(y, x)| y * x <= voxels)
            .filter_map(|(y, x)| Self::with(shape, channels, [voxels / (y * x), y, x]))
            .min_by_key(|tile| (tile.cubes(shape), tile.halo_of_channel()))
    }

    fn with(shape: &ConvShape, channels: usize, [z, y, x]: [usize; 3]) -> Option<Self> {
        let [kz, ky, kx] = shape.kernel_zyx;
        let one = Self { channels, z, y, x, slice: 1, kz, ky, kx };
        let most = (SHARED_VECTORS / (one.halo_vectors() + one.weight_vectors())).min(MAX_SLICE);
        // the fewest channels that do not exist, then the fewest slices
        let slice = (1..=most.min(shape.input)).min_by_key(|slice| {
            let slices = shape.input.div_ceil(*slice);
            (slices * slice, slices)
        })?;
        Some(Self { slice, ..one })
    }

    /// Slices of `input` channels.
    pub(super) fn slices(&self, input: usize) -> usize {
        input.div_ceil(self.slice)
    }

    /// Vectors of output channels.
    pub(super) const fn groups(&self) -> usize {
        self.channels / LANES
    }

    /// Runs of voxels.
    const fn runs(&self) -> usize {
        self.z * self.y * self.x / RUN
    }

    /// Units of a cube.
    pub(super) const fn units(&self) -> usize {
        self.groups() * self.runs()
    }

    /// Vectors of a row with its halo.
    pub(super) const fn row_vectors(&self) -> usize {
        row_vectors(self.x, self.kx)
    }

    /// Rows of a plane with its halo.
    pub(super) const fn halo_y(&self) -> usize {
        self.y + self.ky - 1
    }

    const fn halo_of_channel(&self) -> usize {
        self.z * self.halo_y() * self.row_vectors()
    }

    /// Vectors of staged inputs.
    pub(super) const fn halo_vectors(&self) -> usize {
        self.slice * self.halo_of_channel()
    }

    /// Vectors of staged weights.
    pub(super) const fn weight_vectors(&self) -> usize {
        self.slice * self.ky * self.kx * self.groups()
    }

    /// Cubes that cover the volume and the output channels.
    pub(super) fn cubes(&self, shape: &ConvShape) -> usize {
        let [depth, height, width] = shape.size_zyx;
        let tiles = depth.div_ceil(self.z) * height.div_ceil(self.y) * width.div_ceil(self.x);
        shape.batch * tiles * shape.output.div_ceil(self.channels)
    }
}

/// A cube's share of the weight gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WeightTile {
    /// Output channels, a multiple of `LANES · GRADIENT_VECTORS`.
    pub(super) output: usize,
    /// Input channels.
    pub(super) input: usize,
    /// Voxels along y that are staged at a time.
    pub(super) y: usize,
    /// Voxels along x that are staged at a time, a multiple of [`RUN`].
    pub(super) x: usize,
    /// Parts of the staged voxels that different units sum.
    pub(super) segments: usize,
    /// Kernel taps along z.
    pub(super) kz: usize,
    /// Kernel taps along y.
    pub(super) ky: usize,
    /// Kernel taps along x.
    pub(super) kx: usize,
}

impl WeightTile {
    /// The tile for a convolution; `None` when the kernel does not fit.
    pub(super) fn of(shape: &ConvShape) -> Option<Self> {
        let output = shape.output.next_power_of_two().clamp(8, 32);
        let [kz, ky, kx] = shape.kernel_zyx;
        let powers = |most: u32| (0..=most).map(|power| 1usize << power);
        let widest_input = shape.input.next_power_of_two();
        let weights = shape.output * shape.input * shape.taps();
        [8, 16, 32]
            .into_iter()
            .flat_map(|x| powers(5).map(move |y| (y, x)))
            .flat_map(|place| powers(5).map(move |input| (place, input)))
            .flat_map(|place| powers(5).map(move |segments| (place, segments)))
            .map(|(((y, x), input), segments)| Self { output, input, y, x, segments, kz, ky, kx })
            .filter(|tile| tile.segments == 1 || tile.segments * weights <= MAX_SUMS)
            .filter(|tile| tile.input <= widest_input && tile.fits())
            .min_by_key(|tile| tile.cost(shape))
    }

    fn fits(&self) -> bool {
        self.units() <= MAX_UNITS
            && self.runs().is_multiple_of(self.segments)
            && self.halo_vectors() + self.gradient_vectors() <= SHARED_VECTORS
    }

    /// Estimate of the time of all units, in scalar operations.
    fn cost(&self, shape: &ConvShape) -> usize {
        let [depth, height, width] = shape.size_zyx;
        let blocks = shape.output.div_ceil(self.output) * shape.input.div_ceil(self.input);
        let steps = shape.batch * depth * height.div_ceil(self.y) * width.div_ceil(self.x);
        let units = self.units().next_multiple_of(32);
        let staged = (self.halo_vectors() + self.gradient_vectors()).div_ceil(units) * 40;
        let loads = window_vectors(self.kx) + RUN * GRADIENT_VECTORS;
        let run = 4 * loads + RUN * self.kx * GRADIENT_VECTORS * LANES;
        let barriers = 200;
        blocks * steps * units * (staged + self.runs() / self.segments * run + barriers)
    }

    /// Groups of output channels, one per unit.
    pub(super) const fn groups(&self) -> usize {
        self.output / (LANES * GRADIENT_VECTORS)
    }

    /// Runs of staged voxels.
    pub(super) const fn runs(&self) -> usize {
        self.y * self.x / RUN
    }

    /// Units of a cube.
    pub(super) const fn units(&self) -> usize {
        self.groups() * self.ky * self.input * self.segments
    }

    /// Vectors of a row with its halo.
    pub(super) const fn row_vectors(&self) -> usize {
        row_vectors(self.x, self.kx)
    }

    /// Rows of staged inputs.
    pub(super) const fn halo_y(&self) -> usize {
        self.y + self.ky - 1
    }

    /// Vectors of staged inputs.
    pub(super) const fn halo_vectors(&self) -> usize {
        self.input * self.halo_y() * self.row_vectors()
    }

    /// Distance between channel vectors of staged output gradients; odd, so that they lie in different banks.
    pub(super) const fn gradient_stride(&self) -> usize {
        self.y * self.x + 1
    }

    /// Vectors of staged output gradients.
    pub(super) const fn gradient_vectors(&self) -> usize {
        self.output / LANES * self.gradient_stride()
    }

    /// How the voxels are shared out.
    pub(super) fn split(&self, shape: &ConvShape) -> WeightSplit {
        let [depth, height, width] = shape.size_zyx;
        let steps = shape.batch * depth * height.div_ceil(self.y) * width.div_ceil(self.x);
        let blocks = shape.output.div_ceil(self.output) * shape.input.div_ceil(self.input) * self.kz;
        let weights = shape.output * shape.input * shape.taps();
        // enough cubes to fill a device, few enough sums to add
        let most = (MAX_SUMS / weights).min(MAX_ROWS) / self.segments;
        let chunk = steps.div_ceil(CUBES_WANTED.div_ceil(blocks).min(most).max(1)).max(1);
        let chunks = steps.div_ceil(chunk);
        WeightSplit { chunk, chunks, cubes: blocks * chunks, sums: chunks * self.segments }
    }
}

/// Cubes that fill a large device.
const CUBES_WANTED: usize = 2048;
/// Floats of all partial sums.
const MAX_SUMS: usize = 1 << 22;
/// Partial sums of a weight, which few units add where weights are few.
const MAX_ROWS: usize = 4096;

/// How the voxels of a weight gradient are shared out over cubes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WeightSplit {
    /// Staged tiles of voxels that a cube sums.
    pub(super) chunk: usize,
    /// Chunks.
    pub(super) chunks: usize,
    /// Cubes.
    pub(super) cubes: usize,
    /// Partial sums of every weight.
    pub(super) sums: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes() -> impl Iterator<Item = ConvShape> {
        let sizes = [[1, 1, 1], [16, 160, 160], [3, 7, 33], [24, 12, 12], [1, 1, 1000], [40, 5, 3]];
        let channels = [1, 2, 3, 5, 8, 13, 16, 31, 32, 64, 100, 512];
        let kernels =
            [[1, 3, 3], [1, 5, 5], [3, 3, 3], [1, 7, 7], [1, 1, 9], [7, 1, 1], [1, 11, 11], [5, 15, 5]];
        sizes.into_iter().flat_map(move |size_zyx| {
            channels.into_iter().flat_map(move |input| {
                channels.into_iter().flat_map(move |output| {
                    kernels.into_iter().map(move |kernel_zyx| ConvShape {
                        batch: 1,
                        input,
                        output,
                        size_zyx,
                        kernel_zyx,
                    })
                })
            })
        })
    }

    #[test]
    fn tiles_keep_the_limits_of_webgpu() {
        for shape in shapes() {
            let tile = ValueTile::of(&shape).unwrap_or_else(|| panic!("{shape:?}"));
            assert!((64..=MAX_UNITS).contains(&tile.units()), "{shape:?} {tile:?}");
            assert!(tile.halo_vectors() + tile.weight_vectors() <= SHARED_VECTORS, "{shape:?} {tile:?}");
            assert!(tile.x.is_multiple_of(RUN) && tile.channels.is_multiple_of(LANES));
            let tile = WeightTile::of(&shape).unwrap_or_else(|| panic!("{shape:?}"));
            assert!(tile.fits(), "{shape:?} {tile:?}");
            let (split, weights) = (tile.split(&shape), shape.output * shape.input * shape.taps());
            assert!(split.sums * weights <= MAX_SUMS.max(weights), "{shape:?} {tile:?} {split:?}");
        }
    }

    #[test]
    fn the_layout_of_packed_weights_does_not_depend_on_the_volume() {
        for kernel_zyx in [[1, 3, 3], [1, 5, 5], [3, 3, 3], [1, 7, 7], [1, 29, 29], [5, 5, 5]] {
            for (input, output) in [(1, 1), (1, 3), (16, 8), (24, 40), (13, 64), (128, 128)] {
                let shape = |size_zyx| ConvShape { batch: 1, input, output, size_zyx, kernel_zyx };
                let channels = ValueTile::channels_of(&shape([1, 1, 1]));
                for size_zyx in [[1, 1, 1], [1, 2, 3], [2, 9, 70], [16, 160, 160], [3, 1000, 8]] {
                    let tile = ValueTile::of(&shape(size_zyx));
                    assert_eq!(tile.map(|tile| tile.channels), channels, "{:?}", shape(size_zyx));
                }
            }
        }
    }

    #[test]
    fn a_kernel_beyond_shared_memory_has_no_tile() {
        let kernel_zyx = [1, 41, 41];
        let shape = ConvShape { batch: 1, input: 4, output: 4, size_zyx: [1, 50, 50], kernel_zyx };
        assert_eq!(ValueTile::of(&shape), None);
    }

    #[test]
    fn the_window_of_the_last_run_ends_within_its_row() {
        for kx in [1, 3, 5, 7, 9, 11] {
            for x in [8, 16, 32] {
                let last = (x - RUN) / LANES + window_vectors(kx);
                assert_eq!(last, row_vectors(x, kx));
            }
        }
    }
}
