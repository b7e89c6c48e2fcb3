//! CPU twin of layer normalisation: tiles of 32 tokens, copied so that a channel's 32 values lie together.
//!
//! A tile is read once; statistics, result and transposition work on the copy, which stays in the cache. Gradients
//! of weight and bias are summed in f32 over a stretch of tokens and in f64 over stretches, in an order that depends
//! on the sizes alone.

use super::{EPSILON, LayerNormGradients};
use crate::cpu::math::multiply_add;
use crate::cpu::output::filled_by_block;
use crate::cpu::simd::{Level, for_every_level};
use crate::cpu::tasks::{PIECE, map_over};

/// Tokens of a tile.
const TOKENS: usize = 32;

/// One value per token of a tile.
type Tile = [f32; TOKENS];

/// Tokens that one thread takes at a time, a multiple of [`TOKENS`].
fn tokens_per_stretch(channels: usize) -> usize {
    (PIECE / channels).max(1).next_multiple_of(TOKENS)
}

/// y `[B, L, C]` of `x [B, C, L]` with `length` L, on all threads.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], length: usize) -> Vec<f32> {
    let (level, channels) = (Level::detect(), weight.len());
    let volume = channels * length;
    filled_by_block(x.len(), volume, tokens_per_stretch(channels) * channels, |first, y| {
        let start = first / volume * volume;
        normalise(level, &x[start..][..volume], weight, bias, (first - start) / channels, y);
    })
}

/// Copies the tokens from `first` on of `x [C, L]`, at most 32, further ones 0.
#[inline(always)]
fn read(x: &[f32], length: usize, first: usize, tile: &mut [Tile]) {
    for (row, tile) in x.chunks_exact(length).zip(tile) {
        let row = &row[first..];
        if let Some(whole) = row.first_chunk::<TOKENS>() {
            *tile = *whole;
        } else {
            *tile = [0.0; TOKENS];
            tile[..row.len()].copy_from_slice(row);
        }
    }
}

/// Writes the tokens of a tile, as many as `y [tokens, C]` has.
#[inline(always)]
fn write(tile: &[Tile], y: &mut [f32]) {
    let channels = tile.len();
    let (blocks, rest) = tile.as_chunks::<8>();
    for (t, y) in y.chunks_exact_mut(channels).enumerate().take(TOKENS) {
        let (y_blocks, y_rest) = y.as_chunks_mut::<8>();
        for (y, block) in y_blocks.iter_mut().zip(blocks) {
            for (y, x) in y.iter_mut().zip(block) {
                *y = x[t];
            }
        }
        for (y, x) in y_rest.iter_mut().zip(rest) {
            *y = x[t];
        }
    }
}

/// Turns x of a tile into x̂ and returns r.
#[inline(always)]
fn standardise<const FUSED: bool>(tile: &mut [Tile]) -> Tile {
    let origin = tile.first().copied().unwrap_or([0.0; TOKENS]);
    let share = 1.0 / tile.len() as f32;
    let (mut mean, mut variance) = ([0.0; TOKENS], [0.0; TOKENS]);
    for x in tile.iter() {
        for t in 0..TOKENS {
            mean[t] += x[t] - origin[t];
        }
    }
    for mean in &mut mean {
        *mean *= share;
    }
    for x in tile.iter_mut() {
        for t in 0..TOKENS {
            x[t] = (x[t] - origin[t]) - mean[t];
            variance[t] = multiply_add::<FUSED>(x[t], x[t], variance[t]);
        }
    }
    let mut scale = [0.0; TOKENS];
    for t in 0..TOKENS {
        scale[t] = 1.0 / multiply_add::<FUSED>(variance[t], share, EPSILON).sqrt();
    }
    for x in tile.iter_mut() {
        for t in 0..TOKENS {
            x[t] *= scale[t];
        }
    }
    scale
}

for_every_level! {
    /// y of the tokens from `first` on of `x [C, L]`.
    fn normalise = normalise_body(x: &[f32], weight: &[f32], bias: &[f32], first: usize, y: &mut [f32])
}

#[inline(always)]
fn normalise_body<const FUSED: bool>(x: &[f32], weight: &[f32], bias: &[f32], first: usize, y: &mut [f32]) {
    let channels = weight.len();
    let mut tile = vec![[0.0; TOKENS]; channels];
    for (i, y) in y.chunks_mut(TOKENS * channels).enumerate() {
        read(x, x.len() / channels, first + i * TOKENS, &mut tile);
        standardise::<FUSED>(&mut tile);
        for ((x, weight), bias) in tile.iter_mut().zip(weight).zip(bias) {
            for x in x {
                *x = multiply_add::<FUSED>(*x, *weight, *bias);
            }
        }
        write(&tile, y);
    }
}

/// Gradients of `Σ y ⊙ y_grad` for `x [B, C, L]` with `length` L and `y_grad [B, L, C]`, on all threads.
pub fn gradients(x: &[f32], weight: &[f32], y_grad: &[f32], length: usize) -> LayerNormGradients<Vec<f32>> {
    let (level, channels) = (Level::detect(), weight.len());
    let mut x_grad = vec![0.0; x.len()];
    if x_grad.is_empty() {
        return LayerNormGradients { x: x_grad, weight: vec![0.0; channels], bias: vec![0.0; channels] };
    }
    let parts = map_over(stretches(x, y_grad, &mut x_grad, length, channels), |stretch| {
        differentiate(level, weight, stretch)
    });
    let total = |i: usize, c: usize| parts.iter().map(|part| f64::from(part[i][c])).sum::<f64>() as f32;
    let [weight, bias] = [0, 1].map(|i| (0..channels).map(|c| total(i, c)).collect());
    LayerNormGradients { x: x_grad, weight, bias }
}

/// Tokens of one volume, and where their gradients go.
struct Stretch<'a> {
    /// `[C, L]`
    x: &'a [f32],
    /// `[L, C]`
    y_grad: &'a [f32],
    first: usize,
    /// For every channel, the values of these tokens.
    x_grad: Vec<&'a mut [f32]>,
}

fn stretches<'a>(
    x: &'a [f32],
    y_grad: &'a [f32],
    x_grad: &'a mut [f32],
    length: usize,
    channels: usize,
) -> Vec<Stretch<'a>> {
    let tokens = tokens_per_stretch(channels);
    let size = channels * length;
    let mut found = Vec::new();
    let volumes = x.chunks_exact(size).zip(y_grad.chunks_exact(size)).zip(x_grad.chunks_exact_mut(size));
    for ((x, y_grad), x_grad) in volumes {
        let start = found.len();
        found.extend((0..length).step_by(tokens).map(|first| Stretch {
            x,
            y_grad,
            first,
            x_grad: Vec::with_capacity(channels),
        }));
        for row in x_grad.chunks_exact_mut(length) {
            for (part, stretch) in row.chunks_mut(tokens).zip(&mut found[start..]) {
                stretch.x_grad.push(part);
            }
        }
    }
    found
}

for_every_level! {
    /// Writes ∂x of a stretch and returns what it contributes to ∂w and ∂b, `[C]` each.
    fn differentiate = differentiate_body(weight: &[f32], stretch: Stretch) -> [Vec<f32>; 2]
}

#[inline(always)]
fn differentiate_body<const FUSED: bool>(weight: &[f32], mut stretch: Stretch) -> [Vec<f32>; 2] {
    let channels = weight.len();
    let length = stretch.x.len() / channels;
    let share = 1.0 / channels as f32;
    let mut units = vec![[0.0; TOKENS]; channels];
    let mut grads = units.clone();
    let mut sums = [vec![0.0; channels], vec![0.0; channels]];
    let count = stretch.x_grad.first().map_or(0, |row| row.len());
    for offset in (0..count).step_by(TOKENS) {
        let first = stretch.first + offset;
        let tokens = TOKENS.min(count - offset);
        read(stretch.x, length, first, &mut units);
        let scale = standardise::<FUSED>(&mut units);
        if tokens < TOKENS {
            grads.fill([0.0; TOKENS]);
        }
        for (t, y_grad) in stretch.y_grad[first * channels..].chunks_exact(channels).take(tokens).enumerate()
        {
            for (grad, y_grad) in grads.iter_mut().zip(y_grad) {
                grad[t] = *y_grad;
            }
        }
        let (mut mean, mut along) = ([0.0; TOKENS], [0.0; TOKENS]);
        for (c, (grad, unit)) in grads.iter_mut().zip(&units).enumerate() {
            let mut product = [0.0; TOKENS];
            for t in 0..TOKENS {
                product[t] = grad[t] * unit[t];
            }
            sums[0][c] += total(&product);
            sums[1][c] += total(grad);
            for t in 0..TOKENS {
                along[t] = multiply_add::<FUSED>(product[t], weight[c], along[t]);
                grad[t] *= weight[c];
                mean[t] += grad[t];
            }
        }
        for t in 0..TOKENS {
            mean[t] *= share;
            along[t] *= share;
        }
        for ((grad, unit), x_grad) in grads.iter_mut().zip(&units).zip(&mut stretch.x_grad) {
            for t in 0..TOKENS {
                grad[t] = scale[t] * (multiply_add::<FUSED>(unit[t], -along[t], grad[t]) - mean[t]);
            }
            x_grad[offset..offset + tokens].copy_from_slice(&grad[..tokens]);
        }
    }
    sums
}

/// Σ over the tokens of a tile, by halves: vectors, and one order on every machine.
#[inline(always)]
fn total(values: &Tile) -> f32 {
    let mut halves = *values;
    let mut width = TOKENS / 2;
    while width > 0 {
        for t in 0..width {
            halves[t] += halves[t + width];
        }
        width /= 2;
    }
    halves[0]
}
