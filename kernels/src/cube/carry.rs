//! Step 2: the recurrence over chunks, in place: what a chunk ends with becomes what the next starts with.
//!
//! A cube takes 16 pairs of channel and state; for each, 16 units walk a segment of the chunks, learn from the
//! other segments where theirs starts, and walk it again.

use cubecl::prelude::*;

use super::{LANES, SEGMENTS};

/// `directions` 1: states forwards in time, rows of a chunk `[N states, ΣΔ]`. `directions` 2: in addition the
/// gradients of states backwards, rows `[N states, ΣΔ, N gradients]`. The head of `carry` gets the parameters.
#[cube(launch)]
pub(super) fn carry_over_chunks(
    step_weight: &[f32],
    step_bias: &[f32],
    a_log: &[f32],
    d: &[f32],
    carry: &mut [f32],
    channels: usize,
    per_group: usize,
    groups: usize,
    chunks: usize,
    items: usize,
    #[comptime] states: usize,
    #[comptime] rank: usize,
    #[comptime] directions: usize,
) {
    let mut decays = Shared::<[f32]>::new_slice(comptime![LANES * SEGMENTS]);
    let mut ends = Shared::<[f32]>::new_slice(comptime![LANES * SEGMENTS]);
    let lane = UNIT_POS_X as usize;
    let segment = UNIT_POS_Y as usize;
    let item = CUBE_POS * comptime![LANES] + lane;
    let pairs = channels * states;
    let e = item % channels;
    let n = (item / channels) % states;
    let direction = (item / pairs) % directions;
    let sequence = item / (pairs * directions);
    let rows = comptime![states * directions + 1];
    let head_rows = comptime![states + 2 + rank];
    let head = head_rows * groups * channels;
    let group = sequence / per_group;
    let parameter = group * channels + e;
    let base = head + sequence * chunks * rows * channels + e;
    let mut row = n;
    if direction == 1 {
        row = comptime![states + 1] + n;
    }
    let piece = (chunks + comptime![SEGMENTS - 1]) / comptime![SEGMENTS];
    let mut from = segment * piece;
    let mut to = from + piece;
    if to > chunks {
        to = chunks;
    }
    let mut rate = 0.0f32;
    if item < items {
        rate = -f32::exp(a_log[parameter * states + n]);
    } else {
        from = 0;
        to = 0;
    }
    let mut decay = 1.0f32;
    let mut end = 0.0f32;
    for i in from..to {
        let mut k = i;
        if direction == 1 {
            k = chunks - 1 - i;
        }
        let at = base + k * rows * channels;
        let factor = f32::exp(rate * carry[at + states * channels]);
        end = factor * end + carry[at + row * channels];
        decay *= factor;
    }
    decays[segment * comptime![LANES] + lane] = decay;
    ends[segment * comptime![LANES] + lane] = end;
    sync_cube();
    let mut start = 0.0f32;
    for s in 0..segment {
        start = decays[s * comptime![LANES] + lane] * start + ends[s * comptime![LANES] + lane];
    }
    for i in from..to {
        let mut k = i;
        if direction == 1 {
            k = chunks - 1 - i;
        }
        let at = base + k * rows * channels;
        let factor = f32::exp(rate * carry[at + states * channels]);
        let own = carry[at + row * channels];
        carry[at + row * channels] = start;
        start = factor * start + own;
    }
    // the first sequence of a set of parameters writes them down
    let in_group = sequence % per_group;
    if item < items && segment == 0 && direction == 0 && in_group == 0 {
        let own = group * head_rows * channels + e;
        carry[own + n * channels] = rate;
        if n == 0 {
            carry[own + states * channels] = d[parameter];
            carry[own + comptime![states + 1] * channels] = step_bias[parameter];
            for r in 0..rank {
                carry[own + (comptime![states + 2] + r) * channels] = step_weight[parameter * rank + r];
            }
        }
    }
}
