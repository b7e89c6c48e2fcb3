//! The inner loops, compiled once per instruction set and chosen when the program runs.
//!
//! Each loop is generic over the [`Vector`] register and is inlined into a function that enables its
//! instruction set; the counts are constants, so that the accumulators stay in registers.

#![expect(unsafe_code, reason = "vector registers are reached through intrinsics and raw pointers")]

#[cfg(not(target_arch = "wasm32"))]
use super::vector::Plain;
use super::vector::Vector;
#[cfg(target_arch = "wasm32")]
use std::arch::wasm32::v128;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};

/// Lanes of the widest run of voxels.
pub(super) const MAX_LANES: usize = 32;
/// Output channels of the widest block in [`correlate`].
pub(super) const MAX_WEIGHT_CHANNELS: usize = 4;

/// The instruction sets that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    /// What every processor of the target has (simd128 in a browser).
    Baseline,
    /// 8 lanes, 16 registers, fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 16 lanes, 32 registers, fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Level {
    /// The best that this machine has.
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("fma") {
                return Level::Avx512;
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                return Level::Avx2;
            }
        }
        Level::Baseline
    }
}

/// A block of accumulators that fits the registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    /// Instruction set.
    pub(super) level: Level,
    /// Output channels of the block.
    pub(super) channels: usize,
    /// Taps along x (weight gradients only).
    pub(super) taps: usize,
}

/// Channels per block for values and input gradients.
pub(super) fn value_tile() -> Tile {
    let level = Level::detect();
    let channels = match level {
        Level::Baseline => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 4,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 8,
    };
    Tile { level, channels, taps: 0 }
}

/// Channels per block for weight gradients of kernels `taps` wide.
pub(super) fn weight_tile(taps: usize) -> Tile {
    let level = Level::detect();
    let channels = match level {
        Level::Baseline => 2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx2 => 2,
        #[cfg(target_arch = "x86_64")]
        Level::Avx512 => 4,
    };
    Tile { level, channels, taps }
}

/// One block of channels over one plane.  `inputs` pairs each padded plane with its taps `[ky][kx][channel]`;
/// `out` is `[channel][plane]` at the padded row stride.
///
/// # Panics
/// When a slice is shorter than the shape says: the loops below rely on it.
pub(super) fn convolve_plane(tile: &Tile, inputs: &[(&[f32], &[f32])], shape: &PlaneShape, out: &mut [f32]) {
    let [ky, kx] = shape.kernel_yx;
    assert!(shape.plane.is_multiple_of(MAX_LANES) && out.len() >= tile.channels * shape.plane);
    for (padded, weights) in inputs {
        assert!(padded.len() >= shape.plane + (ky - 1) * shape.stride + kx - 1);
        assert!(weights.len() >= ky * kx * tile.channels);
    }
    // SAFETY: the level says that the processor has the instruction set, and the lengths were asserted.
    unsafe {
        match tile.level {
            #[cfg(not(target_arch = "wasm32"))]
            Level::Baseline => convolve_plane_body::<Plain, 4, 2>(inputs, shape, out),
            #[cfg(target_arch = "wasm32")]
            Level::Baseline => convolve_plane_simd128(inputs, shape, out),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => convolve_plane_avx2(inputs, shape, out),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => convolve_plane_avx512(inputs, shape, out),
        }
    }
}

/// Geometry of one plane in [`convolve_plane`].
pub(super) struct PlaneShape {
    /// Taps along y and x.
    pub(super) kernel_yx: [usize; 2],
    /// Row stride of padded planes and of the output.
    pub(super) stride: usize,
    /// Floats of an output plane, a multiple of [`MAX_LANES`].
    pub(super) plane: usize,
}

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
unsafe fn convolve_plane_simd128(inputs: &[(&[f32], &[f32])], shape: &PlaneShape, out: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe { convolve_plane_body::<v128, 4, 2>(inputs, shape, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn convolve_plane_avx2(inputs: &[(&[f32], &[f32])], shape: &PlaneShape, out: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe { convolve_plane_body::<__m256, 4, 2>(inputs, shape, out) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
unsafe fn convolve_plane_avx512(inputs: &[(&[f32], &[f32])], shape: &PlaneShape, out: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe { convolve_plane_body::<__m512, 8, 2>(inputs, shape, out) }
}

/// `R` registers of voxels for each of `C` channels stay where they are while all taps pass by.
///
/// Safety: the instruction set of `V` is there, and lengths are as [`convolve_plane`] asserts.
#[inline(always)]
unsafe fn convolve_plane_body<V: Vector, const C: usize, const R: usize>(
    inputs: &[(&[f32], &[f32])],
    shape: &PlaneShape,
    out: &mut [f32],
) {
    let [ky, kx] = shape.kernel_yx;
    for q in (0..shape.plane).step_by(R * V::LANES) {
        // SAFETY: q + R·LANES ≤ plane, so a read ends before plane + (ky−1)·stride + kx−1, and a write ends
        // before C·plane; weights hold C values per tap.
        unsafe {
            let mut sums = [[V::splat(0.0); R]; C];
            for (padded, weights) in inputs {
                let mut w = weights.as_ptr();
                for dy in 0..ky {
                    let row = padded.as_ptr().add(q + dy * shape.stride);
                    for dx in 0..kx {
                        let mut runs = [V::splat(0.0); R];
                        for (r, run) in runs.iter_mut().enumerate() {
                            *run = V::load(row.add(dx + r * V::LANES));
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
            }
            for (c, sums) in sums.iter().enumerate() {
                for (r, sum) in sums.iter().enumerate() {
                    sum.store(out.as_mut_ptr().add(c * shape.plane + q + r * V::LANES));
                }
            }
        }
    }
}

/// An input plane and the gradient planes of the channels of a block.
pub(super) type PlanePair<'a> = (&'a [f32], [&'a [f32]; MAX_WEIGHT_CHANNELS]);

/// `sums[dx][c]` = Σ_pairs Σ_q gy[c][q] · x[from + q + dx] for q in 0..count, dx in 0..taps, c in 0..channels.
///
/// # Panics
/// When a slice is shorter than `count`, rounded up to whole vectors, asks for.
pub(super) fn correlate(tile: &Tile, pairs: &[PlanePair<'_>], from: usize, count: usize, sums: &mut [f32]) {
    let count = count.next_multiple_of(MAX_LANES);
    for (x, gy) in pairs {
        assert!(x.len() + 1 >= from + count + tile.taps && gy.iter().all(|g| g.len() >= count));
    }
    assert!(sums.len() >= tile.taps * tile.channels);
    for first in (0..tile.taps).step_by(5) {
        let taps = (tile.taps - first).min(5);
        let from = from + first;
        let sums = &mut sums[first * tile.channels..][..taps * tile.channels];
        // SAFETY: the level says that the processor has the instruction set, and the lengths were asserted.
        unsafe {
            match tile.level {
                #[cfg(not(target_arch = "wasm32"))]
                Level::Baseline => correlate_taps::<Plain, 2>(taps, pairs, from, count, sums),
                #[cfg(target_arch = "wasm32")]
                Level::Baseline => correlate_simd128(taps, pairs, from, count, sums),
                #[cfg(target_arch = "x86_64")]
                Level::Avx2 => correlate_avx2(taps, pairs, from, count, sums),
                #[cfg(target_arch = "x86_64")]
                Level::Avx512 => correlate_avx512(taps, pairs, from, count, sums),
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
#[target_feature(enable = "simd128")]
unsafe fn correlate_simd128(
    taps: usize,
    pairs: &[PlanePair<'_>],
    from: usize,
    count: usize,
    sums: &mut [f32],
) {
    // SAFETY: passed on from the caller.
    unsafe { correlate_taps::<v128, 2>(taps, pairs, from, count, sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn correlate_avx2(taps: usize, pairs: &[PlanePair<'_>], from: usize, count: usize, sums: &mut [f32]) {
    // SAFETY: passed on from the caller.
    unsafe { correlate_taps::<__m256, 2>(taps, pairs, from, count, sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,fma")]
unsafe fn correlate_avx512(
    taps: usize,
    pairs: &[PlanePair<'_>],
    from: usize,
    count: usize,
    sums: &mut [f32],
) {
    // SAFETY: passed on from the caller.
    unsafe { correlate_taps::<__m512, 4>(taps, pairs, from, count, sums) }
}

/// Kernel widths 5 and 3 pass in one go, others tap by tap.
///
/// Safety: as [`correlate`] asserts.
#[inline(always)]
unsafe fn correlate_taps<V: Vector, const C: usize>(
    taps: usize,
    pairs: &[PlanePair<'_>],
    from: usize,
    count: usize,
    sums: &mut [f32],
) {
    // SAFETY: passed on from the caller.
    unsafe {
        match taps {
            5 => correlate_body::<V, 5, C>(pairs, from, count, sums),
            3 => correlate_body::<V, 3, C>(pairs, from, count, sums),
            _ => {
                for (dx, sums) in sums.chunks_exact_mut(C).enumerate() {
                    correlate_body::<V, 1, C>(pairs, from + dx, count, sums);
                }
            }
        }
    }
}

/// Safety: as [`correlate`] asserts, for `K` taps and `C` channels.
#[inline(always)]
unsafe fn correlate_body<V: Vector, const K: usize, const C: usize>(
    pairs: &[PlanePair<'_>],
    from: usize,
    count: usize,
    sums: &mut [f32],
) {
    // SAFETY: `count` is a multiple of the lanes, so reads end before count (gy) and from + count + K − 1 (x).
    unsafe {
        let mut partial = [[V::splat(0.0); C]; K];
        for (x, gy) in pairs {
            let x = x.as_ptr().add(from);
            for q in (0..count).step_by(V::LANES) {
                let mut gradients = [V::splat(0.0); C];
                for (gradient, gy) in gradients.iter_mut().zip(gy) {
                    *gradient = V::load(gy.as_ptr().add(q));
                }
                for (k, partial) in partial.iter_mut().enumerate() {
                    let run = V::load(x.add(q + k));
                    for (sum, gradient) in partial.iter_mut().zip(&gradients) {
                        *sum = sum.add_product(*gradient, run);
                    }
                }
            }
        }
        for (k, partial) in partial.iter().enumerate() {
            for (c, lanes) in partial.iter().enumerate() {
                sums[k * C + c] = lanes.sum();
            }
        }
    }
}
