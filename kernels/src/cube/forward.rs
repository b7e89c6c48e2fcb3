//! Steps 1 and 3 of the scan, one unit per chunk and channel.
//!
//! The carry buffer: a head of parameters, for every set `N + 2 + R` rows of `E` values (the rates −exp(a_log), `d`, the
//! bias and the columns of the weight that give the steps), then for every chunk rows of `E` values: `N` states and, last,
//! the sum of the chunk's steps.

use cubecl::prelude::*;

/// `ln(1 + eˣ)`, accurate for small results too: `ln(1 + t) = 2 artanh(t / (2 + t))` with `t = exp(−|x|)`.
#[cube]
pub(super) fn softplus(x: f32) -> f32 {
    let t = f32::exp(-f32::abs(x));
    let s = t / (t + 2.0f32);
    let q = s * s;
    let mut p = 0.117_647_06f32;
    p = p * q + 0.133_333_34f32;
    p = p * q + 0.153_846_15f32;
    p = p * q + 0.181_818_18f32;
    p = p * q + 0.222_222_22f32;
    p = p * q + 0.285_714_3f32;
    p = p * q + 0.4f32;
    p = p * q + 0.666_666_7f32;
    p = p * q + 2.0f32;
    let mut result = p * s;
    if x > 0.0f32 {
        result += x;
    }
    result
}

/// `1 / (1 + e⁻ˣ)` without overflow.
#[cube]
pub(crate) fn sigmoid(x: f32) -> f32 {
    let t = f32::exp(-f32::abs(x));
    let mut top = 1.0f32;
    if x < 0.0f32 {
        top = t;
    }
    top / (t + 1.0f32)
}

/// `1 − e⁻ˢ`: the logistic function of x out of `s = softplus(x)`; a polynomial where the difference would lose digits.
#[cube]
pub(super) fn sigmoid_of_softplus(s: f32) -> f32 {
    let mut result = 1.0f32 - f32::exp(-s);
    if s < 0.5f32 {
        let mut p = 1.0f32 - s * 0.125f32;
        p = 1.0f32 - s * 0.142_857_15f32 * p;
        p = 1.0f32 - s * 0.166_666_67f32 * p;
        p = 1.0f32 - s * 0.2f32 * p;
        p = 1.0f32 - s * 0.25f32 * p;
        p = 1.0f32 - s * 0.333_333_34f32 * p;
        p = 1.0f32 - s * 0.5f32 * p;
        result = s * p;
    }
    result
}

/// A token's step Δ: softplus of the bias and the weights times the first R columns of its row, which starts at `from`.
#[cube]
pub(super) fn step_of(
    projected: &[f32],
    from: usize,
    weights: &Array<f32>,
    bias: f32,
    #[comptime] rank: usize,
) -> f32 {
    let mut raw = bias;
    #[unroll]
    for r in 0..rank {
        raw += weights[r] * projected[from + r];
    }
    softplus(raw)
}

/// Step 1: the end state of every chunk from 0, and the sum of its steps. `row` is the distance between the rows of two
/// tokens in `projected`, `per_group` the sequences of a set of parameters.
#[cube(launch)]
pub(super) fn summarise_chunks(
    u: &[f32],
    projected: &[f32],
    step_weight: &[f32],
    step_bias: &[f32],
    a_log: &[f32],
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
        #[unroll]
        for n in 0..states {
            rates[n] = -f32::exp(a_log[parameter * states + n]);
            h[n] = 0.0f32;
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
            let from = token * row;
            let step = step_of(projected, from, &weights, bias, rank);
            let drive = step * u[token * channels + e];
            total += step;
            #[unroll]
            for n in 0..states {
                h[n] = f32::exp(step * rates[n]) * h[n] + drive * projected[from + rank + n];
            }
        }
        let rows = comptime![states + 1];
        let base = comptime![states + 2 + rank] * groups * channels + place * rows * channels + e;
        #[unroll]
        for n in 0..states {
            carry[base + n * channels] = h[n];
        }
        carry[base + states * channels] = total;
    }
}

/// Step 3: `y` of every chunk from the state at its start.
#[cube(launch)]
pub(super) fn apply_chunks(
    u: &[f32],
    projected: &[f32],
    carry: &[f32],
    y: &mut [f32],
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
        let first = (place % chunks) * chunk;
        let mut last = first + chunk;
        if last > length {
            last = length;
        }
        let head_rows = comptime![states + 2 + rank];
        let head = sequence / per_group * head_rows * channels + e;
        let rows = comptime![states + 1];
        let base = head_rows * groups * channels + place * rows * channels + e;
        let mut rates = Array::<f32>::new(states);
        let mut h = Array::<f32>::new(states);
        #[unroll]
        for n in 0..states {
            rates[n] = carry[head + n * channels];
            h[n] = carry[base + n * channels];
        }
        let skip = carry[head + states * channels];
        let bias = carry[head + comptime![states + 1] * channels];
        let mut weights = Array::<f32>::new(rank);
        #[unroll]
        for r in 0..rank {
            weights[r] = carry[head + (comptime![states + 2] + r) * channels];
        }
        for t in first..last {
            let token = sequence * length + t;
            let at = token * channels + e;
            let from = token * row;
            let step = step_of(projected, from, &weights, bias, rank);
            let drive = step * u[at];
            let mut sum = skip * u[at];
            #[unroll]
            for n in 0..states {
                let next = f32::exp(step * rates[n]) * h[n] + drive * projected[from + rank + n];
                h[n] = next;
                sum += projected[from + comptime![rank + states] + n] * next;
            }
            y[at] = sum;
        }
    }
}
