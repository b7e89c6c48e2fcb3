//! The CPU convolution of small planes: matrix products over gathered patches.
//!
//! ```text
//! P[(i, t), v] = x[i, v + t] or 0 outside,      y = W P,      ∂W = ∂y Pᵀ,      ∂x = the turned kernel's y of ∂y
//! ```
//! with W `[out, in · taps]`, t a tap's offset from the middle and v a voxel. Runs over padded planes (see
//! [`cpu`](super::cpu)) compute their borders too, half of a 6×6 plane; here every product counts, and gathering a
//! patch is little work beside multiplying it for many output channels. Stretches of voxels, or blocks of input
//! channels for ∂W, are shared out over threads, each summed in one fixed order.

use super::ConvShape;
use crate::cpu::output::{Unwritten, filled, unwritten};
use crate::cpu::product::{Matrix, Shared, multiply};
use crate::cpu::tasks::for_each;

/// Voxels of a stretch.
const STRETCH: usize = 128;
/// Floats of patches that are gathered at a time: they stay in a thread's cache.
const GATHERED: usize = 1 << 16;
/// Fewest tasks of a gradient of the weight.
const TASKS_WANTED: usize = 8;

/// Input channels whose patches of a stretch are gathered at a time.
fn channels_at_a_time(shape: &ConvShape) -> usize {
    (GATHERED / (shape.taps() * STRETCH).max(1)).clamp(1, shape.input.max(1))
}

/// Gathers the patches of `channels` channels from `first` on, for the voxels from `start` on, `[channel, tap][voxel]`.
fn gather(
    x: &[f32],
    shape: &ConvShape,
    [first, channels]: [usize; 2],
    [start, voxels]: [usize; 2],
    patches: &mut [f32],
) {
    let [d, h, w] = shape.size_zyx;
    let [kz, ky, kx] = shape.kernel_zyx;
    let rows = patches.chunks_exact_mut(voxels);
    for (row, out) in rows.enumerate().take(channels * shape.taps()) {
        let (i, t) = (first + row / shape.taps(), row % shape.taps());
        let x = &x[i * shape.voxels()..][..shape.voxels()];
        let (tz, ty, tx) = (t / (ky * kx), t / kx % ky, t % kx);
        // voxels of a line whose tap lies within it
        let (from, until) = ((kx / 2).saturating_sub(tx), (w + kx / 2).saturating_sub(tx).min(w));
        let mut done = 0;
        while done < voxels {
            let voxel = start + done;
            let (z, y, at) = (voxel / (h * w), voxel / w % h, voxel % w);
            let count = (w - at).min(voxels - done);
            let line = &mut out[done..done + count];
            done += count;
            let source = (z + tz).checked_sub(kz / 2).zip((y + ty).checked_sub(ky / 2));
            let (low, high) = (from.clamp(at, at + count), until.clamp(at, at + count));
            match source.filter(|(z, y)| *z < d && *y < h && low < high) {
                None => line.fill(0.0),
                Some((z, y)) => {
                    line[..low - at].fill(0.0);
                    line[high - at..].fill(0.0);
                    let source = (z * h + y) * w + low + tx - kx / 2;
                    line[low - at..high - at].copy_from_slice(&x[source..source + high - low]);
                }
            }
        }
    }
}

/// `x [B, in, D, H, W]`, `w [out, in, kz, ky, kx]` to `y [B, out, D, H, W]`.
pub(super) fn forward(x: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    let (voxels, columns) = (shape.voxels(), shape.input * shape.taps());
    let per_sample = voxels.div_ceil(STRETCH);
    let at_a_time = channels_at_a_time(shape);
    let fill = |y: &mut Unwritten| {
        let y = Shared(y.as_mut_ptr().cast());
        for_each(shape.batch * per_sample, |task| {
            let (b, start) = (task / per_sample, task % per_sample * STRETCH);
            let count = STRETCH.min(voxels - start);
            let x = &x[b * shape.input * voxels..][..shape.input * voxels];
            let mut patches = vec![0.0; at_a_time * shape.taps() * count];
            let out = y.at(b * shape.output * voxels + start);
            for first in (0..shape.input).step_by(at_a_time) {
                let channels = at_a_time.min(shape.input - first);
                gather(x, shape, [first, channels], [start, count], &mut patches);
                let w = Matrix { values: w, start: first * shape.taps(), steps: [columns, 1] };
                let p = Matrix { values: &patches, start: 0, steps: [count, 1] };
                let sizes = [shape.output, channels * shape.taps(), count];
                // SAFETY: the voxels of this stretch, of every output channel, within y; no other task has
                // them, and the first product writes what the others add to.
                unsafe { multiply(sizes, w, p, out, [voxels, 1], first > 0) };
            }
        });
    };
    // SAFETY: every voxel belongs to a stretch, whose first product writes all of its channels.
    unsafe { unwritten(shape.batch * shape.output * voxels, fill) }
}

/// Gradient of the input: `gy [B, out, D, H, W]` and `w` to `[B, in, D, H, W]`.
pub(super) fn input_gradient(gy: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    let taps = shape.taps();
    let row = shape.output * taps;
    let turned = filled(w.len(), row, |first, out| {
        for (o, out) in out.chunks_exact_mut(taps).enumerate() {
            let kernel = &w[(o * shape.input + first / row) * taps..][..taps];
            out.iter_mut().zip(kernel.iter().rev()).for_each(|(out, w)| *out = *w);
        }
    });
    forward(gy, &turned, &shape.transposed())
}

/// Gradient of the weight, `[out, in, kz, ky, kx]`.
pub(super) fn weight_gradient(x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    let (voxels, taps) = (shape.voxels(), shape.taps());
    let at_a_time = channels_at_a_time(shape).min(shape.input.div_ceil(TASKS_WANTED));
    let block = shape.output * taps * at_a_time;
    // [block of input channels][out][channel of the block, tap]
    let blocks = filled(shape.input.div_ceil(at_a_time) * block, block, |start, sums| {
        let first = start / block * at_a_time;
        let channels = at_a_time.min(shape.input - first);
        let mut patches = vec![0.0; channels * taps * STRETCH.min(voxels)];
        for b in 0..shape.batch {
            let x = &x[b * shape.input * voxels..][..shape.input * voxels];
            for start in (0..voxels).step_by(STRETCH) {
                let count = STRETCH.min(voxels - start);
                gather(x, shape, [first, channels], [start, count], &mut patches);
                let gy = Matrix { values: gy, start: b * shape.output * voxels + start, steps: [voxels, 1] };
                let p = Matrix { values: &patches, start: 0, steps: [1, count] };
                let sizes = [shape.output, count, channels * taps];
                // SAFETY: `sums` is this task's own, holds zeros and has room for rows of `at_a_time` channels.
                unsafe { multiply(sizes, gy, p, sums.as_mut_ptr(), [at_a_time * taps, 1], true) };
            }
        }
    });
    filled(shape.output * shape.input * taps, shape.input * taps, |start, row| {
        let o = start / (shape.input * taps);
        for (found, row) in blocks.chunks_exact(block).zip(row.chunks_mut(at_a_time * taps)) {
            row.copy_from_slice(&found[o * at_a_time * taps..][..row.len()]);
        }
    })
}
