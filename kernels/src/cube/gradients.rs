//! The backward pass; see [`reference`](crate::reference) for the mathematics.

use cubecl::prelude::*;

use super::forward::{sigmoid, softplus};
use super::{LANES, SEGMENTS};

/// Step 1 in both directions: rows of a chunk `[N end states, ΣΔ, N gradients that leave its start]`.
///
/// The gradient leaving the start is `Σ_t (a_first ⋯ a_t) C_t ḡ_t`, so walking forwards serves both.
#[cube(launch)]
pub(super) fn summarise_both_ways(
    u: &[f32],
    delta: &[f32],
    a: &[f32],
    b: &[f32],
    c: &[f32],
    y_grad: &[f32],
    carry: &mut [f32],
    length: usize,
    channels: usize,
    chunks: usize,
    chunk: usize,
    items: usize,
    #[comptime] states: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let e = id % channels;
        let place = id / channels;
        let sequence = place / chunks;
        let first = (place % chunks) * chunk;
        let mut last = first + chunk;
        if last > length {
            last = length;
        }
        let mut rates = Array::<f32>::new(states);
        let mut h = Array::<f32>::new(states);
        let mut product = Array::<f32>::new(states);
        let mut back = Array::<f32>::new(states);
        #[unroll]
        for n in 0..states {
            rates[n] = a[e * states + n];
            h[n] = 0.0f32;
            product[n] = 1.0f32;
            back[n] = 0.0f32;
        }
        let mut total = 0.0f32;
        for t in first..last {
            let token = sequence * length + t;
            let at = token * channels + e;
            let step = softplus(delta[at]);
            let drive = step * u[at];
            let g = y_grad[at];
            total += step;
            #[unroll]
            for n in 0..states {
                let decay = f32::exp(step * rates[n]);
                h[n] = decay * h[n] + drive * b[token * states + n];
                let walked = product[n] * decay;
                product[n] = walked;
                back[n] += walked * (c[token * states + n] * g);
            }
        }
        let rows = comptime![2 * states + 1];
        let base = comptime![states + 1] * channels + place * rows * channels + e;
        #[unroll]
        for n in 0..states {
            carry[base + n * channels] = h[n];
            carry[base + comptime![states + 1 + n] * channels] = back[n];
        }
        carry[base + states * channels] = total;
    }
}

/// Step 3: gradients of every chunk, recomputing its states. One cube per chunk and block of 16 channels, one
/// unit per channel and `per_unit` states (`width` units side by side).
///
/// `out`: gradients of `u` and `delta` `[B, L, E]` each, then of `b` and `c` `[blocks, B, L, N]` each, then of
/// `a` and `d` per chunk `[B, chunks, N + 1, E]`.
#[cube(launch)]
pub(super) fn differentiate_chunks(
    u: &[f32],
    delta: &[f32],
    b: &[f32],
    c: &[f32],
    y_grad: &[f32],
    carry: &[f32],
    out: &mut [f32],
    tokens: usize,
    length: usize,
    channels: usize,
    chunks: usize,
    blocks: usize,
    cubes: usize,
    #[comptime] states: usize,
    #[comptime] width: usize,
    #[comptime] per_unit: usize,
    #[comptime] chunk: usize,
) {
    let units = comptime![width * LANES];
    let mut steps = Shared::<[f32]>::new_slice(comptime![chunk * LANES]);
    let mut inputs = Shared::<[f32]>::new_slice(comptime![chunk * LANES]);
    let mut grads = Shared::<[f32]>::new_slice(comptime![chunk * LANES]);
    let mut to_b = Shared::<[f32]>::new_slice(units);
    let mut to_c = Shared::<[f32]>::new_slice(units);
    let mut to_drive = Shared::<[f32]>::new_slice(units);
    let mut to_decay = Shared::<[f32]>::new_slice(units);

    let cube = CUBE_POS;
    let active = cube < cubes;
    let block = cube % blocks;
    let place = cube / blocks;
    let sequence = place / chunks;
    let first = (place % chunks) * chunk;
    let side = UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let unit = lane * width + side;
    let e = block * comptime![LANES] + lane;
    let own_channel = active && e < channels;
    let rows = comptime![2 * states + 1];
    let base = comptime![states + 1] * channels + place * rows * channels + e;

    // every unit loads part of the chunk; tokens and channels that do not exist are steps of 0
    let mut i = unit;
    while i < comptime![chunk * LANES] {
        let t = first + i / comptime![LANES];
        let channel = block * comptime![LANES] + i % comptime![LANES];
        let mut step = 0.0f32;
        let mut input = 0.0f32;
        let mut grad = 0.0f32;
        if active && t < length && channel < channels {
            let at = (sequence * length + t) * channels + channel;
            step = softplus(delta[at]);
            input = u[at];
            grad = y_grad[at];
        }
        steps[i] = step;
        inputs[i] = input;
        grads[i] = grad;
        i += units;
    }
    sync_cube();

    let mut rates = Array::<f32>::new(per_unit);
    let mut h = Array::<f32>::new(per_unit);
    let mut later = Array::<f32>::new(per_unit);
    let mut rate_grads = Array::<f32>::new(per_unit);
    let mut before = Array::<f32>::new(comptime![per_unit * chunk]);
    #[unroll]
    for j in 0..per_unit {
        let n = side + j * width;
        rates[j] = 0.0f32;
        h[j] = 0.0f32;
        later[j] = 0.0f32;
        rate_grads[j] = 0.0f32;
        if own_channel && n < states {
            rates[j] = carry[n * channels + e];
            h[j] = carry[base + n * channels];
            later[j] = carry[base + (n + comptime![states + 1]) * channels];
        }
    }
    for t in 0..chunk {
        let token = sequence * length + first + t;
        let step = steps[t * comptime![LANES] + lane];
        let drive = step * inputs[t * comptime![LANES] + lane];
        #[unroll]
        for j in 0..per_unit {
            let n = side + j * width;
            before[t * per_unit + j] = h[j];
            if own_channel && n < states && first + t < length {
                h[j] = f32::exp(step * rates[j]) * h[j] + drive * b[token * states + n];
            }
        }
    }
    let b_start = 2 * tokens * channels;
    let c_start = b_start + blocks * tokens * states;
    for i in 0..chunk {
        let t = comptime![chunk - 1] - i;
        let exists = active && first + t < length;
        let token = sequence * length + first + t;
        let step = steps[t * comptime![LANES] + lane];
        let input = inputs[t * comptime![LANES] + lane];
        let g = grads[t * comptime![LANES] + lane];
        let mut sum_drive = 0.0f32;
        let mut sum_decay = 0.0f32;
        #[unroll]
        for j in 0..per_unit {
            let n = side + j * width;
            let mut from_b = 0.0f32;
            let mut from_c = 0.0f32;
            if own_channel && n < states && first + t < length {
                let bn = b[token * states + n];
                let cn = c[token * states + n];
                let state = before[t * per_unit + j];
                let decay = f32::exp(step * rates[j]);
                let grad_h = cn * g + later[j];
                let leaving = decay * grad_h;
                later[j] = leaving;
                let through = leaving * state;
                rate_grads[j] += through * step;
                sum_drive += grad_h * bn;
                sum_decay += through * rates[j];
                from_b = grad_h * (step * input);
                from_c = g * (decay * state + step * input * bn);
            }
            to_b[unit] = from_b;
            to_c[unit] = from_c;
            if comptime![j + 1 == per_unit] {
                to_drive[unit] = sum_drive;
                to_decay[unit] = sum_decay;
            }
            sync_cube();
            let column = unit % width;
            let state = column + j * width;
            if exists && state < states && unit < comptime![2 * width] {
                let mut sum = 0.0f32;
                if unit < width {
                    for l in 0..comptime![LANES] {
                        sum += to_b[l * width + column];
                    }
                    out[b_start + (block * tokens + token) * states + state] = sum;
                } else {
                    for l in 0..comptime![LANES] {
                        sum += to_c[l * width + column];
                    }
                    out[c_start + (block * tokens + token) * states + state] = sum;
                }
            }
            if comptime![j + 1 == per_unit] {
                let channel = block * comptime![LANES] + unit;
                if exists && unit < comptime![LANES] && channel < channels {
                    let mut drive = 0.0f32;
                    let mut decayed = 0.0f32;
                    for s in 0..width {
                        drive += to_drive[unit * width + s];
                        decayed += to_decay[unit * width + s];
                    }
                    let at = token * channels + channel;
                    let skip = carry[states * channels + channel];
                    let own = t * comptime![LANES] + unit;
                    out[at] = steps[own] * drive + skip * grads[own];
                    out[tokens * channels + at] = (inputs[own] * drive + decayed) * sigmoid(delta[at]);
                }
            }
            sync_cube();
        }
    }
    let parameters = c_start + blocks * tokens * states + place * comptime![states + 1] * channels + e;
    if own_channel {
        #[unroll]
        for j in 0..per_unit {
            let n = side + j * width;
            if n < states {
                out[parameters + n * channels] = rate_grads[j];
            }
        }
        if side == 0 {
            let mut sum = 0.0f32;
            for t in 0..chunk {
                sum += grads[t * comptime![LANES] + lane] * inputs[t * comptime![LANES] + lane];
            }
            out[parameters + states * channels] = sum;
        }
    }
}

/// Gradients of `u` and `delta` out of the common buffer, and those of `b` and `c` summed over blocks of channels.
#[cube(launch)]
pub(super) fn gather_tokens(
    out: &[f32],
    u_grad: &mut [f32],
    delta_grad: &mut [f32],
    b_grad: &mut [f32],
    c_grad: &mut [f32],
    by_channels: usize,
    by_states: usize,
    blocks: usize,
) {
    let id = ABSOLUTE_POS;
    if id < by_channels {
        u_grad[id] = out[id];
        delta_grad[id] = out[by_channels + id];
    }
    if id < by_states {
        let b_start = 2 * by_channels;
        let c_start = b_start + blocks * by_states;
        let mut b_sum = 0.0f32;
        let mut c_sum = 0.0f32;
        for block in 0..blocks {
            b_sum += out[b_start + block * by_states + id];
            c_sum += out[c_start + block * by_states + id];
        }
        b_grad[id] = b_sum;
        c_grad[id] = c_sum;
    }
}

/// Gradients of `a` and `d`: sums over `count` rows of `(N + 1) E` values that begin at `start`. A cube takes 16
/// columns and cuts the rows into 16 segments.
#[cube(launch)]
pub(super) fn sum_parameters(
    out: &[f32],
    a_grad: &mut [f32],
    d_grad: &mut [f32],
    start: usize,
    count: usize,
    channels: usize,
    #[comptime] states: usize,
) {
    let mut sums = Shared::<[f32]>::new_slice(comptime![LANES * SEGMENTS]);
    let lane = UNIT_POS_X as usize;
    let segment = UNIT_POS_Y as usize;
    let columns = comptime![states + 1] * channels;
    let column = CUBE_POS * comptime![LANES] + lane;
    let piece = (count + comptime![SEGMENTS - 1]) / comptime![SEGMENTS];
    let from = segment * piece;
    let mut to = from + piece;
    if to > count {
        to = count;
    }
    let mut sum = 0.0f32;
    if column < columns {
        for row in from..to {
            sum += out[start + row * columns + column];
        }
    }
    sums[segment * comptime![LANES] + lane] = sum;
    sync_cube();
    if column < columns && segment == 0 {
        let mut total = 0.0f32;
        for s in 0..comptime![SEGMENTS] {
            total += sums[s * comptime![LANES] + lane];
        }
        let n = column / channels;
        let e = column % channels;
        if n < states {
            a_grad[e * states + n] = total;
        } else {
            d_grad[e] = total;
        }
    }
}
