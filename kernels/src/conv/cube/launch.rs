//! Launches of the tiled convolution.

use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::CubeDim;

use super::tile::{ValueTile, WeightTile};
use super::weights::{COLUMNS, PARTS};
use super::{pack, values, weights};
use crate::conv::ConvShape;
use crate::cube::launch::{count, cubes, cubes_of_units, element, empty, empty_in_type_of};

/// Launches of the values, and of the input gradient.
pub const VALUE_LAUNCHES: u64 = 2;
/// Launches of the values with weights that have been packed before.
pub const PACKED_LAUNCHES: u64 = 1;
/// Launches of the weight gradient.
pub const WEIGHT_GRADIENT_LAUNCHES: u64 = 2;

/// The contiguous weight `[out, in, kz, ky, kx]` of a convolution, or, for an input gradient (`transposed`), `[in, out, kz, ky,
/// kx]` with its taps to be flipped, packed for tiles of so many output channels.
pub(super) fn pack(w: CubeTensor, shape: &ConvShape, channels: usize, transposed: bool) -> CubeTensor {
    let (client, element) = (w.client.clone(), element(&w));
    let [kz, ky, kx] = shape.kernel_zyx;
    let total = pack::packed_floats(shape, channels);
    let packed = empty(&w, [total]);
    let (wanted, dim) = cubes_of_units(total);
    count();
    pack::pack_weights::launch(
        &client,
        wanted,
        dim,
        w.into_buffer_arg(),
        packed.clone().into_buffer_arg(),
        shape.input,
        shape.output,
        kz,
        ky * kx,
        channels,
        usize::from(transposed),
        total,
        element,
    );
    packed
}

/// Contiguous `x [B, in, D, H, W]` and weights packed for the tile's channels to `[B, out, D, H, W]` in the type of `x`.
pub(super) fn convolve(x: CubeTensor, packed: CubeTensor, shape: &ConvShape, tile: ValueTile) -> CubeTensor {
    let client = x.client.clone();
    let element = element(&x);
    let [depth, height, width] = shape.size_zyx;
    let y = empty_in_type_of(&x, [shape.batch, shape.output, depth, height, width]);
    count();
    // SAFETY: the kernel compares every position in `x` and `y` with the sizes passed here, which are those of
    // the tensors, and `packed` holds all input channels of all blocks.
    unsafe {
        values::convolve::launch_unchecked(
            &client,
            cubes(tile.cubes(shape)),
            CubeDim::new_1d(tile.units() as u32),
            x.into_buffer_arg(),
            packed.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            shape.batch,
            shape.input,
            shape.output,
            depth,
            height,
            width,
            tile.slices(shape.input),
            tile,
            element,
        );
    }
    y
}

/// Gradient of the weight, `[out, in, kz, ky, kx]`, of contiguous `x` and `y_grad` of one type.
pub(super) fn weight_gradient(
    x: CubeTensor,
    y_grad: CubeTensor,
    shape: &ConvShape,
    tile: WeightTile,
) -> CubeTensor {
    let client = x.client.clone();
    let element = element(&x);
    let [depth, height, width] = shape.size_zyx;
    let [kz, ky, kx] = shape.kernel_zyx;
    let split = tile.split(shape);
    let columns = shape.output * shape.input * shape.taps();
    let sums = empty(&x, [split.sums * columns]);
    let w_grad = empty_in_type_of(&x, [shape.output, shape.input, kz, ky, kx]);
    count();
    // SAFETY: the kernel compares every position in `x` and `y_grad` with the sizes passed here, which are those
    // of the tensors, and writes one row of `sums` per chunk and segment.
    unsafe {
        weights::correlate::launch_unchecked(
            &client,
            cubes(split.cubes),
            CubeDim::new_1d(tile.units() as u32),
            x.into_buffer_arg(),
            y_grad.into_buffer_arg(),
            sums.clone().into_buffer_arg(),
            shape.batch,
            shape.input,
            shape.output,
            depth,
            height,
            width,
            split.chunks,
            split.chunk,
            tile,
            element,
        );
    }
    count();
    weights::add_rows::launch(
        &client,
        cubes(columns.div_ceil(COLUMNS)),
        CubeDim::new_2d(COLUMNS as u32, PARTS as u32),
        sums.into_buffer_arg(),
        w_grad.clone().into_buffer_arg(),
        split.sums,
        columns,
        element,
    );
    w_grad
}
