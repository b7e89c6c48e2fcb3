//! Gradients of the scan: per task, states are recomputed between checkpoints and the tokens visited backwards.
//! The mathematics is in [`reference`](crate::reference).

use super::forward::steps_of;
use super::math::{exp, exp_with, multiply_add, sigmoid_of_softplus_with};
use super::simd::{Level, for_every_level};
use super::tasks::{PIECE, Plan, Task, fill, map, map_over};
use super::{LANES, Lanes, ScanSlices};
use crate::projection::Layout;
use crate::projection::cpu::{ProjectionShape, forward as project, weight_gradient};
use crate::scan::ScanGradients;

/// What a task reads in both directions.
#[derive(Clone, Copy)]
struct Walk<'a> {
    inputs: &'a ScanSlices<'a>,
    /// `softplus(W δ + b)`
    steps: &'a [f32],
    task: &'a Task,
    /// Tokens between two kept states.
    interval: usize,
}

/// What one task contributes; sums over its own states or its own channels only.
struct Part {
    /// `Σ_n G_t[n] B_t[n]`, `[token][lane]`
    drive: Vec<Lanes>,
    /// `Σ_n G_t[n] a_t[n] h_{t-1}[n] A[n]`, `[token][lane]`
    decayed: Vec<Lanes>,
    /// `∂A`, `[state][lane]`
    a: Vec<[f64; LANES]>,
    /// `Σ_e`, `[token][state]`
    b: Vec<f32>,
    /// `Σ_e`, `[token][state]`
    c: Vec<f32>,
    /// `∂D`, `[lane]`
    d: [f64; LANES],
}

/// Gradients of `Σ y ⊙ y_grad`, on all threads; `y_grad` is `[B, L, E]`. The state of one token in `interval`
/// (at least 1) is kept.
pub fn gradients(inputs: &ScanSlices, y_grad: &[f32], interval: usize) -> ScanGradients<Vec<f32>> {
    let level = Level::detect();
    let shape = inputs.shape;
    let interval = interval.clamp(1, shape.length.max(1));
    let mut out = ScanGradients {
        u: vec![0.0; shape.tokens_by_channels()],
        projected: vec![0.0; shape.tokens_by_width()],
        step_weight: vec![0.0; inputs.step_weight.len()],
        step_bias: vec![0.0; inputs.step_bias.len()],
        a_log: vec![0.0; inputs.a_log.len()],
        d: vec![0.0; inputs.d.len()],
    };
    if out.u.is_empty() {
        return out;
    }
    let steps = steps_of(level, inputs);
    let plan = Plan::new(shape);
    let parts = map(plan.tasks(), |index| {
        let task = plan.task(index);
        let mut part = Part {
            drive: vec![[0.0; LANES]; shape.length],
            decayed: vec![[0.0; LANES]; shape.length],
            a: vec![[0.0; LANES]; task.states.len()],
            b: vec![0.0; shape.length * task.states.len()],
            c: vec![0.0; shape.length * task.states.len()],
            d: [0.0; LANES],
        };
        let walk = Walk { inputs, steps: &steps, task: &task, interval };
        let checkpoints = checkpoints(level, walk);
        reverse_block(level, walk, y_grad, &checkpoints, &mut part);
        part
    });
    let gather = Gather { level, inputs, steps: &steps, y_grad, plan: &plan, parts: &parts };
    let rows = PIECE / shape.channels.max(shape.width()) + 1;
    fill(&mut out.u, rows * shape.channels, |first, piece| gather.u(first, piece));
    let mut raw = vec![0.0; shape.tokens_by_channels()];
    fill(&mut raw, rows * shape.channels, |first, piece| gather.raw_steps(first, piece));
    gather.parameters(&mut out.a_log, &mut out.d);
    let low = step_map(inputs, &raw, &mut out);
    fill(&mut out.projected, rows * shape.width(), |first, piece| gather.columns(first, piece, &low));
    out
}

/// The gradients of W and b out of those of `raw = W δ + b` `[B, L, E]`; returns that of δ `[B, L, R]`.
fn step_map(inputs: &ScanSlices, raw: &[f32], out: &mut ScanGradients<Vec<f32>>) -> Vec<f32> {
    const TOKENS: [Layout; 2] = [Layout::Tokens; 2];
    let shape = inputs.shape;
    let (channels, rank) = (shape.channels, shape.rank);
    let positions = shape.batch / shape.groups * shape.length;
    let mut low_grad = Vec::with_capacity(shape.batch * shape.length * rank);
    for group in 0..shape.groups {
        let raw = &raw[group * positions * channels..][..positions * channels];
        let tokens = group * positions..(group + 1) * positions;
        let low: Vec<f32> = tokens.flat_map(|token| inputs.columns(token)[0].iter().copied()).collect();
        let weight = &inputs.step_weight[group * channels * rank..][..channels * rank];
        let map = ProjectionShape { batch: 1, input: rank, output: channels, positions };
        out.step_weight[group * channels * rank..][..channels * rank]
            .copy_from_slice(&weight_gradient(&low, raw, &map, TOKENS));
        out.step_bias[group * channels..][..channels].copy_from_slice(&column_sums(raw, channels));
        let transposed: Vec<f32> =
            (0..rank).flat_map(|r| (0..channels).map(move |e| weight[e * rank + r])).collect();
        let back = ProjectionShape { batch: 1, input: channels, output: rank, positions };
        low_grad.extend(project(raw, &transposed, &[], &back, TOKENS));
    }
    low_grad
}

/// Sums of the columns of rows of `columns` values.
fn column_sums(values: &[f32], columns: usize) -> Vec<f32> {
    let pieces = values.chunks(PIECE.div_ceil(columns) * columns).collect();
    let parts = map_over(pieces, |piece: &[f32]| {
        let mut sums = vec![0.0f64; columns];
        for row in piece.chunks_exact(columns) {
            sums.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        sums
    });
    let mut sums = vec![0.0f64; columns];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}

/// Adds the tasks' contributions up, in the order of blocks and groups.
struct Gather<'a> {
    level: Level,
    inputs: &'a ScanSlices<'a>,
    steps: &'a [f32],
    y_grad: &'a [f32],
    plan: &'a Plan,
    parts: &'a [Part],
}

impl Gather<'_> {
    /// Adds the groups' parts of some tokens' rows, `[token][lane]` each, up into `[token][channel]`.
    fn over_groups(&self, first: usize, piece: &mut [f32], of: impl Fn(&Part) -> &[Lanes]) {
        let shape = self.plan.shape;
        for (row, out) in piece.chunks_exact_mut(shape.channels).enumerate() {
            let token = first / shape.channels + row;
            let (sequence, t) = (token / shape.length, token % shape.length);
            for (block, out) in out.chunks_mut(LANES).enumerate() {
                for group in 0..self.plan.groups {
                    let part = &of(&self.parts[self.plan.index(sequence, block, group)])[t];
                    for (out, part) in out.iter_mut().zip(part) {
                        *out += part;
                    }
                }
            }
        }
    }

    fn u(&self, first: usize, piece: &mut [f32]) {
        self.over_groups(first, piece, |part| &part.drive);
        let (shape, here) = (self.plan.shape, first..first + piece.len());
        let rows = piece.chunks_exact_mut(shape.channels).enumerate();
        let (steps, y_grad) = (&self.steps[here.clone()], &self.y_grad[here]);
        let given = steps.chunks_exact(shape.channels).zip(y_grad.chunks_exact(shape.channels));
        for ((row, out), (steps, y_grad)) in rows.zip(given) {
            let skip = self.inputs.skip((first / shape.channels + row) / shape.length);
            for (((out, step), grad), d) in out.iter_mut().zip(steps).zip(y_grad).zip(skip) {
                *out = step * *out + d * grad;
            }
        }
    }

    /// Gradients of `W δ + b`.
    fn raw_steps(&self, first: usize, piece: &mut [f32]) {
        let mut drive = vec![0.0; piece.len()];
        self.over_groups(first, &mut drive, |part| &part.drive);
        self.over_groups(first, piece, |part| &part.decayed);
        let here = first..first + piece.len();
        sigmoid_piece(self.level, &self.steps[here.clone()], &self.inputs.u[here], &drive, piece);
    }

    fn parameters(&self, a_log: &mut [f32], d: &mut [f32]) {
        let shape = self.plan.shape;
        let together = shape.batch / shape.groups;
        for (row, d) in d.iter_mut().enumerate() {
            let (e, first) = (row % shape.channels, row / shape.channels * together);
            let of = |sequence, group| &self.parts[self.plan.index(sequence, e / LANES, group)];
            let sequences = first..first + together;
            *d = sequences.clone().map(|sequence| of(sequence, 0).d[e % LANES]).sum::<f64>() as f32;
            for n in 0..shape.states {
                let (group, place) = self.plan.group_of(n);
                let rates: f64 = sequences.clone().map(|s| of(s, group).a[place][e % LANES]).sum();
                let at = row * shape.states + n;
                a_log[at] = (rates * -f64::from(exp(self.inputs.a_log[at]))) as f32;
            }
        }
    }

    /// Gradients of δ (given as `low`, `[B, L, R]`), B and C.
    fn columns(&self, first: usize, piece: &mut [f32], low: &[f32]) {
        let shape = self.plan.shape;
        for (row, out) in piece.chunks_exact_mut(shape.width()).enumerate() {
            let token = first / shape.width() + row;
            let (own_low, states) = out.split_at_mut(shape.rank);
            let (b, c) = states.split_at_mut(shape.states);
            own_low.copy_from_slice(&low[token * shape.rank..][..shape.rank]);
            self.over_channels(token, b, |part| &part.b);
            self.over_channels(token, c, |part| &part.c);
        }
    }

    /// Adds the blocks' parts of a token's row of states up.
    fn over_channels(&self, token: usize, out: &mut [f32], of: impl Fn(&Part) -> &[f32]) {
        let (sequence, t) = (token / self.plan.shape.length, token % self.plan.shape.length);
        for group in 0..self.plan.groups {
            let states = self.plan.states_of(group);
            for block in 0..self.plan.blocks {
                let part = of(&self.parts[self.plan.index(sequence, block, group)]);
                let row = &part[t * states.len()..][..states.len()];
                for (out, value) in out[states.clone()].iter_mut().zip(row) {
                    *out += value;
                }
            }
        }
    }
}

for_every_level! {
    /// `(u drive + out) σ`, element by element, where the step is the softplus of what σ is the logistic function of.
    fn sigmoid_piece = sigmoid_body(steps: &[f32], u: &[f32], drive: &[f32], out: &mut [f32])
}

#[inline(always)]
fn sigmoid_body<const FUSED: bool>(steps: &[f32], u: &[f32], drive: &[f32], out: &mut [f32]) {
    for (((out, drive), u), &step) in out.iter_mut().zip(drive).zip(u).zip(steps) {
        *out = (u * drive + *out) * sigmoid_of_softplus_with::<FUSED>(step);
    }
}

for_every_level! {
    /// The state before tokens 0, `interval`, …, as `[checkpoint][state][lane]`.
    fn checkpoints = checkpoints_body(walk: Walk) -> Vec<Lanes>
}

#[inline(always)]
fn checkpoints_body<const FUSED: bool>(walk: Walk) -> Vec<Lanes> {
    let Walk { inputs, steps, task, interval } = walk;
    let shape = inputs.shape;
    let a = task.load_rates(inputs.a_log, shape.states);
    let mut h = vec![[0.0f32; LANES]; a.len()];
    let mut out = Vec::with_capacity(shape.length.div_ceil(interval) * a.len());
    for t in 0..shape.length {
        if t % interval == 0 {
            out.extend_from_slice(&h);
        }
        let token = task.sequence * shape.length + t;
        let step = task.load(steps, shape.channels, token);
        let u = task.load(inputs.u, shape.channels, token);
        let b = &inputs.columns(token)[1][task.states.clone()];
        for ((h, a), &b) in h.iter_mut().zip(&a).zip(b) {
            let (a, mut state) = (*a, *h);
            for i in 0..LANES {
                let decay = exp_with::<FUSED>(step[i] * a[i]);
                state[i] = multiply_add::<FUSED>(decay, state[i], step[i] * u[i] * b);
            }
            *h = state;
        }
    }
    out
}

for_every_level! {
    /// Visits the tokens backwards and fills `part`.
    fn reverse_block = reverse_body(walk: Walk, y_grad: &[f32], checkpoints: &[Lanes], part: &mut Part)
}

#[inline(always)]
fn reverse_body<const FUSED: bool>(walk: Walk, y_grad: &[f32], checkpoints: &[Lanes], part: &mut Part) {
    let Walk { inputs, steps, task, interval } = walk;
    let shape = inputs.shape;
    let a = task.load_rates(inputs.a_log, shape.states);
    let states = a.len();
    // state[t] is the state before the t-th token of the stretch
    let mut state = vec![[0.0f32; LANES]; (interval + 1) * states];
    let mut decays = vec![[0.0f32; LANES]; interval * states];
    let mut later = vec![[0.0f32; LANES]; states]; // a_{t+1} G_{t+1}
    let mut a_grad = vec![[0.0f32; LANES]; states];
    let (mut to_b, mut to_c) = (a_grad.clone(), a_grad.clone());
    for stretch in (0..shape.length.div_ceil(interval)).rev() {
        let first = stretch * interval;
        let count = interval.min(shape.length - first);
        state[..states].copy_from_slice(&checkpoints[stretch * states..][..states]);
        for t in 0..count {
            let token = task.sequence * shape.length + first + t;
            let step = task.load(steps, shape.channels, token);
            let u = task.load(inputs.u, shape.channels, token);
            let b = &inputs.columns(token)[1][task.states.clone()];
            let (before, after) = state.split_at_mut((t + 1) * states);
            let before = &before[t * states..];
            let decays = &mut decays[t * states..][..states];
            for ((((after, before), decay), a), &b) in after.iter_mut().zip(before).zip(decays).zip(&a).zip(b)
            {
                let (a, before) = (*a, *before);
                let (mut factor, mut next) = ([0.0f32; LANES], [0.0f32; LANES]);
                for i in 0..LANES {
                    factor[i] = exp_with::<FUSED>(step[i] * a[i]);
                    next[i] = multiply_add::<FUSED>(factor[i], before[i], step[i] * u[i] * b);
                }
                (*decay, *after) = (factor, next);
            }
        }
        let mut d_grad = [0.0f32; LANES];
        for t in (0..count).rev() {
            let token = task.sequence * shape.length + first + t;
            let step = task.load(steps, shape.channels, token);
            let u = task.load(inputs.u, shape.channels, token);
            let g = task.load(y_grad, shape.channels, token);
            let [_, b, c] = inputs.columns(token);
            let (b, c) = (&b[task.states.clone()], &c[task.states.clone()]);
            let before = &state[t * states..][..states];
            let after = &state[(t + 1) * states..][..states];
            let decays = &decays[t * states..][..states];
            let b_grad = &mut part.b[(first + t) * states..][..states];
            let c_grad = &mut part.c[(first + t) * states..][..states];
            let (mut drive, mut decayed) = ([0.0f32; LANES], [0.0f32; LANES]);
            let (a, later, a_grad) = (&a[..states], &mut later[..states], &mut a_grad[..states]);
            let (to_b, to_c) = (&mut to_b[..states], &mut to_c[..states]);
            for n in 0..states {
                // copies: the compiler need not ask at run time whether these overlap
                let (before, after, decay, a) = (before[n], after[n], decays[n], a[n]);
                let (mut leaving, mut rate) = (later[n], a_grad[n]);
                let (mut row_b, mut row_c) = ([0.0f32; LANES], [0.0f32; LANES]);
                for i in 0..LANES {
                    let grad_h = multiply_add::<FUSED>(c[n], g[i], leaving[i]);
                    leaving[i] = decay[i] * grad_h;
                    let through = leaving[i] * before[i];
                    drive[i] = multiply_add::<FUSED>(grad_h, b[n], drive[i]);
                    decayed[i] = multiply_add::<FUSED>(through, a[i], decayed[i]);
                    rate[i] = multiply_add::<FUSED>(through, step[i], rate[i]);
                    row_b[i] = grad_h * (step[i] * u[i]);
                    row_c[i] = g[i] * after[i];
                }
                (later[n], a_grad[n], to_b[n], to_c[n]) = (leaving, rate, row_b, row_c);
            }
            sum_lanes(to_b, task.width, b_grad);
            sum_lanes(to_c, task.width, c_grad);
            part.drive[first + t] = drive;
            part.decayed[first + t] = decayed;
            for i in 0..LANES {
                d_grad[i] = multiply_add::<FUSED>(g[i], u[i], d_grad[i]);
            }
        }
        // f32 within a stretch, f64 over the whole sequence
        for (total, stretch) in part.a.iter_mut().zip(&mut a_grad) {
            for i in 0..LANES {
                total[i] += f64::from(stretch[i]);
                stretch[i] = 0.0;
            }
        }
        for (total, stretch) in part.d.iter_mut().zip(d_grad) {
            *total += f64::from(stretch);
        }
    }
}

/// Sums of the first `width` lanes of every row, in the same order on every machine. A channel that does not exist
/// is left out: 0 times an infinite `B` or `C` is no 0.
#[inline(always)]
fn sum_lanes(rows: &[Lanes], width: usize, sums: &mut [f32]) {
    if width < LANES {
        for (sum, row) in sums.iter_mut().zip(rows) {
            *sum = row[..width].iter().sum();
        }
        return;
    }
    for (sum, row) in sums.iter_mut().zip(rows) {
        let mut four = [0.0f32; 4];
        for (i, four) in four.iter_mut().enumerate() {
            *four = (row[i] + row[i + 4]) + (row[i + 8] + row[i + 12]);
        }
        *sum = (four[0] + four[2]) + (four[1] + four[3]);
    }
}
