//! Seeded watershed slice by slice, for serial sections, where neighbouring slices show little of each other.
//!
//! Per z slice: boundary `b = 1 − ½(a_y + a_x)`, squared Euclidean distance transform of `b < ½`, regional maxima
//! (4-connected plateaus) as seeds, flooding of `b` (4-connected, no lines, no background). Labels are unique over
//! the slices. A slice without any boundary, or of nothing but boundary, is one fragment.

use serde::{Deserialize, Serialize};

use super::distance::squared_distance;
use super::flood::flood;
use super::maxima::{Connectivity, regional_maxima};
use crate::affinity::AffinityView;

/// Settings of the seeded watershed slice by slice; there are none yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SliceWatershed {}

/// Number of levels of the summed boundary map.
const LEVELS: usize = 2 * 255 + 1;
/// `mean((bin + ½)/256) > ½` iff the sum of two bins is at least 256.
const INSIDE_SUM: u16 = 256;

/// Labels 1..=n of the voxels, z y x.
pub(super) fn watershed(aff: &AffinityView<'_>, _settings: &SliceWatershed) -> Vec<u32> {
    let [_, height, width] = aff.shape_zyx();
    let plane = height * width;
    let mut labels = Vec::with_capacity(aff.voxels());
    if aff.voxels() == 0 {
        return labels;
    }
    let mut made = 0;
    for (a_y, a_x) in aff.channel(1).chunks_exact(plane).zip(aff.channel(2).chunks_exact(plane)) {
        let sums = a_y.iter().zip(a_x).map(|(&y, &x)| u16::from(y) + u16::from(x));
        let boundary: Vec<bool> = sums.clone().map(|sum| sum < INSIDE_SUM).collect();
        let heights: Vec<u16> = sums.map(|sum| LEVELS as u16 - 1 - sum).collect();
        let shape_zyx = [1, height, width];
        let distances = squared_distance(&boundary, shape_zyx, [1.0; 3]);
        let (mut slice, seeds) = regional_maxima(&distances, shape_zyx, Connectivity::Plane4);
        flood(&mut slice, &heights, LEVELS, shape_zyx, [false, true, true]);
        labels.extend(slice.into_iter().map(|label| label + made));
        made += seeds;
    }
    labels
}
