//! CPU twin of the gated sum: tokens in raster order, 16 channels at a time.

use super::GateGradients;
use crate::ScanOrder;
use crate::cpu::lanes::{load, store};
use crate::cpu::math::{multiply_add, sigmoid_with};
use crate::cpu::output::filled;
use crate::cpu::simd::{Level, for_every_level};
use crate::cpu::tasks::{PIECE, map_over};
use crate::cpu::{LANES, Lanes};

/// The inputs as contiguous slices of `[B, L, E]`, see [`gated_direction_sum`](crate::gated_direction_sum()).
#[derive(Clone, Copy, Debug)]
pub struct GateSlices<'a> {
    /// Tokens L of a sequence.
    pub length: usize,
    /// Channels E.
    pub channels: usize,
    /// Slices of the inter-slice direction.
    pub slices: usize,
    /// y of the forward direction, raster order
    pub forward: &'a [f32],
    /// y of the backward direction, reversed order
    pub backward: &'a [f32],
    /// y of the inter-slice direction, inter-slice order
    pub slice: &'a [f32],
    /// the gate's argument, raster order
    pub z: &'a [f32],
}

impl<'a> GateSlices<'a> {
    /// Tokens that one thread takes at a time.
    fn tokens_per_piece(&self) -> usize {
        (PIECE / self.channels).max(1)
    }

    /// The rows of a token of the batch in the three directions.
    #[inline(always)]
    fn directions(&self, token: usize) -> [&'a [f32]; 3] {
        let (sequence, token) = (token / self.length, token % self.length);
        let orders = [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices: self.slices }];
        let sources = [self.forward, self.backward, self.slice];
        core::array::from_fn(|i| {
            let row = sequence * self.length + orders[i].position(token, self.length);
            &sources[i][row * self.channels..][..self.channels]
        })
    }
}

/// m of 16 channels.
#[inline(always)]
fn sum([forward, backward, slice]: [&[f32]; 3], at: usize) -> Lanes {
    let (mut sum, backward, slice) = (load(forward, at), load(backward, at), load(slice, at));
    for i in 0..LANES {
        sum[i] = sum[i] + backward[i] + slice[i];
    }
    sum
}

/// The gated sum `[B, L, E]`, on all threads.
pub fn forward(inputs: &GateSlices) -> Vec<f32> {
    let level = Level::detect();
    filled(inputs.z.len(), inputs.tokens_per_piece() * inputs.channels, |first, piece| {
        gate(level, inputs, first / inputs.channels, piece);
    })
}

for_every_level! {
    /// The tokens from `first` on.
    fn gate = gate_body(inputs: &GateSlices, first: usize, out: &mut [f32])
}

#[inline(always)]
fn gate_body<const FUSED: bool>(inputs: &GateSlices, first: usize, out: &mut [f32]) {
    let channels = inputs.channels;
    let gates = inputs.z[first * channels..].chunks_exact(channels);
    for ((row, out), z) in out.chunks_exact_mut(channels).enumerate().zip(gates) {
        let directions = inputs.directions(first + row);
        for at in (0..channels).step_by(LANES) {
            let (mut value, z) = (sum(directions, at), load(z, at));
            for i in 0..LANES {
                value[i] *= z[i] * sigmoid_with::<FUSED>(z[i]);
            }
            store(out, at, &value);
        }
    }
}

/// Gradients of `Σ out ⊙ out_grad`, on all threads; `out_grad` is `[B, L, E]` in raster order.
pub fn gradients(inputs: &GateSlices, out_grad: &[f32]) -> GateGradients<Vec<f32>> {
    let level = Level::detect();
    let size = inputs.z.len();
    let (mut forward, mut z) = (vec![0.0; size], vec![0.0; size]);
    let tokens = inputs.tokens_per_piece();
    let piece = tokens * inputs.channels;
    let pieces = forward.chunks_mut(piece).zip(z.chunks_mut(piece)).enumerate().collect();
    map_over(pieces, |(i, (forward, z))| differentiate(level, inputs, out_grad, i * tokens, forward, z));
    let visited = |order| visit(inputs, &forward, order);
    let backward = visited(ScanOrder::Backward);
    let slice = visited(ScanOrder::InterSlice { slices: inputs.slices });
    GateGradients { forward, backward, slice, z }
}

for_every_level! {
    /// ∂y of the forward direction and ∂z of the tokens from `first` on.
    fn differentiate = differentiate_body(
        inputs: &GateSlices, out_grad: &[f32], first: usize, forward: &mut [f32], z_grad: &mut [f32],
    )
}

#[inline(always)]
fn differentiate_body<const FUSED: bool>(
    inputs: &GateSlices,
    out_grad: &[f32],
    first: usize,
    forward: &mut [f32],
    z_grad: &mut [f32],
) {
    let channels = inputs.channels;
    let given = inputs.z[first * channels..]
        .chunks_exact(channels)
        .zip(out_grad[first * channels..].chunks_exact(channels));
    let found = forward.chunks_exact_mut(channels).zip(z_grad.chunks_exact_mut(channels));
    for ((row, (forward, z_grad)), (z, out_grad)) in found.enumerate().zip(given) {
        let directions = inputs.directions(first + row);
        for at in (0..channels).step_by(LANES) {
            let (sum, z, grad) = (sum(directions, at), load(z, at), load(out_grad, at));
            let (mut through, mut change) = ([0.0; LANES], [0.0; LANES]);
            for i in 0..LANES {
                let s = sigmoid_with::<FUSED>(z[i]);
                through[i] = grad[i] * (z[i] * s);
                change[i] = grad[i] * sum[i] * (s * multiply_add::<FUSED>(z[i], 1.0 - s, 1.0));
            }
            store(forward, at, &through);
            store(z_grad, at, &change);
        }
    }
}

/// Rows of `[B, L, E]` in visiting order.
fn visit(inputs: &GateSlices, rows: &[f32], order: ScanOrder) -> Vec<f32> {
    let GateSlices { length, channels, .. } = *inputs;
    filled(rows.len(), inputs.tokens_per_piece() * channels, |first, piece| {
        for (row, out) in piece.chunks_exact_mut(channels).enumerate() {
            let row = first / channels + row;
            let from = row / length * length + order.token(row % length, length);
            out.copy_from_slice(&rows[from * channels..][..channels]);
        }
    })
}
