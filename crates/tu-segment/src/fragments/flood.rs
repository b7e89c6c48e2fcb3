//! Seeded watershed by priority flood: the lowest voxel next to a label joins it, first come first served.
//!
//! No lines and no background: every voxel that can be reached from a seed gets a label. Voxels wait in one
//! first-in-first-out queue per level, seeds in raster order; a voxel takes the label of whoever saw it first.
//! Levels are small integers, so the flood is linear in the number of voxels.

use std::collections::VecDeque;

/// Spreads the labels of `labels` (0 = free) over a block of levels, in place. `connected_axes` says along which
/// of z, y, x voxels touch.
///
/// Levels must be below `levels`.
pub(super) fn flood(
    labels: &mut [u32],
    heights: &[u16],
    levels: usize,
    shape_zyx: [usize; 3],
    connected_axes: [bool; 3],
) {
    let [depth, height, width] = shape_zyx;
    let strides = crate::affinity::strides(shape_zyx);
    let mut queues: Vec<VecDeque<u32>> = vec![VecDeque::new(); levels];
    for (v, &label) in labels.iter().enumerate() {
        if label != 0 {
            queues[usize::from(heights[v])].push_back(v as u32);
        }
    }
    let mut level = 0;
    while level < levels {
        let Some(v) = queues[level].pop_front() else {
            level += 1;
            continue;
        };
        let v = v as usize;
        let label = labels[v];
        let place = [v / width / height, v / width % height, v % width];
        let extent = [depth, height, width];
        let mut lowest = level;
        let mut visit = |other: usize| {
            if labels[other] == 0 {
                labels[other] = label;
                let its_level = usize::from(heights[other]);
                queues[its_level].push_back(other as u32);
                lowest = lowest.min(its_level);
            }
        };
        for axis in 0..3 {
            if connected_axes[axis] && place[axis] > 0 {
                visit(v - strides[axis]);
            }
        }
        for axis in [2, 1, 0] {
            if connected_axes[axis] && place[axis] + 1 < extent[axis] {
                visit(v + strides[axis]);
            }
        }
        level = lowest;
    }
}
