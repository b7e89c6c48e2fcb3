//! The three directions in one launch on CubeCL devices.

use burn::backend::TensorMetadata;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{ORDERS, ThreeOrdersBackend};
use crate::causal_conv::cube::convolve_in_orders;
use crate::cube::launch::{count, cubes_of_units, empty, in_rows};
use crate::gate::cube::kernels::{gated, inter_slice, reversed};

/// Launches of either operation.
pub const LAUNCHES: u64 = 1;

impl ThreeOrdersBackend for CubeBackend {
    fn causal_conv_silu_in_orders(
        xz: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        slices: usize,
    ) -> CubeTensor {
        let shape = weight.shape().dims();
        convolve_in_orders(xz, weight, bias, 0, shape, slices)
    }

    fn gated_sum_of_orders(y: CubeTensor, xz: CubeTensor, slices: usize) -> CubeTensor {
        let y = into_contiguous(y);
        let (xz, row) = in_rows(xz);
        let [sequences, length, channels] = y.shape().dims();
        let out = empty(&y, [sequences / ORDERS, length, channels]);
        let items = sequences / ORDERS * length * channels;
        if items == 0 {
            return out;
        }
        let client = out.client.clone();
        let (wanted, dim) = cubes_of_units(items);
        count();
        // SAFETY: a unit beyond the elements of `out` does nothing; `y` has three times as many, and an order permutes the
        // tokens of a sequence; rows of `xz` hold two values for every channel.
        unsafe {
            gate::launch_unchecked(
                &client,
                wanted,
                dim,
                y.into_buffer_arg(),
                xz.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                length,
                channels,
                row,
                slices,
                items,
            );
        }
        out
    }
}

/// The gated sum of `items` elements.
#[cube(launch_unchecked)]
fn gate(
    y: &[f32],
    xz: &[f32],
    out: &mut [f32],
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    items: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let e = id % channels;
        let backward = y[items + reversed(id, length, channels)];
        let sum = y[id] + backward + y[2 * items + inter_slice(id, length, channels, slices)];
        out[id] = gated(sum, xz[id / channels * row + channels + e]);
    }
}
