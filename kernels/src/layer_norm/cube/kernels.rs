//! Values and gradients of 16 tokens.

use cubecl::prelude::*;

use super::{BLOCK, SHARES, STRIDE, TOKENS, UNITS};
use crate::layer_norm::EPSILON;

/// Sum over the units of every token, for all of them. `sums` holds one float per unit.
#[cube]
fn total(sums: &mut Shared<[f32]>, value: f32, token: usize, share: usize) -> f32 {
    sync_cube();
    sums[share * comptime![TOKENS] + token] = value;
    sync_cube();
    let mut sum = 0.0f32;
    #[unroll]
    for s in 0..SHARES {
        sum += sums[s * comptime![TOKENS] + token];
    }
    sum
}

/// y `[B, L, C]` of `x [B, C, L]`, a unit per token, `items` of them.
#[cube(launch_unchecked)]
pub(super) fn normalise_narrow(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    channels: usize,
    length: usize,
    items: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let from = id / length * channels * length + id % length;
        let origin = x[from];
        let mut sum = 0.0f32;
        for c in 0..channels {
            sum += x[from + c * length] - origin;
        }
        let mean = sum / f32::cast_from(channels);
        let mut squares = 0.0f32;
        for c in 0..channels {
            let deviation = x[from + c * length] - origin - mean;
            squares += deviation * deviation;
        }
        let scale = 1.0f32 / f32::sqrt(squares / f32::cast_from(channels) + comptime![EPSILON]);
        for c in 0..channels {
            y[id * channels + c] = (x[from + c * length] - origin - mean) * scale * weight[c] + bias[c];
        }
    }
}

/// y `[B, L, C]` of `x [B, C, L]`, a cube per 16 tokens of a volume; `groups` of them make a volume.
#[cube(launch_unchecked)]
pub(super) fn normalise(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    y: &mut [f32],
    batch: usize,
    channels: usize,
    length: usize,
    groups: usize,
) {
    let mut sums = Shared::<[f32]>::new_slice(comptime![UNITS]);
    let mut block = Shared::<[f32]>::new_slice(comptime![BLOCK * STRIDE]);
    let unit = UNIT_POS as usize;
    let token = unit % comptime![TOKENS];
    let share = unit / comptime![TOKENS];
    let volume = CUBE_POS / groups;
    let first = CUBE_POS % groups * comptime![TOKENS];
    let exists = volume < batch && first + token < length;
    let from = volume * channels * length + first + token;
    let mut origin = 0.0f32;
    let mut sum = 0.0f32;
    if exists {
        origin = x[from];
        let mut c = share;
        while c < channels {
            sum += x[from + c * length] - origin;
            c += comptime![SHARES];
        }
    }
    let mean = total(&mut sums, sum, token, share) / f32::cast_from(channels);
    let mut squares = 0.0f32;
    if exists {
        let mut c = share;
        while c < channels {
            let deviation = x[from + c * length] - origin - mean;
            squares += deviation * deviation;
            c += comptime![SHARES];
        }
    }
    let variance = total(&mut sums, squares, token, share) / f32::cast_from(channels);
    let scale = 1.0f32 / f32::sqrt(variance + comptime![EPSILON]);
    let blocks = (channels + comptime![BLOCK - 1]) / comptime![BLOCK];
    for b in 0..blocks {
        let start = b * comptime![BLOCK];
        // the block before has been written
        sync_cube();
        #[unroll]
        for k in 0..comptime![BLOCK / SHARES] {
            let row = k * SHARES + share;
            let c = start + row;
            if exists && c < channels {
                block[row * comptime![STRIDE] + token] =
                    (x[from + c * length] - origin - mean) * scale * weight[c] + bias[c];
            }
        }
        sync_cube();
        #[unroll]
        for k in 0..comptime![BLOCK * TOKENS / UNITS] {
            let i = k * UNITS + unit;
            let row = i % comptime![BLOCK];
            let written = i / comptime![BLOCK];
            if volume < batch && first + written < length && start + row < channels {
                y[(volume * length + first + written) * channels + start + row] =
                    block[row * comptime![STRIDE] + written];
            }
        }
    }
}

/// Reads a block of `y_grad [B, L, C]` into shared memory, what does not exist as 0.
#[cube]
fn read_gradients(
    y_grad: &[f32],
    block: &mut Shared<[f32]>,
    from: usize,
    tokens: usize,
    start: usize,
    channels: usize,
    unit: usize,
) {
    sync_cube();
    #[unroll]
    for k in 0..comptime![BLOCK * TOKENS / UNITS] {
        let i = k * UNITS + unit;
        let row = i % comptime![BLOCK];
        let read = i / comptime![BLOCK];
        let mut gradient = 0.0f32;
        if read < tokens && start + row < channels {
            gradient = y_grad[(from + read) * channels + start + row];
        }
        block[row * comptime![STRIDE] + read] = gradient;
    }
    sync_cube();
}

/// ∂x `[B, C, L]`, and contributions `[cubes, 2, C]` to the gradients of weight and bias.
#[cube(launch_unchecked)]
pub(super) fn differentiate(
    x: &[f32],
    weight: &[f32],
    y_grad: &[f32],
    x_grad: &mut [f32],
    parts: &mut [f32],
    batch: usize,
    channels: usize,
    length: usize,
    groups: usize,
) {
    let mut sums = Shared::<[f32]>::new_slice(comptime![UNITS]);
    let mut block = Shared::<[f32]>::new_slice(comptime![BLOCK * STRIDE]);
    let mut products = Shared::<[f32]>::new_slice(comptime![BLOCK * STRIDE]);
    let unit = UNIT_POS as usize;
    let token = unit % comptime![TOKENS];
    let share = unit / comptime![TOKENS];
    let volume = CUBE_POS / groups;
    let first = CUBE_POS % groups * comptime![TOKENS];
    let exists = volume < batch && first + token < length;
    let from = volume * channels * length + first + token;
    let mut tokens = comptime![0usize].runtime();
    if volume < batch {
        tokens = length - first;
        if tokens > comptime![TOKENS] {
            tokens = comptime![TOKENS].runtime();
        }
    }
    let mut origin = 0.0f32;
    let mut sum = 0.0f32;
    if exists {
        origin = x[from];
        let mut c = share;
        while c < channels {
            sum += x[from + c * length] - origin;
            c += comptime![SHARES];
        }
    }
    let mean = total(&mut sums, sum, token, share) / f32::cast_from(channels);
    let mut squares = 0.0f32;
    if exists {
        let mut c = share;
        while c < channels {
            let deviation = x[from + c * length] - origin - mean;
            squares += deviation * deviation;
            c += comptime![SHARES];
        }
    }
    let variance = total(&mut sums, squares, token, share) / f32::cast_from(channels);
    let scale = 1.0f32 / f32::sqrt(variance + comptime![EPSILON]);

    let blocks = (channels + comptime![BLOCK - 1]) / comptime![BLOCK];
    let mut gradient_sum = 0.0f32;
    let mut product_sum = 0.0f32;
    for b in 0..blocks {
        let start = b * comptime![BLOCK];
        read_gradients(y_grad, &mut block, volume * length + first, tokens, start, channels, unit);
        #[unroll]
        for k in 0..comptime![BLOCK / SHARES] {
            let row = k * SHARES + share;
            let c = start + row;
            if exists && c < channels {
                let scaled = block[row * comptime![STRIDE] + token] * weight[c];
                gradient_sum += scaled;
                product_sum += scaled * ((x[from + c * length] - origin - mean) * scale);
            }
        }
    }
    let gradient_mean = total(&mut sums, gradient_sum, token, share) / f32::cast_from(channels);
    let along = total(&mut sums, product_sum, token, share) / f32::cast_from(channels);

    for b in 0..blocks {
        let start = b * comptime![BLOCK];
        read_gradients(y_grad, &mut block, volume * length + first, tokens, start, channels, unit);
        #[unroll]
        for k in 0..comptime![BLOCK / SHARES] {
            let row = k * SHARES + share;
            let c = start + row;
            let mut product = 0.0f32;
            if exists && c < channels {
                let gradient = block[row * comptime![STRIDE] + token];
                let value = (x[from + c * length] - origin - mean) * scale;
                product = gradient * value;
                x_grad[from + c * length] = scale * (gradient * weight[c] - gradient_mean - value * along);
            }
            products[row * comptime![STRIDE] + token] = product;
        }
        sync_cube();
        let row = unit % comptime![BLOCK];
        if unit < comptime![2 * BLOCK] && volume < batch && start + row < channels {
            let mut sum = 0.0f32;
            if unit < comptime![BLOCK] {
                #[unroll]
                for t in 0..TOKENS {
                    sum += products[row * comptime![STRIDE] + t];
                }
            } else {
                #[unroll]
                for t in 0..TOKENS {
                    sum += block[row * comptime![STRIDE] + t];
                }
            }
            parts[(CUBE_POS * 2 + unit / comptime![BLOCK]) * channels + start + row] = sum;
        }
    }
}
