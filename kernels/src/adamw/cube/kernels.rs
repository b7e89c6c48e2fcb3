//! Chunks of many tensors.
//!
//! `cubes` holds the first cube of every tensor and, behind them, the number of cubes. A tensor that no element of is left
//! has none.

use cubecl::prelude::*;

use super::{CHUNK, PER_UNIT, UNITS};

/// Units that are left after the first of two rounds of adding.
const FAN: usize = 16;

/// Whether this cube works on a tensor.
#[cube]
fn owns(cubes: &Sequence<usize>, #[comptime] tensor: usize) -> bool {
    CUBE_POS >= cubes[tensor] && CUBE_POS < cubes[comptime![tensor + 1]]
}

/// The first element of this unit in the tensor that its cube works on; the others follow at distances of [`UNITS`].
#[cube]
fn first_element(cubes: &Sequence<usize>, #[comptime] tensor: usize) -> usize {
    (CUBE_POS - cubes[tensor]) * comptime![CHUNK] + UNIT_POS as usize
}

/// Sums of squares of all chunks, in order, from `start` of `sums` on.
#[cube(launch_unchecked)]
pub(super) fn square_sums(
    tensors: &Sequence<Box<[f32]>>,
    sums: &mut [f32],
    cubes: &Sequence<usize>,
    lengths: &Sequence<usize>,
    start: usize,
) {
    let mut parts = Shared::<[f32]>::new_slice(comptime![UNITS]);
    let unit = UNIT_POS as usize;
    let mut sum = 0.0f32;
    #[unroll]
    for i in 0..comptime![lengths.len()] {
        if owns(cubes, i) {
            let from = first_element(cubes, i);
            for k in 0..comptime![PER_UNIT] {
                let at = from + k * comptime![UNITS];
                if at < lengths[i] {
                    let value = tensors[i][at];
                    sum += value * value;
                }
            }
        }
    }
    parts[unit] = sum;
    sync_cube();
    if unit < comptime![FAN] {
        let mut sum = 0.0f32;
        for k in 0..comptime![UNITS / FAN] {
            sum += parts[unit + k * comptime![FAN]];
        }
        parts[unit] = sum;
    }
    sync_cube();
    if unit == 0 && CUBE_POS < cubes[comptime![lengths.len()]] {
        let mut sum = 0.0f32;
        for k in 0..comptime![FAN] {
            sum += parts[k];
        }
        sums[start + CUBE_POS] = sum;
    }
}

/// `weight_a·a + weight_b·b`, from `outputs` of `sums` on.
#[cube(launch_unchecked)]
pub(super) fn weighted_sums(
    a: &Sequence<Box<[f32]>>,
    b: &Sequence<Box<[f32]>>,
    sums: &mut [f32],
    cubes: &Sequence<usize>,
    lengths: &Sequence<usize>,
    outputs: &Sequence<usize>,
    weight_a: f32,
    weight_b: f32,
) {
    #[unroll]
    for i in 0..comptime![lengths.len()] {
        if owns(cubes, i) {
            let from = first_element(cubes, i);
            for k in 0..comptime![PER_UNIT] {
                let at = from + k * comptime![UNITS];
                if at < lengths[i] {
                    sums[outputs[i] + at] = a[i][at] * weight_a + b[i][at] * weight_b;
                }
            }
        }
    }
}

/// What every parameter of a step has in common; as [`crate::adamw::Rates`].
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct StepRates {
    clip: f32,
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    correction: f32,
    epsilon: f32,
}

/// A step: moments change in place from `moments` on, new values are written from `outputs` on.
#[cube(launch_unchecked)]
pub(super) fn adamw(
    values: &Sequence<Box<[f32]>>,
    gradients: &Sequence<Box<[f32]>>,
    first: &mut [f32],
    second: &mut [f32],
    updated: &mut [f32],
    cubes: &Sequence<usize>,
    lengths: &Sequence<usize>,
    moments: &Sequence<usize>,
    outputs: &Sequence<usize>,
    keeps: &Sequence<f32>,
    rates: StepRates,
) {
    #[unroll]
    for i in 0..comptime![lengths.len()] {
        if owns(cubes, i) {
            let from = first_element(cubes, i);
            for k in 0..comptime![PER_UNIT] {
                let at = from + k * comptime![UNITS];
                if at < lengths[i] {
                    let gradient = gradients[i][at] * rates.clip;
                    let place = moments[i] + at;
                    let m = first[place] * rates.beta1 + gradient * rates.rest1;
                    let v = second[place] * rates.beta2 + gradient * gradient * rates.rest2;
                    first[place] = m;
                    second[place] = v;
                    let root = f32::sqrt(v / rates.correction) + rates.epsilon;
                    updated[outputs[i] + at] = values[i][at] * keeps[i] - m * rates.rate / root;
                }
            }
        }
    }
}
