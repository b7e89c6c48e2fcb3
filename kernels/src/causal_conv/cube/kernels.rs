//! Values and gradients of runs of positions.

use cubecl::prelude::*;

use super::{FORWARD_RUN, GRADIENT_RUN};
use crate::cube::forward::sigmoid;

/// The token that an order visits at a position; orders are numbered as in [`number`](super::backend::number).
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

/// v `[O·B, L, E]` of O orders from `order` on, each with its weight and bias, one unit per order, run of positions and
/// channel. `row` is the distance between the rows of two tokens in x.
#[cube(launch_unchecked)]
pub(super) fn convolve(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    v: &mut [f32],
    batch: usize,
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    order: usize,
    runs: usize,
    items: usize,
    #[comptime] taps: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let e = id % channels;
        let place = id / channels;
        let sequence = place / runs;
        let from = sequence % batch * length;
        let order = order + sequence / batch;
        let parameter = sequence / batch * channels + e;
        let first = place % runs * comptime![FORWARD_RUN];
        let mut last = first + comptime![FORWARD_RUN];
        if last > length {
            last = length;
        }
        let mut weights = Array::<f32>::new(taps);
        let mut window = Array::<f32>::new(taps);
        #[unroll]
        for k in 0..taps {
            weights[k] = weight[parameter * taps + k];
            window[k] = 0.0f32;
            if k > 0 && first + k >= taps {
                let seen = token(first + k - taps, length, slices, order);
                window[k] = x[(from + seen) * row + e];
            }
        }
        let offset = bias[parameter];
        for t in first..last {
            #[unroll]
            for k in 1..taps {
                window[k - 1] = window[k];
            }
            window[comptime![taps - 1]] = x[(from + token(t, length, slices, order)) * row + e];
            let mut sum = offset;
            #[unroll]
            for k in 0..taps {
                sum += weights[k] * window[k];
            }
            v[(sequence * length + t) * channels + e] = sum * sigmoid(sum);
        }
    }
}

/// ∂x `[B, L, E]`, and contributions `[B · runs, K + 1, E]` to the gradients of weight and bias, one unit per run of
/// positions and channel.
#[cube(launch_unchecked)]
pub(super) fn differentiate(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    v_grad: &[f32],
    x_grad: &mut [f32],
    parts: &mut [f32],
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    order: usize,
    runs: usize,
    items: usize,
    #[comptime] taps: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let e = id % channels;
        let place = id / channels;
        let from = place / runs * length;
        let first = place % runs * comptime![GRADIENT_RUN];
        let mut last = first + comptime![GRADIENT_RUN];
        if last > length {
            last = length;
        }
        let mut weights = Array::<f32>::new(taps);
        let mut window = Array::<f32>::new(taps);
        // q of this position and those before it
        let mut later = Array::<f32>::new(taps);
        let mut sums = Array::<f32>::new(comptime![taps + 1]);
        #[unroll]
        for k in 0..taps {
            weights[k] = weight[e * taps + k];
            later[k] = 0.0f32;
            sums[k] = 0.0f32;
            window[k] = 0.0f32;
            if k > 0 && first + k >= taps {
                let seen = token(first + k - taps, length, slices, order);
                window[k] = x[(from + seen) * row + e];
            }
        }
        sums[taps] = 0.0f32;
        let offset = bias[e];
        for t in first..last + comptime![taps - 1] {
            #[unroll]
            for k in 1..taps {
                window[k - 1] = window[k];
                later[taps - k] = later[taps - k - 1];
            }
            let mut q = 0.0f32;
            if t < length {
                window[comptime![taps - 1]] = x[(from + token(t, length, slices, order)) * row + e];
                let mut sum = offset;
                #[unroll]
                for k in 0..taps {
                    sum += weights[k] * window[k];
                }
                let s = sigmoid(sum);
                q = v_grad[(from + t) * channels + e] * (s * (1.0f32 + sum * (1.0f32 - s)));
                if t < last {
                    #[unroll]
                    for k in 0..taps {
                        sums[k] += q * window[k];
                    }
                    sums[taps] += q;
                }
            }
            later[0] = q;
            if t + 1 >= first + taps {
                let mut sum = 0.0f32;
                #[unroll]
                for k in 0..taps {
                    sum += weights[k] * later[k];
                }
                let seen = token(t + 1 - taps, length, slices, order);
                x_grad[(from + seen) * channels + e] = sum;
            }
        }
        #[unroll]
        for k in 0..comptime![taps + 1] {
            parts[(place * comptime![taps + 1] + k) * channels + e] = sums[k];
        }
    }
}
