//! CPU twin of the causal convolution: positions in visiting order, 16 channels at a time.
//!
//! Backward, a thread takes a stretch of positions whose tokens are one run in every slice, keeps its q_t (and
//! those of K − 1 positions more) at hand and writes ∂x where the tokens lie. Parameters are summed in f32 over a
//! stretch and in f64 over stretches, in an order that depends on the sizes alone.

use core::ops::Range;

use super::CausalConvGradients;
use crate::ScanOrder;
use crate::cpu::lanes::{load, store};
use crate::cpu::math::{multiply_add, sigmoid_with};
use crate::cpu::output::filled;
use crate::cpu::simd::{Level, for_every_level};
use crate::cpu::tasks::{PIECE, map_over};
use crate::cpu::{LANES, Lanes};

/// Taps of published networks; loops over them are unrolled.
const USUAL: usize = 4;

/// A convolution's inputs as contiguous slices, see [`causal_conv_silu`](crate::causal_conv_silu()).
#[derive(Clone, Copy, Debug)]
pub struct ConvSlices<'a> {
    /// Tokens L of a sequence.
    pub length: usize,
    /// Channels E.
    pub channels: usize,
    /// Taps K.
    pub taps: usize,
    /// The order in which tokens are visited.
    pub order: ScanOrder,
    /// `[B, L, E]`, raster order
    pub x: &'a [f32],
    /// `[E, K]`
    pub weight: &'a [f32],
    /// `[E]`
    pub bias: &'a [f32],
}

/// Inputs as the loops read them.
#[derive(Clone, Copy)]
struct Rows<'a> {
    inputs: &'a ConvSlices<'a>,
    /// `[K, E]`
    weight: &'a [f32],
    /// `[E]`, what comes before the start
    zeros: &'a [f32],
}

impl<'a> Rows<'a> {
    /// Channels of the token visited at a position, zeros before the start.
    #[inline(always)]
    fn token(&self, sequence: usize, position: Option<usize>) -> &'a [f32] {
        let ConvSlices { length, channels, order, x, .. } = *self.inputs;
        match position {
            Some(position) => {
                &x[(sequence * length + order.token(position, length)) * channels..][..channels]
            }
            None => self.zeros,
        }
    }

    /// Slides the tokens seen from one position to the next; fills them at the start of a stretch.
    #[inline(always)]
    fn slide(&self, window: &mut Vec<&'a [f32]>, sequence: usize, position: usize, fresh: bool) {
        let taps = self.inputs.taps;
        if fresh {
            window.clear();
            window.extend((0..taps).map(|k| self.token(sequence, (position + k + 1).checked_sub(taps))));
        } else {
            window.rotate_left(1);
            window[taps - 1] = self.token(sequence, Some(position));
        }
    }

    /// a_t of 16 channels from `at` on.
    #[inline(always)]
    fn before_silu<const FUSED: bool>(&self, window: &[&[f32]], at: usize) -> Lanes {
        let mut sum = load(self.inputs.bias, at);
        for (tokens, weight) in window.iter().zip(self.weight.chunks_exact(self.inputs.channels)) {
            let (tokens, weight) = (load(tokens, at), load(weight, at));
            for i in 0..LANES {
                sum[i] = multiply_add::<FUSED>(tokens[i], weight[i], sum[i]);
            }
        }
        sum
    }
}

/// `weight [E, K]` as `[K, E]`.
fn by_tap(inputs: &ConvSlices) -> Vec<f32> {
    let taps = 0..inputs.taps;
    taps.flat_map(|k| inputs.weight.chunks_exact(inputs.taps).map(move |taps| taps[k])).collect()
}

/// v `[B, L, E]` in visiting order, on all threads.
pub fn forward(inputs: &ConvSlices) -> Vec<f32> {
    if inputs.x.is_empty() {
        return Vec::new();
    }
    let (level, weight, zeros) = (Level::detect(), by_tap(inputs), vec![0.0; inputs.channels]);
    let rows = Rows { inputs, weight: &weight, zeros: &zeros };
    let per_piece = (PIECE / inputs.channels).max(1);
    filled(inputs.x.len(), per_piece * inputs.channels, |first, piece| {
        convolve(level, rows, first / inputs.channels, piece);
    })
}

for_every_level! {
    /// v of the rows from `first` on.
    fn convolve = convolve_body(rows: Rows, first: usize, v: &mut [f32])
}

#[inline(always)]
fn convolve_body<const FUSED: bool>(rows: Rows, first: usize, v: &mut [f32]) {
    match rows.inputs.taps {
        USUAL => convolve_taps::<FUSED>(rows, USUAL, first, v),
        taps => convolve_taps::<FUSED>(rows, taps, first, v),
    }
}

#[inline(always)]
fn convolve_taps<const FUSED: bool>(rows: Rows, taps: usize, first: usize, v: &mut [f32]) {
    let ConvSlices { length, channels, .. } = *rows.inputs;
    let mut window = Vec::with_capacity(taps);
    for (row, v) in v.chunks_exact_mut(channels).enumerate() {
        let (sequence, position) = ((first + row) / length, (first + row) % length);
        rows.slide(&mut window, sequence, position, row == 0 || position == 0);
        for at in (0..channels).step_by(LANES) {
            let mut value = rows.before_silu::<FUSED>(&window[..taps], at);
            for value in &mut value {
                *value *= sigmoid_with::<FUSED>(*value);
            }
            store(v, at, &value);
        }
    }
}

/// A stretch of positions of one sequence and the places of its tokens' gradients.
struct Stretch<'a> {
    sequence: usize,
    positions: Range<usize>,
    /// First of its tokens in every slice.
    first: usize,
    /// For every slice, the rows of its tokens.
    x_grad: Vec<&'a mut [f32]>,
}

/// Cuts `x_grad [B, L, E]` into stretches.
fn stretches<'a>(inputs: &ConvSlices, x_grad: &'a mut [f32]) -> Vec<Stretch<'a>> {
    let ConvSlices { length, channels, order, .. } = *inputs;
    let slices = order.slices();
    let plane = length / slices;
    let tokens = (PIECE / channels / slices).clamp(1, plane);
    let mut found = Vec::new();
    for (sequence, x_grad) in x_grad.chunks_exact_mut(length * channels).enumerate() {
        let start = found.len();
        for first in (0..plane).step_by(tokens) {
            let last = (first + tokens).min(plane);
            let positions = match order {
                ScanOrder::Backward => length - last..length - first,
                _ => first * slices..last * slices,
            };
            found.push(Stretch { sequence, positions, first, x_grad: Vec::with_capacity(slices) });
        }
        for slice in x_grad.chunks_exact_mut(plane * channels) {
            for (rows, stretch) in slice.chunks_mut(tokens * channels).zip(&mut found[start..]) {
                stretch.x_grad.push(rows);
            }
        }
    }
    found
}

/// Gradients of `Σ v ⊙ v_grad`, on all threads; `v_grad` is `[B, L, E]` in visiting order.
pub fn gradients(inputs: &ConvSlices, v_grad: &[f32]) -> CausalConvGradients<Vec<f32>> {
    let ConvSlices { channels, taps, .. } = *inputs;
    let mut x = vec![0.0; inputs.x.len()];
    let mut weight = vec![0.0; channels * taps];
    let mut bias = vec![0.0; channels];
    if x.is_empty() {
        return CausalConvGradients { x, weight, bias };
    }
    let (level, by_tap, zeros) = (Level::detect(), by_tap(inputs), vec![0.0; channels]);
    let rows = Rows { inputs, weight: &by_tap, zeros: &zeros };
    let parts = map_over(stretches(inputs, &mut x), |stretch| differentiate(level, rows, v_grad, stretch));
    let total = |row: usize, e: usize| {
        parts.iter().map(|part| f64::from(part[row * channels + e])).sum::<f64>() as f32
    };
    for e in 0..channels {
        bias[e] = total(taps, e);
        for k in 0..taps {
            weight[e * taps + k] = total(k, e);
        }
    }
    CausalConvGradients { x, weight, bias }
}

for_every_level! {
    /// Writes ∂x of a stretch and returns what it contributes to the parameters, `[K + 1, E]`, the bias last.
    fn differentiate = differentiate_body(rows: Rows, v_grad: &[f32], stretch: Stretch) -> Vec<f32>
}

#[inline(always)]
fn differentiate_body<const FUSED: bool>(rows: Rows, v_grad: &[f32], stretch: Stretch) -> Vec<f32> {
    match rows.inputs.taps {
        USUAL => differentiate_taps::<FUSED>(rows, USUAL, v_grad, stretch),
        taps => differentiate_taps::<FUSED>(rows, taps, v_grad, stretch),
    }
}

#[inline(always)]
fn differentiate_taps<const FUSED: bool>(
    rows: Rows,
    taps: usize,
    v_grad: &[f32],
    mut stretch: Stretch,
) -> Vec<f32> {
    let ConvSlices { length, channels, order, .. } = *rows.inputs;
    let Range { start, end } = stretch.positions;
    let mut sums = vec![0.0; (taps + 1) * channels];
    let until = (end + taps - 1).min(length);
    let mut q = vec![0.0; (until - start) * channels];
    let mut window = Vec::with_capacity(taps);
    for (position, q) in (start..until).zip(q.chunks_exact_mut(channels)) {
        rows.slide(&mut window, stretch.sequence, position, position == start);
        let v_grad = &v_grad[(stretch.sequence * length + position) * channels..][..channels];
        for at in (0..channels).step_by(LANES) {
            let value = rows.before_silu::<FUSED>(&window[..taps], at);
            let grad = load(v_grad, at);
            let mut change = [0.0; LANES];
            for i in 0..LANES {
                let s = sigmoid_with::<FUSED>(value[i]);
                change[i] = grad[i] * (s * multiply_add::<FUSED>(value[i], 1.0 - s, 1.0));
            }
            store(q, at, &change);
            if position < end {
                for (tokens, sums) in window[..taps].iter().zip(sums.chunks_exact_mut(channels)) {
                    let (tokens, mut sum) = (load(tokens, at), load(sums, at));
                    for i in 0..LANES {
                        sum[i] = multiply_add::<FUSED>(tokens[i], change[i], sum[i]);
                    }
                    store(sums, at, &sum);
                }
                let bias = &mut sums[taps * channels..];
                let mut sum = load(bias, at);
                for i in 0..LANES {
                    sum[i] += change[i];
                }
                store(bias, at, &sum);
            }
        }
    }
    let plane = length / order.slices();
    for position in start..end {
        let token = order.token(position, length);
        let place = (token % plane - stretch.first) * channels;
        let x_grad = &mut stretch.x_grad[token / plane][place..place + channels];
        let seen_by = q[(position - start) * channels..].chunks_exact(channels).take(taps);
        for at in (0..channels).step_by(LANES) {
            let mut sum = [0.0; LANES];
            // tap K − 1 of the position itself, tap K − 2 of the next, …
            for (q, weight) in seen_by.clone().zip(rows.weight.chunks_exact(channels).rev()) {
                let (q, weight) = (load(q, at), load(weight, at));
                for i in 0..LANES {
                    sum[i] = multiply_add::<FUSED>(q[i], weight[i], sum[i]);
                }
            }
            store(x_grad, at, &sum);
        }
    }
    sums
}
