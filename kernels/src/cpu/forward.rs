//! The scan itself.

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
    let steps = softplus_of(level, inputs.delta);
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
            let u = &inputs.u[token * shape.channels..][..shape.channels];
            for ((y, u), d) in y.iter_mut().zip(u).zip(inputs.d) {
                *y = d * u;
            }
            let (sequence, t) = (token / shape.length, token % shape.length);
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

/// `softplus` of every element.
pub(super) fn softplus_of(level: Level, delta: &[f32]) -> Vec<f32> {
    filled(delta.len(), PIECE, |first, piece| {
        softplus_piece(level, &delta[first..first + piece.len()], piece);
    })
}

for_every_level! {
    fn softplus_piece = softplus_body(delta: &[f32], steps: &mut [f32])
}

#[inline(always)]
fn softplus_body<const FUSED: bool>(delta: &[f32], steps: &mut [f32]) {
    for (step, &delta) in steps.iter_mut().zip(delta) {
        *step = softplus_with::<FUSED>(delta);
    }
}

for_every_level! {
    /// Appends one task's sum of states for every token, `[token][lane]`.
    fn scan_block = scan_body(inputs: &ScanSlices, steps: &[f32], task: &Task, y: &mut Vec<Lanes>)
}

#[inline(always)]
fn scan_body<const FUSED: bool>(inputs: &ScanSlices, steps: &[f32], task: &Task, y: &mut Vec<Lanes>) {
    let shape = inputs.shape;
    let a = task.load_a(inputs.a, shape.states);
    let mut h = vec![[0.0f32; LANES]; task.states.len()];
    // not `extend`: its closure would be compiled for the target's baseline
    for t in 0..shape.length {
        let token = task.sequence * shape.length + t;
        let step = task.load(steps, shape.channels, token);
        let u = task.load(inputs.u, shape.channels, token);
        let b = &inputs.b[token * shape.states..][task.states.clone()];
        let c = &inputs.c[token * shape.states..][task.states.clone()];
        let mut drive = [0.0; LANES];
        for i in 0..LANES {
            drive[i] = step[i] * u[i];
        }
        let mut sum = [0.0; LANES];
        for (((h, a), &b), &c) in h.iter_mut().zip(&a).zip(b).zip(c) {
            // copies: the compiler need not ask at run time whether these overlap
            let (a, mut state) = (*a, *h);
            for i in 0..LANES {
                let decay = exp_with::<FUSED>(step[i] * a[i]);
                state[i] = multiply_add::<FUSED>(decay, state[i], drive[i] * b);
                sum[i] = multiply_add::<FUSED>(c, state[i], sum[i]);
            }
            *h = state;
        }
        y.push(sum);
    }
}
