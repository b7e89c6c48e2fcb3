//! Steps 1 and 3 of the scan, one unit per chunk and channel.
//!
//! The carry buffer: a head of `(N + 1) E` parameters (`a` as `[n][e]`, then `d`), then for every chunk rows of
//! `E` values: `N` states and, last, the sum of the chunk's steps.

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

/// Step 1: the end state of every chunk from 0, and the sum of its steps.
#[cube(launch)]
pub(super) fn summarise_chunks(
    u: &[f32],
    delta: &[f32],
    a: &[f32],
    b: &[f32],
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
        #[unroll]
        for n in 0..states {
            rates[n] = a[e * states + n];
            h[n] = 0.0f32;
        }
        let mut total = 0.0f32;
        for t in first..last {
            let token = sequence * length + t;
            let step = softplus(delta[token * channels + e]);
            let drive = step * u[token * channels + e];
            total += step;
            #[unroll]
            for n in 0..states {
                h[n] = f32::exp(step * rates[n]) * h[n] + drive * b[token * states + n];
            }
        }
        let rows = comptime![states + 1];
        let base = rows * channels + place * rows * channels + e;
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
    delta: &[f32],
    b: &[f32],
    c: &[f32],
    carry: &[f32],
    y: &mut [f32],
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
        let rows = comptime![states + 1];
        let base = rows * channels + place * rows * channels + e;
        let mut rates = Array::<f32>::new(states);
        let mut h = Array::<f32>::new(states);
        #[unroll]
        for n in 0..states {
            rates[n] = carry[n * channels + e];
            h[n] = carry[base + n * channels];
        }
        let skip = carry[states * channels + e];
        for t in first..last {
            let token = sequence * length + t;
            let at = token * channels + e;
            let step = softplus(delta[at]);
            let drive = step * u[at];
            let mut sum = skip * u[at];
            #[unroll]
            for n in 0..states {
                let next = f32::exp(step * rates[n]) * h[n] + drive * b[token * states + n];
                h[n] = next;
                sum += c[token * states + n] * next;
            }
            y[at] = sum;
        }
    }
}
