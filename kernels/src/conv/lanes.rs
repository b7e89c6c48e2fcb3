//! The inner loops, over sources that lie in memory as planes of floats, one a channel.
//!
//! ```text
//! sums:      out[c][q]   = Σ_i Σ_t  w[i][t][c] · source[i][q + offset_t]
//! products:  out[t][c]  += Σ_q      gradient[c][q] · source[q + offset_t]
//! ```
//! A tap is an offset in its plane, so that the same loops serve kernels over padded planes and over transformed ones. A
//! block of output channels × a run of positions stays in registers while all inputs and taps pass by. Each loop is
//! compiled once per instruction set, the best chosen when the program runs.

#![expect(unsafe_code, reason = "vector registers are reached through intrinsics and raw pointers")]

use super::vector::{MAX_LANES, Vector, for_every_register};
use crate::cpu::simd::Level;

/// Floats past the end of a run that may be read (and are not used) or written (within the room that the caller gives).
pub(super) const OVERRUN: usize = MAX_LANES;
/// Output channels of the widest block of [`sums`].
pub(super) const MAX_SUM_CHANNELS: usize = 8;
/// Output channels of the widest block of [`products`].
pub(super) const MAX_GRADIENT_CHANNELS: usize = 4;
/// Taps that [`products`] adds at a time.
const TAPS_AT_A_TIME: usize = 5;

/// Output channels of a block of [`sums`].
pub(super) fn sum_channels(level: Level) -> usize {
    match level {
        Level::Baseline => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => MAX_SUM_CHANNELS,
    }
}

/// Output channels of a block of [`products`].
pub(super) fn gradient_channels(level: Level) -> usize {
    match level {
        Level::Baseline => 2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => MAX_GRADIENT_CHANNELS,
    }
}

/// What a block of [`sums`] reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source<'a> {
    /// Planes of the input channels, `step` floats apart.
    pub(super) values: &'a [f32],
    /// See `values`.
    pub(super) step: usize,
    /// Input channels.
    pub(super) channels: usize,
    /// Of every tap, in the order of the weights.
    pub(super) offsets: &'a [usize],
    /// Positions.
    pub(super) count: usize,
}

/// Sums of a block of channels; weights are `[input][tap][channel of the block]`, `out` is `[channel of the block]`, `out_step`
/// floats apart, of which `count` rounded up to whole registers are written.
///
/// # Panics
/// When a slice is shorter than that: the loops rely on it.
pub(super) fn sums(level: Level, source: &Source<'_>, weights: &[f32], out: &mut [f32], out_step: usize) {
    let Source { values, step, channels, offsets, count } = *source;
    if channels == 0 || offsets.is_empty() {
        out.fill(0.0);
        return;
    }
    let block = sum_channels(level);
    let furthest = offsets.iter().max().copied().unwrap_or_default();
    let run = count.next_multiple_of(MAX_LANES);
    assert!(values.len() >= (channels - 1) * step + furthest + run, "the source holds every tap");
    assert!(weights.len() >= channels * offsets.len() * block, "there is a weight for every tap");
    assert!(out_step >= run && out.len() >= (block - 1) * out_step + run, "there is room for the sums");
    // SAFETY: the lengths were asserted.
    unsafe { sums_on(level, source, weights, out, out_step) }
}

for_every_register! {
    unsafe fn sums_on = sums_of_block[baseline: 4, 2; avx2: 4, 2; avx512: 8, 3](
        source: &Source<'_>,
        weights: &[f32],
        out: &mut [f32],
        out_step: usize,
    )
}

/// Runs of `R` registers for each of `C` channels, then what is left in single ones.
///
/// Safety: the instruction set of `V` is there, and lengths are as [`sums`] asserts.
#[inline(always)]
unsafe fn sums_of_block<V: Vector, const C: usize, const R: usize>(
    source: &Source<'_>,
    weights: &[f32],
    out: &mut [f32],
    out_step: usize,
) {
    let mut q = 0;
    // SAFETY: whole registers from q on end before the count rounded up.
    unsafe {
        while q + R * V::LANES <= source.count.next_multiple_of(V::LANES) {
            sums_of_run::<V, C, R>(source, weights, out, out_step, q);
            q += R * V::LANES;
        }
        while q < source.count {
            sums_of_run::<V, C, 1>(source, weights, out, out_step, q);
            q += V::LANES;
        }
    }
}

/// Safety: as [`sums_of_block`], for `R` registers from position `q` on.
#[inline(always)]
unsafe fn sums_of_run<V: Vector, const C: usize, const R: usize>(
    source: &Source<'_>,
    weights: &[f32],
    out: &mut [f32],
    out_step: usize,
    q: usize,
) {
    // SAFETY: q + R·LANES ≤ count, rounded up; `sums` asserted that so much can be read at every tap's offset and
    // written for every channel, and that there are C weights for each tap of each input.
    unsafe {
        let mut sums = [[V::splat(0.0); R]; C];
        let mut w = weights.as_ptr();
        let mut plane = source.values.as_ptr().add(q);
        for i in 0..source.channels {
            if i > 0 {
                plane = plane.add(source.step);
            }
            for &offset in source.offsets {
                let mut runs = [V::splat(0.0); R];
                for (r, run) in runs.iter_mut().enumerate() {
                    *run = V::load(plane.add(offset + r * V::LANES));
                }
                for (c, sums) in sums.iter_mut().enumerate() {
                    let weight = V::splat(*w.add(c));
                    for (sum, run) in sums.iter_mut().zip(&runs) {
                        *sum = sum.add_product(weight, *run);
                    }
                }
                w = w.add(C);
            }
        }
        for (c, sums) in sums.iter().enumerate() {
            for (r, sum) in sums.iter().enumerate() {
                sum.store(out.as_mut_ptr().add(c * out_step + q + r * V::LANES));
            }
        }
    }
}

/// Adds the products of a source plane with the gradient planes of a block of channels to `out [tap][channel of the block]`, over
/// `count` positions. Gradients past `count`, up to whole registers, have to be 0.
///
/// # Panics
/// When a slice is shorter than whole registers ask for.
pub(super) fn products(
    level: Level,
    source: &[f32],
    offsets: &[usize],
    gradients: &[&[f32]; MAX_GRADIENT_CHANNELS],
    count: usize,
    out: &mut [f32],
) {
    let run = count.next_multiple_of(MAX_LANES);
    let channels = gradient_channels(level);
    let furthest = offsets.iter().max().copied().unwrap_or_default();
    assert!(source.len() >= furthest + run, "the source holds every tap");
    assert!(gradients[..channels].iter().all(|g| g.len() >= run), "gradients are whole registers");
    assert!(out.len() >= offsets.len() * channels, "there is room for the products");
    for (offsets, out) in offsets.chunks(TAPS_AT_A_TIME).zip(out.chunks_mut(TAPS_AT_A_TIME * channels)) {
        // SAFETY: the lengths were asserted.
        unsafe { products_on(level, source, offsets, gradients, count, out) }
    }
}

for_every_register! {
    unsafe fn products_on = products_of_taps[baseline: 2; avx2: 2; avx512: 4](
        source: &[f32],
        offsets: &[usize],
        gradients: &[&[f32]; MAX_GRADIENT_CHANNELS],
        count: usize,
        out: &mut [f32],
    )
}

/// Five and three taps pass in one go, others one by one.
///
/// Safety: the instruction set of `V` is there, and lengths are as [`products`] asserts.
#[inline(always)]
unsafe fn products_of_taps<V: Vector, const C: usize>(
    source: &[f32],
    offsets: &[usize],
    gradients: &[&[f32]; MAX_GRADIENT_CHANNELS],
    count: usize,
    out: &mut [f32],
) {
    // SAFETY: passed on from the caller.
    unsafe {
        match *offsets {
            [a, b, c, d, e] => {
                products_of::<V, 5, C>(source, [a, b, c, d, e], gradients, count, out);
            }
            [a, b, c] => products_of::<V, 3, C>(source, [a, b, c], gradients, count, out),
            _ => {
                for (offset, out) in offsets.iter().zip(out.chunks_exact_mut(C)) {
                    products_of::<V, 1, C>(source, [*offset], gradients, count, out);
                }
            }
        }
    }
}

/// Safety: as [`products_of_taps`], for `K` taps and `C` channels.
#[inline(always)]
unsafe fn products_of<V: Vector, const K: usize, const C: usize>(
    source: &[f32],
    offsets: [usize; K],
    gradients: &[&[f32]; MAX_GRADIENT_CHANNELS],
    count: usize,
    out: &mut [f32],
) {
    // SAFETY: a register from q on ends before the count rounded up, so much of which was asserted to be there.
    unsafe {
        let mut partial = [[V::splat(0.0); C]; K];
        for q in (0..count).step_by(V::LANES) {
            let mut own = [V::splat(0.0); C];
            for (own, gradient) in own.iter_mut().zip(gradients) {
                *own = V::load(gradient.as_ptr().add(q));
            }
            for (partial, offset) in partial.iter_mut().zip(&offsets) {
                let run = V::load(source.as_ptr().add(q + offset));
                for (sum, own) in partial.iter_mut().zip(&own) {
                    *sum = sum.add_product(*own, run);
                }
            }
        }
        for (out, partial) in out.chunks_exact_mut(C).zip(&partial) {
            for (out, lanes) in out.iter_mut().zip(partial) {
                *out += lanes.sum();
            }
        }
    }
}
