//! Statistics of chunks, and what follows from them.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::{CHUNK, PER_UNIT, UNITS};
use crate::norm::EPSILON;

/// Slots of statistics: one per unit, and one per unit for what is to be merged into it.
const SLOTS: usize = 2 * UNITS;
/// Slots that are left after the first of two rounds of merging.
const FAN: usize = 16;
/// Places of the fields of a slot.
const COUNT: usize = 0;
const MEAN: usize = SLOTS;
const SQUARES: usize = 2 * SLOTS;
const GRADIENT_MEAN: usize = 3 * SLOTS;
const PRODUCTS: usize = 4 * SLOTS;

/// Floats of shared memory for statistics with or without those of a gradient.
const fn shared_floats(gradient: bool) -> usize {
    if gradient { 5 * SLOTS } else { 3 * SLOTS }
}

/// Floats of a chunk's statistics in global memory.
pub(super) const fn part_floats(gradient: bool) -> usize {
    if gradient { 4 } else { 2 }
}

/// The middle one of the first, the middle and the last value of a row.
#[cube]
fn typical<E: Float>(x: &[E], from: usize, n: usize) -> f32 {
    let first = f32::cast_from(x[from]);
    let second = f32::cast_from(x[from + n / 2]);
    let third = f32::cast_from(x[from + n - 1]);
    let mut low = first;
    let mut high = second;
    if first > second {
        low = second;
        high = first;
    }
    let mut found = third;
    if third < low {
        found = low;
    }
    if third > high {
        found = high;
    }
    found
}

/// Merges slot `from` into slot `to`.
#[cube]
fn merge(stats: &mut Shared<[f32]>, to: usize, from: usize, #[comptime] gradient: bool) {
    let added = stats[COUNT + from];
    if added > 0.0f32 {
        let before = stats[COUNT + to];
        let count = before + added;
        let share = added / count;
        let step = stats[MEAN + from] - stats[MEAN + to];
        stats[COUNT + to] = count;
        stats[MEAN + to] += step * share;
        stats[SQUARES + to] += stats[SQUARES + from] + step * step * before * share;
        if gradient {
            let gradient_step = stats[GRADIENT_MEAN + from] - stats[GRADIENT_MEAN + to];
            stats[GRADIENT_MEAN + to] += gradient_step * share;
            stats[PRODUCTS + to] += stats[PRODUCTS + from] + step * gradient_step * before * share;
        }
    }
}

/// Merges the slots of all units into slot 0, by sixteens: barriers cost more than the merges that a finer tree saves.
#[cube]
fn merge_units(stats: &mut Shared<[f32]>, unit: usize, #[comptime] gradient: bool) {
    sync_cube();
    if unit < FAN {
        for k in 1..comptime![UNITS / FAN] {
            merge(stats, unit, unit + k * FAN, gradient);
        }
    }
    sync_cube();
    if unit == 0 {
        for k in 1..FAN {
            merge(stats, 0, k, gradient);
        }
    }
    sync_cube();
}

/// Merges the statistics of a row's chunks into slot 0.
#[cube]
fn merge_parts(
    stats: &mut Shared<[f32]>,
    parts: &[f32],
    row: usize,
    n: usize,
    chunks: usize,
    exists: bool,
    unit: usize,
    #[comptime] gradient: bool,
) {
    let floats = comptime![part_floats(gradient)];
    stats[COUNT + unit] = 0.0f32;
    stats[MEAN + unit] = 0.0f32;
    stats[SQUARES + unit] = 0.0f32;
    if gradient {
        stats[GRADIENT_MEAN + unit] = 0.0f32;
        stats[PRODUCTS + unit] = 0.0f32;
    }
    if exists {
        let own = comptime![UNITS] + unit;
        let mut chunk = unit;
        while chunk < chunks {
            let mut count = n - chunk * comptime![CHUNK];
            if count > comptime![CHUNK] {
                count = comptime![CHUNK].runtime();
            }
            let at = (row * chunks + chunk) * floats;
            stats[COUNT + own] = f32::cast_from(count);
            stats[MEAN + own] = parts[at];
            stats[SQUARES + own] = parts[at + 1];
            if gradient {
                stats[GRADIENT_MEAN + own] = parts[at + 2];
                stats[PRODUCTS + own] = parts[at + 3];
            }
            merge(stats, unit, own, gradient);
            chunk += comptime![UNITS];
        }
    }
    merge_units(stats, unit, gradient);
}

/// `1/√(M/n + ε)` of slot 0.
#[cube]
fn scale(stats: &Shared<[f32]>, n: usize) -> f32 {
    1.0f32 / f32::sqrt(stats[SQUARES] / f32::cast_from(n) + comptime![EPSILON])
}

/// Statistics of every chunk of `x [rows, n]`: mean of `x − x₀`, sum of squared deviations.
#[cube(launch_unchecked)]
pub(super) fn summarise<E: Float>(
    x: &[E],
    parts: &mut [f32],
    rows: usize,
    n: usize,
    chunks: usize,
    #[define(E)] _element: ElemType,
) {
    let mut stats = Shared::<[f32]>::new_slice(comptime![shared_floats(false)]);
    let unit = UNIT_POS as usize;
    let row = CUBE_POS / chunks;
    let first = CUBE_POS % chunks * comptime![CHUNK] + unit;
    let exists = row < rows;
    let mut values = Array::<f32>::new(PER_UNIT);
    let mut count = 0.0f32;
    let mut sum = 0.0f32;
    let mut origin = 0.0f32;
    if exists {
        origin = typical(x, row * n, n);
    }
    #[unroll]
    for k in 0..PER_UNIT {
        let at = first + k * UNITS;
        values[k] = 0.0f32;
        if exists && at < n {
            values[k] = f32::cast_from(x[row * n + at]) - origin;
            count += 1.0f32;
        }
        sum += values[k];
    }
    let mut mean = 0.0f32;
    if count > 0.0f32 {
        mean = sum / count;
    }
    let mut squares = 0.0f32;
    #[unroll]
    for k in 0..PER_UNIT {
        if first + k * UNITS < n {
            let deviation = values[k] - mean;
            squares += deviation * deviation;
        }
    }
    stats[COUNT + unit] = count;
    stats[MEAN + unit] = mean;
    stats[SQUARES + unit] = squares;
    merge_units(&mut stats, unit, false);
    if exists && unit == 0 {
        let at = CUBE_POS * comptime![part_floats(false)];
        parts[at] = stats[MEAN];
        parts[at + 1] = stats[SQUARES];
    }
}

/// φ.
#[cube]
fn rectified(value: f32, slope: f32) -> f32 {
    let mut found = slope * value;
    if value > 0.0f32 {
        found = value;
    }
    found
}

/// φ(x̂ + shortcut) from the statistics of [`summarise`]; without `with_shortcut` that buffer is not read.
#[cube(launch_unchecked)]
pub(super) fn normalise<E: Float>(
    x: &[E],
    shortcut: &[E],
    parts: &[f32],
    y: &mut [E],
    rows: usize,
    n: usize,
    chunks: usize,
    slope: f32,
    #[comptime] with_shortcut: bool,
    #[define(E)] _element: ElemType,
) {
    let mut stats = Shared::<[f32]>::new_slice(comptime![shared_floats(false)]);
    let unit = UNIT_POS as usize;
    let row = CUBE_POS / chunks;
    let first = CUBE_POS % chunks * comptime![CHUNK] + unit;
    let exists = row < rows;
    merge_parts(&mut stats, parts, row, n, chunks, exists, unit, false);
    if exists {
        let mean = typical(x, row * n, n) + stats[MEAN];
        let scale = scale(&stats, n);
        #[unroll]
        for k in 0..PER_UNIT {
            let at = first + k * UNITS;
            if at < n {
                let mut value = (f32::cast_from(x[row * n + at]) - mean) * scale;
                if with_shortcut {
                    value += f32::cast_from(shortcut[row * n + at]);
                }
                y[row * n + at] = E::cast_from(rectified(value, slope));
            }
        }
    }
}

/// g' = g where y is above 0, slope · g elsewhere.
#[cube]
fn passed<E: Float>(y: E, g: f32, slope: f32) -> f32 {
    let mut found = slope * g;
    if f32::cast_from(y) > 0.0f32 {
        found = g;
    }
    found
}

/// Statistics of every chunk of `x [rows, n]` and of g' from `y` and `g [rows, n]`: those of [`summarise`], then the mean of
/// g' and the sum of products of deviations.
#[cube(launch_unchecked)]
pub(super) fn summarise_with_gradient<E: Float>(
    x: &[E],
    y: &[E],
    g: &[E],
    parts: &mut [f32],
    rows: usize,
    n: usize,
    chunks: usize,
    slope: f32,
    #[define(E)] _element: ElemType,
) {
    let mut stats = Shared::<[f32]>::new_slice(comptime![shared_floats(true)]);
    let unit = UNIT_POS as usize;
    let row = CUBE_POS / chunks;
    let first = CUBE_POS % chunks * comptime![CHUNK] + unit;
    let exists = row < rows;
    let mut values = Array::<f32>::new(PER_UNIT);
    let mut gradients = Array::<f32>::new(PER_UNIT);
    let mut count = 0.0f32;
    let mut sum = 0.0f32;
    let mut gradient_sum = 0.0f32;
    let mut origin = 0.0f32;
    if exists {
        origin = typical(x, row * n, n);
    }
    #[unroll]
    for k in 0..PER_UNIT {
        let at = first + k * UNITS;
        values[k] = 0.0f32;
        gradients[k] = 0.0f32;
        if exists && at < n {
            values[k] = f32::cast_from(x[row * n + at]) - origin;
            gradients[k] = passed::<E>(y[row * n + at], f32::cast_from(g[row * n + at]), slope);
            count += 1.0f32;
        }
        sum += values[k];
        gradient_sum += gradients[k];
    }
    let mut mean = 0.0f32;
    let mut gradient_mean = 0.0f32;
    if count > 0.0f32 {
        mean = sum / count;
        gradient_mean = gradient_sum / count;
    }
    let mut squares = 0.0f32;
    let mut products = 0.0f32;
    #[unroll]
    for k in 0..PER_UNIT {
        if first + k * UNITS < n {
            let deviation = values[k] - mean;
            squares += deviation * deviation;
            products += deviation * (gradients[k] - gradient_mean);
        }
    }
    stats[COUNT + unit] = count;
    stats[MEAN + unit] = mean;
    stats[SQUARES + unit] = squares;
    stats[GRADIENT_MEAN + unit] = gradient_mean;
    stats[PRODUCTS + unit] = products;
    merge_units(&mut stats, unit, true);
    if exists && unit == 0 {
        let at = CUBE_POS * comptime![part_floats(true)];
        parts[at] = stats[MEAN];
        parts[at + 1] = stats[SQUARES];
        parts[at + 2] = stats[GRADIENT_MEAN];
        parts[at + 3] = stats[PRODUCTS];
    }
}

/// ∂x, and with `with_shortcut` ∂s = g', from the statistics of [`summarise_with_gradient`].
#[cube(launch_unchecked)]
pub(super) fn differentiate<E: Float>(
    x: &[E],
    y: &[E],
    g: &[E],
    parts: &[f32],
    x_grad: &mut [E],
    shortcut_grad: &mut [E],
    rows: usize,
    n: usize,
    chunks: usize,
    slope: f32,
    #[comptime] with_shortcut: bool,
    #[define(E)] _element: ElemType,
) {
    let mut stats = Shared::<[f32]>::new_slice(comptime![shared_floats(true)]);
    let unit = UNIT_POS as usize;
    let row = CUBE_POS / chunks;
    let first = CUBE_POS % chunks * comptime![CHUNK] + unit;
    let exists = row < rows;
    merge_parts(&mut stats, parts, row, n, chunks, exists, unit, true);
    if exists {
        let mean = typical(x, row * n, n) + stats[MEAN];
        let gradient_mean = stats[GRADIENT_MEAN];
        let scale = scale(&stats, n);
        let along = stats[PRODUCTS] / f32::cast_from(n) * scale;
        #[unroll]
        for k in 0..PER_UNIT {
            let at = first + k * UNITS;
            if at < n {
                let gradient = passed::<E>(y[row * n + at], f32::cast_from(g[row * n + at]), slope);
                let unit_value = (f32::cast_from(x[row * n + at]) - mean) * scale;
                x_grad[row * n + at] = E::cast_from(scale * (gradient - gradient_mean - unit_value * along));
                if with_shortcut {
                    shortcut_grad[row * n + at] = E::cast_from(gradient);
                }
            }
        }
    }
}
