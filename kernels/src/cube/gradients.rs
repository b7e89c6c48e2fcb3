//! The backward pass; see [`reference`](crate::reference) for the mathematics.

use cubecl::prelude::*;

use super::forward::{sigmoid_of_softplus, softplus, step_of};
use super::{LANES, SEGMENTS, STRETCH};

/// Step 1 in both directions: rows of a chunk `[N end states, ΣΔ, N gradients that leave its start]`.
///
/// The gradient leaving the start is `Σ_t (a_first ⋯ a_t) C_t ḡ_t`, so walking forwards serves both.
#[cube(launch)]
pub(super) fn summarise_both_ways(
    u: &[f32],
    projected: &[f32],
    step_weight: &[f32],
    step_bias: &[f32],
    a_log: &[f32],
    y_grad: &[f32],
    carry: &mut [f32],
    length: usize,
    channels: usize,
    row: usize,
    per_group: usize,
    groups: usize,
    chunks: usize,
    chunk: usize,
    items: usize,
    #[comptime] states: usize,
    #[comptime] rank: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let e = id % channels;
        let place = id / channels;
        let sequence = place / chunks;
        let parameter = sequence / per_group * channels + e;
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
            rates[n] = -f32::exp(a_log[parameter * states + n]);
            h[n] = 0.0f32;
            product[n] = 1.0f32;
            back[n] = 0.0f32;
        }
        let mut weights = Array::<f32>::new(rank);
        #[unroll]
        for r in 0..rank {
            weights[r] = step_weight[parameter * rank + r];
        }
        let bias = step_bias[parameter];
        let mut total = 0.0f32;
        for t in first..last {
            let token = sequence * length + t;
            let at = token * channels + e;
            let from = token * row;
            let step = step_of(projected, from, &weights, bias, rank);
            let drive = step * u[at];
            let g = y_grad[at];
            total += step;
            #[unroll]
            for n in 0..states {
                let decay = f32::exp(step * rates[n]);
                h[n] = decay * h[n] + drive * projected[from + rank + n];
                let walked = product[n] * decay;
                product[n] = walked;
                back[n] += walked * (projected[from + comptime![rank + states] + n] * g);
            }
        }
        let rows = comptime![2 * states + 1];
        let base = comptime![states + 2 + rank] * groups * channels + place * rows * channels + e;
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
/// Going back, the states and decays of [`STRETCH`] tokens are in registers, computed again from the state before them.
///
/// `u_grad` `[B, L, E]`. `out`: gradients of the steps before softplus `[B, L, E]`, then of `B` and `C` `[blocks, B, L, N]`
/// each, then per chunk rows of `E` values, those of the parameters: `N` of the rates, `d`, the steps' bias and the `R`
/// columns of their weight.
#[cube(launch)]
pub(super) fn differentiate_chunks(
    u: &[f32],
    projected: &[f32],
    y_grad: &[f32],
    carry: &[f32],
    u_grad: &mut [f32],
    out: &mut [f32],
    tokens: usize,
    length: usize,
    channels: usize,
    row: usize,
    per_group: usize,
    groups: usize,
    chunks: usize,
    blocks: usize,
    cubes: usize,
    #[comptime] states: usize,
    #[comptime] rank: usize,
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
    let head_rows = comptime![states + 2 + rank];
    let head = sequence / per_group * head_rows * channels;
    let rows = comptime![2 * states + 1];
    let base = head_rows * groups * channels + place * rows * channels + e;

    // every unit loads part of the chunk; tokens and channels that do not exist are steps of 0
    let mut i = unit;
    while i < comptime![chunk * LANES] {
        let t = first + i / comptime![LANES];
        let channel = block * comptime![LANES] + i % comptime![LANES];
        let mut step = 0.0f32;
        let mut input = 0.0f32;
        let mut grad = 0.0f32;
        if active && t < length && channel < channels {
            let token = sequence * length + t;
            let mut raw = carry[head + comptime![states + 1] * channels + channel];
            for r in 0..rank {
                let weight = carry[head + (comptime![states + 2] + r) * channels + channel];
                raw += weight * projected[token * row + r];
            }
            step = softplus(raw);
            input = u[token * channels + channel];
            grad = y_grad[token * channels + channel];
        }
        steps[i] = step;
        inputs[i] = input;
        grads[i] = grad;
        i += units;
    }
    sync_cube();

    let stretches = comptime![chunk / STRETCH];
    let mut rates = Array::<f32>::new(per_unit);
    let mut h = Array::<f32>::new(per_unit);
    let mut later = Array::<f32>::new(per_unit);
    let mut rate_grads = Array::<f32>::new(per_unit);
    let mut starts = Array::<f32>::new(comptime![per_unit * chunk / STRETCH]);
    let mut before = Array::<f32>::new(comptime![per_unit * STRETCH]);
    let mut decays = Array::<f32>::new(comptime![per_unit * STRETCH]);
    #[unroll]
    for j in 0..per_unit {
        let n = side + j * width;
        rates[j] = 0.0f32;
        h[j] = 0.0f32;
        later[j] = 0.0f32;
        rate_grads[j] = 0.0f32;
        if own_channel && n < states {
            rates[j] = carry[head + n * channels + e];
            h[j] = carry[base + n * channels];
            later[j] = carry[base + (n + comptime![states + 1]) * channels];
        }
        starts[j] = h[j];
    }
    for stretch in 1..stretches {
        #[unroll]
        for i in 0..STRETCH {
            let t = (stretch - 1) * comptime![STRETCH] + i;
            let from = (sequence * length + first + t) * row;
            let step = steps[t * comptime![LANES] + lane];
            let drive = step * inputs[t * comptime![LANES] + lane];
            #[unroll]
            for j in 0..per_unit {
                let n = side + j * width;
                if own_channel && n < states && first + t < length {
                    h[j] = f32::exp(step * rates[j]) * h[j] + drive * projected[from + rank + n];
                }
            }
        }
        #[unroll]
        for j in 0..per_unit {
            starts[stretch * per_unit + j] = h[j];
        }
    }
    let mut bias_grad = 0.0f32;
    let mut weight_grads = Array::<f32>::new(rank);
    #[unroll]
    for r in 0..rank {
        weight_grads[r] = 0.0f32;
    }
    let b_start = tokens * channels;
    let c_start = b_start + blocks * tokens * states;
    for back in 0..stretches {
        let stretch = comptime![chunk / STRETCH - 1] - back;
        #[unroll]
        for j in 0..per_unit {
            h[j] = starts[stretch * per_unit + j];
        }
        #[unroll]
        for i in 0..STRETCH {
            let t = stretch * comptime![STRETCH] + i;
            let from = (sequence * length + first + t) * row;
            let step = steps[t * comptime![LANES] + lane];
            let drive = step * inputs[t * comptime![LANES] + lane];
            #[unroll]
            for j in 0..per_unit {
                let n = side + j * width;
                let at = comptime![i * per_unit + j];
                let decay = f32::exp(step * rates[j]);
                before[at] = h[j];
                decays[at] = decay;
                if own_channel && n < states && first + t < length {
                    h[j] = decay * h[j] + drive * projected[from + rank + n];
                }
            }
        }
        #[unroll]
        for i in 0..STRETCH {
            let own_token = comptime![STRETCH - 1 - i];
            let t = stretch * comptime![STRETCH] + own_token;
            let exists = active && first + t < length;
            let token = sequence * length + first + t;
            let from = token * row;
            let step = steps[t * comptime![LANES] + lane];
            let input = inputs[t * comptime![LANES] + lane];
            let g = grads[t * comptime![LANES] + lane];
            let mut sum_drive = 0.0f32;
            let mut sum_decay = 0.0f32;
            #[unroll]
            for j in 0..per_unit {
                let n = side + j * width;
                let at = comptime![own_token * per_unit + j];
                let mut from_b = 0.0f32;
                let mut from_c = 0.0f32;
                if own_channel && n < states && first + t < length {
                    let bn = projected[from + rank + n];
                    let cn = projected[from + comptime![rank + states] + n];
                    let state = before[at];
                    let decay = decays[at];
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
                        let skip = carry[head + states * channels + channel];
                        let own = t * comptime![LANES] + unit;
                        u_grad[at] = steps[own] * drive + skip * grads[own];
                        let raw_grad = (inputs[own] * drive + decayed) * sigmoid_of_softplus(steps[own]);
                        out[at] = raw_grad;
                        bias_grad += raw_grad;
                        #[unroll]
                        for r in 0..rank {
                            weight_grads[r] += raw_grad * projected[from + r];
                        }
                    }
                }
                sync_cube();
            }
        }
    }
    let parameters = c_start + blocks * tokens * states + place * head_rows * channels;
    if own_channel {
        #[unroll]
        for j in 0..per_unit {
            let n = side + j * width;
            if n < states {
                out[parameters + n * channels + e] = rate_grads[j];
            }
        }
        if side == 0 {
            let mut sum = 0.0f32;
            for t in 0..chunk {
                sum += grads[t * comptime![LANES] + lane] * inputs[t * comptime![LANES] + lane];
            }
            out[parameters + states * channels + e] = sum;
        }
    }
    let channel = block * comptime![LANES] + unit;
    if active && unit < comptime![LANES] && channel < channels {
        out[parameters + comptime![states + 1] * channels + channel] = bias_grad;
        #[unroll]
        for r in 0..rank {
            out[parameters + (comptime![states + 2] + r) * channels + channel] = weight_grads[r];
        }
    }
}

/// Gradients of `projected` `[B, L, R + 2N]`: those of δ through the map of the steps, those of `B` and `C` summed over
/// blocks of channels. `by_tokens` is the tokens of a set of parameters.
#[cube(launch)]
pub(super) fn gather_columns(
    out: &[f32],
    step_weight: &[f32],
    projected_grad: &mut [f32],
    tokens: usize,
    by_tokens: usize,
    channels: usize,
    blocks: usize,
    states: usize,
    rank: usize,
) {
    let id = ABSOLUTE_POS;
    let width = rank + 2 * states;
    let token = id / width;
    let column = id % width;
    if token < tokens {
        let mut sum = 0.0f32;
        if column < rank {
            let weights = token / by_tokens * channels * rank + column;
            for e in 0..channels {
                sum += out[token * channels + e] * step_weight[weights + e * rank];
            }
        } else {
            let of_c = (column - rank) / states;
            let n = (column - rank) % states;
            let start = tokens * channels + of_c * blocks * tokens * states;
            for block in 0..blocks {
                sum += out[start + (block * tokens + token) * states + n];
            }
        }
        projected_grad[id] = sum;
    }
}

/// Gradients of the parameters: sums over `count` rows for each set of `(N + 2 + R) E` values that begin at `start`. A cube
/// takes 16 columns and cuts the rows into 16 segments.
#[cube(launch)]
pub(super) fn sum_parameters(
    out: &[f32],
    a_log: &[f32],
    step_weight_grad: &mut [f32],
    step_bias_grad: &mut [f32],
    a_log_grad: &mut [f32],
    d_grad: &mut [f32],
    start: usize,
    count: usize,
    groups: usize,
    channels: usize,
    states: usize,
    rank: usize,
) {
    let mut sums = Shared::<[f32]>::new_slice(comptime![LANES * SEGMENTS]);
    let lane = UNIT_POS_X as usize;
    let segment = UNIT_POS_Y as usize;
    let columns = (states + 2 + rank) * channels;
    let place = CUBE_POS * comptime![LANES] + lane;
    let column = place % columns;
    let group = place / columns;
    let piece = (count + comptime![SEGMENTS - 1]) / comptime![SEGMENTS];
    let from = segment * piece;
    let mut to = from + piece;
    if to > count {
        to = count;
    }
    let mut sum = 0.0f32;
    if group < groups {
        for row in from..to {
            sum += out[start + (group * count + row) * columns + column];
        }
    }
    sums[segment * comptime![LANES] + lane] = sum;
    sync_cube();
    if group < groups && segment == 0 {
        let mut total = 0.0f32;
        for s in 0..comptime![SEGMENTS] {
            total += sums[s * comptime![LANES] + lane];
        }
        let n = column / channels;
        let parameter = group * channels + column % channels;
        if n < states {
            a_log_grad[parameter * states + n] = total * -f32::exp(a_log[parameter * states + n]);
        } else if n == states {
            d_grad[parameter] = total;
        } else if n == states + 1 {
            step_bias_grad[parameter] = total;
        } else {
            step_weight_grad[parameter * rank + n - states - 2] = total;
        }
    }
}
