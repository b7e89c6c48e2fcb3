//! Watershed on the affinity graph by steepest ascent, the algorithm of zwatershed and waterz
//! (Zlateski and Seung 2015, <https://arxiv.org/abs/1505.00249>).
//!
//! Every voxel keeps its edges of largest affinity, and all edges of at least `high`; a voxel all of whose edges
//! are at most `low` keeps none and is background. Water follows kept edges. Voxels that can only exchange water
//! with their equals form plateaus; a plateau with exits is divided among them by breadth-first search from its
//! exits, so that afterwards every voxel flows to exactly one exit. What drains to the same basin is a fragment.

use serde::{Deserialize, Serialize};

use crate::affinity::{AffinityView, quantise_affinity, strides};

/// Settings of the watershed on the affinity graph.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AffinityWatershed {
    /// Edges with at most this affinity are no edges; a voxel without edges is background. In `[0, 1]`.
    pub low: f32,
    /// Edges with at least this affinity always connect. In `[0, 1]`.
    pub high: f32,
}

impl Default for AffinityWatershed {
    fn default() -> Self {
        Self { low: 0.0001, high: 0.9999 }
    }
}

/// Bits 0..6 of a voxel's state: its kept edges, in the order −z, −y, −x, +z, +y, +x.
const EDGES: u32 = 0x3f;
/// The voxel is in the queue or was.
const QUEUED: u32 = 0x40;
/// The state is a label.
const LABELLED: u32 = 1 << 31;

/// The bit by which the voxel at the far end of edge `direction` points back.
fn backward(direction: usize) -> u32 {
    1 << ((direction + 3) % 6)
}

/// Index steps of the six directions.
fn steps(shape_zyx: [usize; 3]) -> [isize; 6] {
    let [z, y, x] = strides(shape_zyx).map(|stride| stride as isize);
    [-z, -y, -x, z, y, x]
}

/// Labels 0 (background), 1..=n of the voxels, z y x.
pub(super) fn watershed(aff: &AffinityView<'_>, settings: &AffinityWatershed) -> Vec<u32> {
    let mut state = kept_edges(aff, settings);
    let steps = steps(aff.shape_zyx());
    divide_plateaus(&mut state, steps);
    label_basins(&mut state, steps);
    state
}

/// Which of its edges each voxel keeps.
fn kept_edges(aff: &AffinityView<'_>, settings: &AffinityWatershed) -> Vec<u32> {
    // Edges across the block's border stand at `low`; `high` above it keeps water inside.
    let low = quantise_affinity(settings.low);
    let high = quantise_affinity(settings.high).max(low.saturating_add(1));
    let [depth, height, width] = aff.shape_zyx();
    let [stride_z, stride_y, _] = strides(aff.shape_zyx());
    let (a_z, a_y, a_x) = (aff.channel(0), aff.channel(1), aff.channel(2));
    let mut state = Vec::with_capacity(aff.voxels());
    for z in 0..depth {
        for y in 0..height {
            let row = (z * height + y) * width;
            for x in 0..width {
                let v = row + x;
                let edges = [
                    if z > 0 { a_z[v] } else { low },
                    if y > 0 { a_y[v] } else { low },
                    if x > 0 { a_x[v] } else { low },
                    if z + 1 < depth { a_z[v + stride_z] } else { low },
                    if y + 1 < height { a_y[v + stride_y] } else { low },
                    if x + 1 < width { a_x[v + 1] } else { low },
                ];
                let largest = edges.into_iter().fold(0, u8::max);
                let bound = largest.min(high);
                let mut kept = 0;
                if largest > low {
                    for (direction, edge) in edges.into_iter().enumerate() {
                        kept |= u32::from(edge >= bound) << direction;
                    }
                }
                state.push(kept);
            }
        }
    }
    state
}

/// Gives every voxel of a plateau that has exits exactly one way out.
fn divide_plateaus(state: &mut [u32], steps: [isize; 6]) {
    let at = |v: u32, direction: usize| (v as isize + steps[direction]) as usize;
    let mut queue = Vec::new();
    for v in 0..state.len() as u32 {
        let edges = state[v as usize];
        let leads_out = |d: usize| edges & (1 << d) != 0 && state[at(v, d)] & backward(d) == 0;
        if (0..6).any(leads_out) {
            state[v as usize] |= QUEUED;
            queue.push(v);
        }
    }
    let mut next = 0;
    while let Some(&v) = queue.get(next) {
        next += 1;
        let mut way_out = 0;
        for direction in 0..6 {
            if state[v as usize] & (1 << direction) == 0 {
                continue;
            }
            let other = at(v, direction);
            if state[other] & backward(direction) == 0 {
                way_out = 1 << direction;
            } else if state[other] & QUEUED == 0 {
                state[other] |= QUEUED;
                queue.push(other as u32);
            }
        }
        state[v as usize] = way_out;
    }
}

/// Turns every state into the label of the basin into which the voxel drains.
fn label_basins(state: &mut [u32], steps: [isize; 6]) {
    let mut path: Vec<u32> = Vec::new();
    let mut basins = 0;
    for start in 0..state.len() {
        if state[start] & LABELLED != 0 {
            continue;
        }
        if state[start] & EDGES == 0 {
            state[start] = LABELLED;
            continue;
        }
        // Follow the water until it meets a labelled voxel or has seen all of a new basin.
        path.clear();
        path.push(start as u32);
        state[start] |= QUEUED;
        let mut label = None;
        let mut next = 0;
        'search: while let Some(&v) = path.get(next) {
            next += 1;
            for (direction, step) in steps.into_iter().enumerate() {
                if state[v as usize] & (1 << direction) == 0 {
                    continue;
                }
                let other = (v as isize + step) as usize;
                if state[other] & LABELLED != 0 {
                    label = Some(state[other]);
                    break 'search;
                }
                if state[other] & QUEUED == 0 {
                    state[other] |= QUEUED;
                    path.push(other as u32);
                }
            }
        }
        let label = label.unwrap_or_else(|| {
            basins += 1;
            LABELLED | basins
        });
        for &v in &path {
            state[v as usize] = label;
        }
    }
    for label in state {
        *label &= !LABELLED;
    }
}
