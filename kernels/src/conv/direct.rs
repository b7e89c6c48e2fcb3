//! The CPU convolution of kernels that [`winograd`](super::winograd) does not know: direct, over padded planes.
//!
//! ```text
//! y[o,z,q]         = Σ_{i,dz,dy,dx} w[o,i,dz,dy,dx] · x[i, z+dz−pz, q + dy·S + dx]
//! ∂w[o,i,dz,dy,dx] = Σ_{z,q} ∂y[o,z,q] · x[i, z+dz−pz, q + dy·S + dx]
//! ```
//! Planes are copied with a zero border, and q runs over the *flattened* padded plane of row stride S, so that a vector may
//! cross rows: any width vectorises alike, and the few columns computed in the border are dropped. Work is shared out over
//! slices (values) or blocks of channels (weights), each summed in one fixed order.

use super::ConvShape;
use super::lanes::{self, MAX_GRADIENT_CHANNELS, OVERRUN, Source};
use super::vector::MAX_LANES;
use crate::cpu::output::{NewPlanes, filled, planes};
use crate::cpu::simd::Level;
use crate::cpu::tasks::for_each;

impl ConvShape {
    /// Row stride of a padded plane.
    fn stride(&self) -> usize {
        self.size_zyx[2] + self.kernel_zyx[2] - 1
    }

    /// Positions of an output plane at the padded row stride.
    fn positions(&self) -> usize {
        self.size_zyx[1] * self.stride()
    }

    /// Floats of a plane of sums.
    fn sum_plane(&self) -> usize {
        self.positions().next_multiple_of(MAX_LANES)
    }

    /// Floats of a padded input plane, with room for the taps of the last, partly used register.
    fn padded_plane(&self) -> usize {
        let [_, ky, kx] = self.kernel_zyx;
        self.sum_plane() + (ky - 1) * self.stride() + kx - 1 + OVERRUN
    }

    /// Offsets of a kernel's taps in padded slices that follow each other, `slice` floats apart.
    fn offsets(&self, slice: usize) -> Vec<usize> {
        let [_, ky, kx] = self.kernel_zyx;
        let offset = |t: usize| t / (ky * kx) * slice + t / kx % ky * self.stride() + t % kx;
        (0..self.taps()).map(offset).collect()
    }
}

/// Weights as the loops read them: `[block][in][tap][channel of the block]`, 0 past the end; `tap(o, i, t)` is a weight.
pub(super) fn packed_weights(
    level: Level,
    shape: &ConvShape,
    tap: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    let block = lanes::sum_channels(level);
    let mut packed = Vec::with_capacity(shape.output.div_ceil(block) * shape.input * shape.taps() * block);
    for first in (0..shape.output).step_by(block) {
        for i in 0..shape.input {
            for t in 0..shape.taps() {
                packed.extend(
                    (first..first + block).map(|o| if o < shape.output { tap(o, i, t) } else { 0.0 }),
                );
            }
        }
    }
    packed
}

/// `y [B, out, D, H, W]` of `x [B, in, D, H, W]` and weights of [`packed_weights`]; one slice of every channel per task.
pub(super) fn convolve(level: Level, x: &[f32], weights: &[f32], shape: &ConvShape) -> Vec<f32> {
    let [depth, height, width] = shape.size_zyx;
    let kz = shape.kernel_zyx[0];
    let block = lanes::sum_channels(level);
    let plane = shape.padded_plane();
    let offsets = shape.offsets(shape.input * plane);
    let task = |y: &NewPlanes, task: usize| {
        let (b, z) = (task / depth, task % depth);
        // [dz][in]; slices outside stay 0
        let mut padded = vec![0.0; kz * shape.input * plane];
        for (n, padded) in padded.chunks_exact_mut(plane).enumerate() {
            let (dz, i) = (n / shape.input, n % shape.input);
            if let Some(source) = (z + dz).checked_sub(kz / 2).filter(|s| *s < depth) {
                let from = ((b * shape.input + i) * depth + source) * height * width;
                pad(&x[from..][..height * width], padded, shape);
            }
        }
        let source = Source {
            values: &padded,
            step: plane,
            channels: shape.input,
            offsets: &offsets,
            count: shape.positions(),
        };
        let mut out = vec![0.0; block * shape.sum_plane()];
        for (first, weights) in
            (0..).step_by(block).zip(weights.chunks_exact(shape.input * shape.taps() * block))
        {
            lanes::sums(level, &source, weights, &mut out, shape.sum_plane());
            for o in first..(first + block).min(shape.output) {
                let from = &out[(o - first) * shape.sum_plane()..];
                y.write((b * shape.output + o) * depth + z, |plane| {
                    for (row, target) in plane.chunks_exact_mut(width).enumerate() {
                        target.copy_from_slice(&from[row * shape.stride()..][..width]);
                    }
                });
            }
        }
    };
    planes(shape.batch * shape.output * depth, height * width, |y| {
        for_each(shape.batch * depth, |index| task(y, index));
    })
}

/// Gradient of the weight, `[out, in, kz, ky, kx]`.
pub(super) fn weight_gradient(level: Level, x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    let [depth, height, width] = shape.size_zyx;
    let [kz, ky, kx] = shape.kernel_zyx;
    let (plane, sum_plane) = (shape.padded_plane(), shape.sum_plane());
    let inputs = filled(shape.batch * shape.input * depth * plane, plane, |first, padded| {
        pad(&x[first / plane * height * width..][..height * width], padded, shape);
    });
    let gradients = filled(shape.batch * shape.output * depth * sum_plane, sum_plane, |first, padded| {
        let from = &gy[first / sum_plane * height * width..][..height * width];
        for (row, from) in from.chunks_exact(width).enumerate() {
            padded[row * shape.stride()..][..width].copy_from_slice(from);
        }
    });
    let block = lanes::gradient_channels(level);
    let offsets = &shape.offsets(0)[..ky * kx];
    let part = shape.taps() * block;
    // [block][in][tap][channel of the block]
    let packed = filled(shape.output.div_ceil(block) * shape.input * part, part, |first, sums| {
        let (first, i) = (first / part / shape.input * block, first / part % shape.input);
        for b in 0..shape.batch {
            for z in 0..depth {
                let own: [&[f32]; MAX_GRADIENT_CHANNELS] = std::array::from_fn(|o| {
                    // Channels past the end repeat the last one; their sums are not kept.
                    let o = (first + o).min(shape.output - 1);
                    &gradients[((b * shape.output + o) * depth + z) * sum_plane..][..sum_plane]
                });
                for (dz, sums) in sums.chunks_exact_mut(ky * kx * block).enumerate() {
                    let Some(source) = (z + dz).checked_sub(kz / 2).filter(|s| *s < depth) else { continue };
                    let input = &inputs[((b * shape.input + i) * depth + source) * plane..][..plane];
                    lanes::products(level, input, offsets, &own, shape.positions(), sums);
                }
            }
        }
    });
    filled(shape.output * shape.input * shape.taps(), shape.input * shape.taps(), |first, row| {
        let o = first / (shape.input * shape.taps());
        for (t, w) in row.iter_mut().enumerate() {
            let at = (o / block * shape.input + t / shape.taps()) * part + t % shape.taps() * block;
            *w = packed[at + o % block];
        }
    })
}

/// Copies a plane into the middle of a zero-bordered one.
fn pad(plane: &[f32], padded: &mut [f32], shape: &ConvShape) {
    let ([_, _, width], [_, ky, kx]) = (shape.size_zyx, shape.kernel_zyx);
    for (row, values) in plane.chunks_exact(width).enumerate() {
        padded[(row + ky / 2) * shape.stride() + kx / 2..][..width].copy_from_slice(values);
    }
}
