//! The CPU convolution by minimal filtering (Winograd) along y: eight products for the four rows of a tile where a kernel of
//! five taps takes twenty, for six rows where one of three takes eighteen.
//!
//! ```text
//! V_p[i] = (Bᵀ d)_p      eight rows d of channel i become eight planes, p = 0 … 7
//! U_p    = (G w)_p       the taps along y of a weight
//! M_p[o] = Σ_{i,dz,dx} U_p[o,i,dz,dx] · V_p[i][q + offset(dz, dx)]
//! y      = Aᵀ M          four or six rows
//! ∂U_p[o,i,dz,dx] = Σ_q (A ∂y)_p[o][q] · V_p[i][q + offset(dz, dx)],      ∂w = Gᵀ ∂U
//! ```
//! What remains of the kernel runs over x and z, by the [inner loops](super::lanes) that the direct convolution has. Rounding
//! errors are about twice those of the direct sum. Rows of tiles are cut into groups, whose planes stay in a thread's cache;
//! where rows are short, tiles and not columns lie next to each other, so that no position is computed in vain. Each number is
//! summed in one fixed order: results depend neither on the cut nor on the number of threads.

#![expect(unsafe_code, reason = "rows of one result are written by several tasks")]

mod group;
mod transform;

use super::ConvShape;
use super::lanes::{self, MAX_GRADIENT_CHANNELS, MAX_SUM_CHANNELS, Source};
use super::vector::MAX_LANES;
use crate::cpu::output::{Unwritten, filled, unwritten};
use crate::cpu::product::Shared;
use crate::cpu::scratch::with_scratch;
use crate::cpu::simd::Level;
use crate::cpu::tasks::{fill, for_each, threads};
use group::{Group, Layout};
use transform::{MAX_TAPS, OutputRows, Place, Rows, weight_factors};

/// Points at which tiles are multiplied: rows of an input tile.
const POINTS: usize = 8;
/// Floats of the sums of a group that are kept at a time.
const KEPT_SUMS: usize = 1 << 18;
/// Positions whose gradients stay in the nearest cache while all inputs pass.
const POSITIONS_AT_A_TIME: usize = 1024;

/// Whether a kernel is one of those that this module computes.
pub(super) fn suits(shape: &ConvShape) -> bool {
    let [depth, height, width] = shape.size_zyx;
    matches!(shape.kernel_zyx[1], 3 | 5) && depth * height * width > 0 && shape.input > 0 && shape.output > 0
}

/// Rows that a tile gives.
fn outputs(shape: &ConvShape) -> usize {
    POINTS + 1 - shape.kernel_zyx[1]
}

/// Taps along z and x.
fn remaining_taps(shape: &ConvShape) -> usize {
    shape.kernel_zyx[0] * shape.kernel_zyx[2]
}

/// Transformed weights `[block][point][in][kz][kx][channel of the block]`; `tap(o, i, t)` is a weight.
pub(super) fn transformed_weights(
    level: Level,
    shape: &ConvShape,
    tap: impl Fn(usize, usize, usize) -> f32 + Sync + Send,
) -> Vec<f32> {
    let [kz, ky, kx] = shape.kernel_zyx;
    let block = lanes::sum_channels(level);
    let factors = weight_factors(ky);
    let point_step = shape.input * kz * kx * block;
    filled(shape.output.div_ceil(block) * POINTS * point_step, POINTS * point_step, |first, out| {
        let first = first / (POINTS * point_step) * block;
        let channels = block.min(shape.output - first);
        for i in 0..shape.input {
            for (dz, dx) in (0..kz).flat_map(|dz| (0..kx).map(move |dx| (dz, dx))) {
                let mut taps = [[0.0; MAX_SUM_CHANNELS]; MAX_TAPS];
                for (dy, taps) in taps.iter_mut().enumerate().take(ky) {
                    for (c, weight) in taps.iter_mut().enumerate().take(channels) {
                        *weight = tap(first + c, i, (dz * ky + dy) * kx + dx);
                    }
                }
                let at = ((i * kz + dz) * kx + dx) * block;
                for (point, factors) in factors.iter().enumerate() {
                    let mut sums = [0.0; MAX_SUM_CHANNELS];
                    for (factor, taps) in factors.iter().zip(&taps) {
                        for (sum, weight) in sums.iter_mut().zip(taps) {
                            *sum += factor * weight;
                        }
                    }
                    out[point * point_step + at..][..block].copy_from_slice(&sums[..block]);
                }
            }
        }
    })
}

/// `y [B, out, D, H, W]` of `x [B, in, D, H, W]` and weights of [`transformed_weights`].
pub(super) fn convolve(level: Level, x: &[f32], weights: &[f32], shape: &ConvShape) -> Vec<f32> {
    let groups = group::for_values(shape, threads());
    let fill = |y: &mut Unwritten| {
        let y = Shared(y.as_mut_ptr().cast());
        for_each(groups.len(), |g| convolve_group(level, x, weights, shape, &groups[g], y));
    };
    // SAFETY: the groups cover the rows of every channel.
    unsafe { unwritten(shape.batch * shape.output * shape.voxels(), fill) }
}

/// Writes the rows of a group, of every output channel, which no other group has.
fn convolve_group(level: Level, x: &[f32], weights: &[f32], shape: &ConvShape, group: &Group, y: Shared) {
    let [depth, height, width] = shape.size_zyx;
    let layout = Layout::new(shape, group);
    let (step, sum_step) = (layout.source_step, layout.sum_step);
    let point_step = shape.input * step;
    let block = lanes::sum_channels(level);
    let per_block = shape.input * remaining_taps(shape) * block;
    let kept = (KEPT_SUMS / (POINTS * block * sum_step)).clamp(1, shape.output.div_ceil(block)) * block;
    let sizes = [input_rows(shape, group), POINTS * point_step, POINTS * kept * sum_step];
    with_scratch(sizes, |[rows, planes, sums]| {
        let place = layout.place(point_step);
        for i in 0..shape.input {
            let channel = &x[(group.sample * shape.input + i) * shape.voxels()..][..shape.voxels()];
            input_planes(level, channel, shape, group, &place, rows, &mut planes[i * step..]);
        }
        let place = layout.place(kept * sum_step);
        let first_row = group.tile * outputs(shape);
        let rows = (group.tiles * outputs(shape)).min(height - first_row);
        for first in (0..shape.output).step_by(kept) {
            let end = (first + kept).min(shape.output);
            for (point, planes) in planes.chunks_exact(point_step).enumerate() {
                let source = Source {
                    values: planes,
                    step,
                    channels: shape.input,
                    offsets: &layout.offsets,
                    count: layout.count,
                };
                for o in (first..end).step_by(block) {
                    let weights = &weights[(o / block * POINTS + point) * per_block..][..per_block];
                    let out = &mut sums[(point * kept + o - first) * sum_step..];
                    lanes::sums(level, &source, weights, out, sum_step);
                }
            }
            for o in first..end {
                for z in 0..group.slices {
                    let plane = (group.sample * shape.output + o) * depth + group.slice + z;
                    let to = y.at((plane * height + first_row) * width);
                    let output = OutputRows { to, width, rows, outputs: outputs(shape) };
                    let sums = &sums[(o - first) * sum_step + z * place.z_step..];
                    // SAFETY: these rows lie within y, and no other group has them.
                    unsafe { transform::output_tiles(level, sums, &place, output) };
                }
            }
        }
    });
}

/// Gradient of the weight, `[out, in, kz, ky, kx]`, of `x [B, in, D, H, W]` and `gy [B, out, D, H, W]`.
pub(super) fn weight_gradient(level: Level, x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    let [kz, ky, kx] = shape.kernel_zyx;
    let (block, taps) = (lanes::gradient_channels(level), remaining_taps(shape));
    let blocks = shape.output.div_ceil(block);
    let part = shape.input * taps * block;
    // [point][block][in][tap][channel of the block]
    let mut transformed = vec![0.0; POINTS * blocks * part];
    let (mut inputs, mut gradients) = (Vec::new(), Vec::new());
    let mut kept = None;
    for group in group::for_gradients(shape) {
        let layout = Layout::new(shape, &group);
        let (step, sum_step) = (layout.source_step, layout.sum_step);
        // Positions of no use are 0, and stay so while groups are alike.
        if kept.replace((group.slices, group.tiles)) != Some((group.slices, group.tiles)) {
            inputs = vec![0.0; shape.input * POINTS * step];
            gradients = vec![0.0; shape.output * POINTS * sum_step];
        }
        fill(&mut inputs, POINTS * step, |first, out| {
            let at = group.sample * shape.input + first / (POINTS * step);
            let channel = &x[at * shape.voxels()..][..shape.voxels()];
            with_scratch([input_rows(shape, &group)], |[rows]| {
                input_planes(level, channel, shape, &group, &layout.place(step), rows, out);
            });
        });
        fill(&mut gradients, POINTS * sum_step, |first, out| {
            let at = group.sample * shape.output + first / (POINTS * sum_step);
            let channel = &gy[at * shape.voxels()..][..shape.voxels()];
            let room = group.tiles * outputs(shape) * shape.size_zyx[2].next_multiple_of(MAX_LANES);
            with_scratch([room], |[rows]| {
                gradient_planes(level, channel, shape, &group, &layout.place(sum_step), rows, out);
            });
        });
        fill(&mut transformed, part, |first, sums| {
            let (point, first) = (first / part / blocks, first / part % blocks * block);
            for from in (0..layout.count).step_by(POSITIONS_AT_A_TIME) {
                let count = POSITIONS_AT_A_TIME.min(layout.count - from);
                let own: [&[f32]; MAX_GRADIENT_CHANNELS] = std::array::from_fn(|o| {
                    // Channels past the end repeat the last one; their sums are not kept.
                    let o = (first + o).min(shape.output - 1);
                    &gradients[(o * POINTS + point) * sum_step + from..][..sum_step - from]
                });
                for (i, sums) in sums.chunks_exact_mut(taps * block).enumerate() {
                    let input = &inputs[(i * POINTS + point) * step + from..][..step - from];
                    lanes::products(level, input, &layout.offsets, &own, count, sums);
                }
            }
        });
    }
    let factors = weight_factors(ky);
    filled(shape.output * shape.input * shape.taps(), shape.input * shape.taps(), |first, row| {
        let o = first / (shape.input * shape.taps());
        for (i, row) in row.chunks_exact_mut(shape.taps()).enumerate() {
            for (dz, dx) in (0..kz).flat_map(|dz| (0..kx).map(move |dx| (dz, dx))) {
                let at = o / block * part + (i * taps + dz * kx + dx) * block + o % block;
                let mut sums = [0.0; MAX_TAPS];
                for (point, factors) in factors.iter().enumerate() {
                    let product = transformed[point * blocks * part + at];
                    for (sum, factor) in sums.iter_mut().zip(factors) {
                        *sum += factor * product;
                    }
                }
                for (dy, sum) in sums.iter().enumerate().take(ky) {
                    row[(dz * ky + dy) * kx + dx] = *sum;
                }
            }
        }
    })
}

/// Floats of the rows that [`input_planes`] needs.
fn input_rows(shape: &ConvShape, group: &Group) -> usize {
    let columns = shape.size_zyx[2] + shape.kernel_zyx[2] - 1;
    (group.tiles * outputs(shape) + POINTS - outputs(shape)) * columns.next_multiple_of(MAX_LANES)
}

/// V of one channel: its planes of every point begin in `out`. Voxels outside the volume are 0.
fn input_planes(
    level: Level,
    channel: &[f32],
    shape: &ConvShape,
    group: &Group,
    place: &Place,
    rows: &mut [f32],
    out: &mut [f32],
) {
    let ([depth, height, width], [kz, ky, kx]) = (shape.size_zyx, shape.kernel_zyx);
    let per_tile = outputs(shape);
    let columns = width + kx - 1;
    let step = columns.next_multiple_of(MAX_LANES);
    let first = (group.tile * per_tile) as isize - (ky / 2) as isize;
    rows.fill(0.0);
    for z in 0..group.slices + kz - 1 {
        let slice = (group.slice + z).checked_sub(kz / 2).filter(|z| *z < depth);
        let slice = slice.map(|z| &channel[z * height * width..][..height * width]);
        copy_rows(slice, width, first, rows.chunks_exact_mut(step).map(|row| &mut row[kx / 2..][..width]));
        let rows = Rows { values: rows, step, columns };
        transform::input_tiles(level, &rows, group.tiles, per_tile, place, &mut out[z * place.z_step..]);
    }
}

/// `A ∂y` of one channel, likewise; 0 wherever there is no voxel.
fn gradient_planes(
    level: Level,
    channel: &[f32],
    shape: &ConvShape,
    group: &Group,
    place: &Place,
    rows: &mut [f32],
    out: &mut [f32],
) {
    let [_, height, width] = shape.size_zyx;
    let per_tile = outputs(shape);
    let step = width.next_multiple_of(MAX_LANES);
    let first = (group.tile * per_tile) as isize;
    rows.fill(0.0);
    for z in 0..group.slices {
        let slice = &channel[(group.slice + z) * height * width..][..height * width];
        copy_rows(Some(slice), width, first, rows.chunks_exact_mut(step).map(|row| &mut row[..width]));
        let rows = Rows { values: rows, step, columns: width };
        transform::gradient_tiles(level, &rows, group.tiles, per_tile, place, &mut out[z * place.z_step..]);
    }
}

/// The rows of a slice from `first` on; 0 beyond it.
fn copy_rows<'r>(
    slice: Option<&[f32]>,
    width: usize,
    first: isize,
    rows: impl Iterator<Item = &'r mut [f32]>,
) {
    for (r, row) in rows.enumerate() {
        let y = usize::try_from(first + r as isize).ok();
        match slice.zip(y).and_then(|(slice, y)| slice.get(y * width..(y + 1) * width)) {
            Some(voxels) => row.copy_from_slice(voxels),
            None => row.fill(0.0),
        }
    }
}
