//! The three directions in one launch on CubeCL devices.

use burn::backend::TensorMetadata;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::*;

use super::{ORDERS, ThreeOrdersBackend};
use crate::causal_conv::cube::FORWARD_RUN;
use crate::cube::forward::sigmoid;
use crate::cube::launch::{count, cubes_of_units, empty, in_rows};

/// Launches of either operation.
pub const LAUNCHES: u64 = 1;

impl ThreeOrdersBackend for CubeBackend {
    fn causal_conv_silu_in_orders(
        xz: CubeTensor,
        weight: CubeTensor,
        bias: CubeTensor,
        slices: usize,
    ) -> CubeTensor {
        let [weight, bias] = [weight, bias].map(into_contiguous);
        let (xz, row) = in_rows(xz);
        let ([batch, length, _], [_, channels, taps]) = (xz.shape().dims(), weight.shape().dims());
        let v = empty(&xz, [ORDERS * batch, length, channels]);
        let runs = length.div_ceil(FORWARD_RUN);
        let items = ORDERS * batch * runs * channels;
        if items == 0 {
            return v;
        }
        let client = v.client.clone();
        let (wanted, dim) = cubes_of_units(items);
        count();
        // SAFETY: a unit beyond the runs and channels of all orders does nothing, and positions and taps of the others are
        // compared with the sizes of `xz` and `weight`, which `v` and `bias` share.
        unsafe {
            convolve::launch_unchecked(
                &client,
                wanted,
                dim,
                xz.into_buffer_arg(),
                weight.into_buffer_arg(),
                bias.into_buffer_arg(),
                v.clone().into_buffer_arg(),
                batch,
                length,
                channels,
                row,
                slices,
                runs,
                items,
                taps,
            );
        }
        v
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

/// The token that an order visits at a position.
#[cube]
fn token(position: usize, length: usize, slices: usize, order: usize) -> usize {
    let mut found = position;
    if order == 1 {
        found = length - 1 - position;
    }
    if order == 2 {
        found = position % slices * (length / slices) + position / slices;
    }
    found
}

/// v `[3, B, L, E]`, one unit per order, run of positions and channel. `row` is the distance between the rows of two tokens
/// in `xz`.
#[cube(launch_unchecked)]
fn convolve(
    xz: &[f32],
    weight: &[f32],
    bias: &[f32],
    v: &mut [f32],
    batch: usize,
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    runs: usize,
    items: usize,
    #[comptime] taps: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let e = id % channels;
        let place = id / channels;
        let sequence = place / runs;
        let order = sequence / batch;
        let from = sequence % batch * length;
        let first = place % runs * comptime![FORWARD_RUN];
        let mut last = first + comptime![FORWARD_RUN];
        if last > length {
            last = length;
        }
        let parameter = order * channels + e;
        let mut weights = Array::<f32>::new(taps);
        let mut window = Array::<f32>::new(taps);
        #[unroll]
        for k in 0..taps {
            weights[k] = weight[parameter * taps + k];
            window[k] = 0.0f32;
            if k > 0 && first + k >= taps {
                let seen = token(first + k - taps, length, slices, order);
                window[k] = xz[(from + seen) * row + e];
            }
        }
        let offset = bias[parameter];
        for t in first..last {
            #[unroll]
            for k in 1..taps {
                window[k - 1] = window[k];
            }
            window[comptime![taps - 1]] = xz[(from + token(t, length, slices, order)) * row + e];
            let mut sum = offset;
            #[unroll]
            for k in 0..taps {
                sum += weights[k] * window[k];
            }
            v[(sequence * length + t) * channels + e] = sum * sigmoid(sum);
        }
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
        let token = id / channels;
        let own = token % length;
        let from = token - own;
        let plane = length / slices;
        let backward = from + length - 1 - own;
        let slice = from + own % plane * slices + own / plane;
        let sum = y[id] + y[items + backward * channels + e] + y[2 * items + slice * channels + e];
        let z = xz[token * row + channels + e];
        out[id] = sum * (z * sigmoid(z));
    }
}
