//! The scan itself.

use super::lanes::store;
use super::math::{exp_with, multiply_add, softplus_with};
use super::output::filled;
use super::simd::{Level, for_every_level};
use super::tasks::{PIECE, Plan, Task, map};
use super::{LANES, Lanes, ScanSlices};

/// `y` `[B, L, E]` of a scan, on all threads.
pub fn forward(inputs: &ScanSlices) -> Vec<f32> {
    let level = Level::detect();
    let shape = inputs.shape;
    if shape.tokens_by_channels() == 0 {
        return Vec::new();
    }
    let steps = steps_of(level, inputs);
    let plan = Plan::new(shape);
    let parts = map(plan.tasks(), |index| {
        let mut part = Vec::with_capacity(shape.length);
        scan_block(level, inputs, &steps, &plan.task(index), &mut part);
        part
    });
    let rows = (PIECE / shape.channels).max(1);
    filled(shape.tokens_by_channels(), rows * shape.channels, |first, piece| {
        for (row, y) in piece.chunks_exact_mut(shape.channels).enumerate() {
            let token = first / shape.channels + row;
            let (sequence, t) = (token / shape.length, token % shape.length);
            let u = &inputs.u[token * shape.channels..][..shape.channels];
            for ((y, u), d) in y.iter_mut().zip(u).zip(inputs.skip(sequence)) {
                *y = d * u;
            }
            for (block, y) in y.chunks_mut(LANES).enumerate() {
                for group in 0..plan.groups {
                    let part = &parts[plan.index(sequence, block, group)][t];
                    for (y, part) in y.iter_mut().zip(part) {
                        *y += part;
                    }
                }
            }
        }
    })
}

/// `softplus(W δ + b)` of every token and channel.
pub(super) fn steps_of(level: Level, inputs: &ScanSlices) -> Vec<f32> {
    let shape = inputs.shape;
    let (blocks, rank) = (shape.channels.div_ceil(LANES), shape.rank);
    // for every set of parameters and block of channels: the biases, then a row of W for every column of δ
    let map: Vec<Lanes> = (0..shape.groups * blocks)
        .flat_map(|block| {
            let first = block / blocks * shape.channels + block % blocks * LANES;
            let width = LANES.min(shape.channels - block % blocks * LANES);
            (0..=rank).map(move |row| {
                let mut lanes = [0.0; LANES];
                for (lane, value) in lanes[..width].iter_mut().enumerate() {
                    let e = first + lane;
                    *value = row
                        .checked_sub(1)
                        .map_or_else(|| inputs.step_bias[e], |r| inputs.step_weight[e * rank + r]);
                }
                lanes
            })
        })
        .collect();
    let rows = (PIECE / shape.channels).max(1);
    filled(shape.tokens_by_channels(), rows * shape.channels, |first, piece| {
        step_rows(level, inputs, &map, first / shape.channels, piece);
    })
}

for_every_level! {
    /// The steps of the rows from a token on.
    fn step_rows = step_rows_body(inputs: &ScanSlices, map: &[Lanes], first: usize, steps: &mut [f32])
}

#[inline(always)]
fn step_rows_body<const FUSED: bool>(inputs: &ScanSlices, map: &[Lanes], first: usize, steps: &mut [f32]) {
    let shape = inputs.shape;
    let blocks = shape.channels.div_ceil(LANES);
    for (row, steps) in steps.chunks_exact_mut(shape.channels).enumerate() {
        let token = first + row;
        let [low, ..] = inputs.columns(token);
        let group = token / shape.length / (shape.batch / shape.groups);
        for block in 0..blocks {
            let map = &map[(group * blocks + block) * (shape.rank + 1)..][..=shape.rank];
            let mut sum = map[0];
            for (weights, &low) in map[1..].iter().zip(low) {
                for i in 0..LANES {
                    sum[i] = multiply_add::<FUSED>(weights[i], low, sum[i]);
                }
            }
            for sum in &mut sum {
                *sum = softplus_with::<FUSED>(*sum);
            }
            store(steps, block * LANES, &sum);
        }
    }
}

for_every_level! {
    /// Appends one task's sum of states for every token, `[token][lane]`.
    fn scan_block = scan_body(inputs: &ScanSlices, steps: &[f32], task: &Task, y: &mut Vec<Lanes>)
}

#[inline(always)]
fn scan_body<const FUSED: bool>(inputs: &ScanSlices, steps: &[f32], task: &Task, y: &mut Vec<Lanes>) {
    let shape = inputs.shape;
    let rates = task.load_rates(inputs.a_log, shape.states);
    let mut h = vec![[0.0f32; LANES]; task.states.len()];
    // not `extend`: its closure would be compiled for the target's baseline
    for t in 0..shape.length {
        let token = task.sequence * shape.length + t;
        let step = task.load(steps, shape.channels, token);
        let u = task.load(inputs.u, shape.channels, token);
        let [_, b, c] = inputs.columns(token);
        let (b, c) = (&b[task.states.clone()], &c[task.states.clone()]);
        let mut drive = [0.0; LANES];
        for i in 0..LANES {
            drive[i] = step[i] * u[i];
        }
        let mut sum = [0.0; LANES];
        for (((h, rate), &b), &c) in h.iter_mut().zip(&rates).zip(b).zip(c) {
            // copies: the compiler need not ask at run time whether these overlap
            let (rate, mut state) = (*rate, *h);
            for i in 0..LANES {
                let decay = exp_with::<FUSED>(step[i] * rate[i]);
                state[i] = multiply_add::<FUSED>(decay, state[i], drive[i] * b);
                sum[i] = multiply_add::<FUSED>(c, state[i], sum[i]);
            }
            *h = state;
        }
        y.push(sum);
    }
}
