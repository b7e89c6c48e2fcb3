//! How a scan is cut into independent tasks, and running them.

use core::ops::Range;

use super::math::exp;
use super::{LANES, Lanes};
use crate::ScanShape;

/// Floats that one thread transforms at a time where rows stand alone: they stay in its cache.
pub(crate) const PIECE: usize = 1 << 14;
/// Fewest tasks a scan should have; below, states are divided into groups.
const TASKS_WANTED: usize = 4;
/// Fewest states worth a group of their own.
const STATES_PER_GROUP: usize = 4;

/// The cut of a scan: `batch × blocks × groups` tasks, the group varying fastest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    pub(super) shape: ScanShape,
    /// Blocks of up to [`LANES`] channels.
    pub(super) blocks: usize,
    /// Groups of states.
    pub(super) groups: usize,
}

/// A block of channels of one sequence, and a group of its states.
#[derive(Clone, Debug)]
pub(super) struct Task {
    pub(super) sequence: usize,
    /// First channel.
    pub(super) channel: usize,
    /// Row of parameters of the first channel.
    pub(super) parameter: usize,
    /// Channels, at most [`LANES`].
    pub(super) width: usize,
    pub(super) states: Range<usize>,
}

impl Plan {
    pub(super) fn new(shape: ScanShape) -> Self {
        let blocks = shape.channels.div_ceil(LANES);
        let without_groups = (shape.batch * blocks).max(1);
        let groups =
            TASKS_WANTED.div_ceil(without_groups).min(shape.states.div_ceil(STATES_PER_GROUP)).max(1);
        Self { shape, blocks, groups }
    }

    pub(super) fn tasks(&self) -> usize {
        self.shape.batch * self.blocks * self.groups
    }

    /// Index of a task from its sequence, block of channels and group of states.
    pub(super) fn index(&self, sequence: usize, block: usize, group: usize) -> usize {
        (sequence * self.blocks + block) * self.groups + group
    }

    pub(super) fn task(&self, index: usize) -> Task {
        let (group, block) = (index % self.groups, index / self.groups % self.blocks);
        let channel = block * LANES;
        let sequence = index / self.groups / self.blocks;
        Task {
            sequence,
            channel,
            parameter: self.shape.first_parameter(sequence) + channel,
            width: LANES.min(self.shape.channels - channel),
            states: self.states_of(group),
        }
    }

    pub(super) fn states_of(&self, group: usize) -> Range<usize> {
        let states = self.shape.states;
        group * states / self.groups..(group + 1) * states / self.groups
    }

    /// The group of states that a state belongs to, and its place in it.
    pub(super) fn group_of(&self, state: usize) -> (usize, usize) {
        let group = (0..self.groups).rev().find(|&g| self.states_of(g).start <= state).unwrap_or(0);
        (group, state - self.states_of(group).start)
    }
}

impl Task {
    /// This task's channels of the row of a token, further lanes 0.
    #[inline(always)]
    pub(super) fn load(&self, rows: &[f32], channels: usize, token: usize) -> Lanes {
        let start = token * channels + self.channel;
        if let Some(Ok(lanes)) = rows.get(start..start + LANES).map(Lanes::try_from)
            && self.width == LANES
        {
            return lanes;
        }
        let mut lanes = [0.0; LANES];
        lanes[..self.width].copy_from_slice(&rows[start..start + self.width]);
        lanes
    }

    /// This task's part of the rates −exp(a_log), as `[state][lane]`; further lanes 0.
    pub(super) fn load_rates(&self, a_log: &[f32], states: usize) -> Vec<Lanes> {
        self.states
            .clone()
            .map(|n| {
                let mut lanes = [0.0; LANES];
                for (lane, value) in lanes[..self.width].iter_mut().enumerate() {
                    *value = -exp(a_log[(self.parameter + lane) * states + n]);
                }
                lanes
            })
            .collect()
    }
}

/// Threads that tasks are shared out to.
pub(crate) fn threads() -> usize {
    #[cfg(not(target_arch = "wasm32"))]
    return rayon::current_num_threads();
    #[cfg(target_arch = "wasm32")]
    return 1;
}

/// `f(0), f(1), …` in that order, computed on all threads.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn map<R: Send>(count: usize, f: impl Fn(usize) -> R + Sync + Send) -> Vec<R> {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    (0..count).into_par_iter().map(f).collect()
}

/// `f(0), f(1), …` in that order; the browser's worker has one thread.
#[cfg(target_arch = "wasm32")]
pub(super) fn map<R>(count: usize, f: impl Fn(usize) -> R) -> Vec<R> {
    (0..count).map(f).collect()
}

/// `f(0)`, `f(1)`, …, on all threads.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn for_each(count: usize, f: impl Fn(usize) + Sync + Send) {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    (0..count).into_par_iter().for_each(f);
}

/// `f(0)`, `f(1)`, …
#[cfg(target_arch = "wasm32")]
pub(crate) fn for_each(count: usize, f: impl Fn(usize)) {
    (0..count).for_each(f);
}

/// `f` of every item, in the order of the items, computed on all threads.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn map_over<T: Send, R: Send>(items: Vec<T>, f: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    use rayon::iter::{IntoParallelIterator, ParallelIterator};
    items.into_par_iter().map(f).collect()
}

/// `f` of every item, in the order of the items.
#[cfg(target_arch = "wasm32")]
pub(crate) fn map_over<T, R>(items: Vec<T>, f: impl Fn(T) -> R) -> Vec<R> {
    items.into_iter().map(f).collect()
}

/// Fills pieces of `piece` elements of `out` with `f(first element, piece)`, on all threads.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn fill(out: &mut [f32], piece: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) {
    use rayon::iter::{IndexedParallelIterator, ParallelIterator};
    use rayon::slice::ParallelSliceMut;
    out.par_chunks_mut(piece.max(1)).enumerate().for_each(|(i, part)| f(i * piece.max(1), part));
}

/// Fills pieces of `piece` elements of `out` with `f(first element, piece)`.
#[cfg(target_arch = "wasm32")]
pub(crate) fn fill(out: &mut [f32], piece: usize, f: impl Fn(usize, &mut [f32])) {
    out.chunks_mut(piece.max(1)).enumerate().for_each(|(i, part)| f(i * piece.max(1), part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_cover_every_channel_and_state_once() {
        for (batch, channels, states) in [(1, 5, 1), (2, 16, 16), (1, 33, 7), (3, 40, 4), (1, 1, 3)] {
            let plan = Plan::new(ScanShape { batch, length: 9, channels, states, rank: 1, groups: batch });
            let mut seen = vec![0; batch * channels * states];
            for index in 0..plan.tasks() {
                let task = plan.task(index);
                assert_eq!(task.parameter, task.sequence * channels + task.channel);
                for e in task.channel..task.channel + task.width {
                    for n in task.states.clone() {
                        seen[(task.sequence * channels + e) * states + n] += 1;
                        let (group, place) = plan.group_of(n);
                        assert_eq!(plan.index(task.sequence, e / LANES, group), index);
                        assert_eq!(task.states.start + place, n);
                    }
                }
            }
            assert!(seen.iter().all(|&count| count == 1), "{plan:?}");
        }
    }
}
