//! Seeded watershed of the boundary map in three dimensions.
//!
//! The boundary of a voxel is `b = 1 − ⅓(a_z + a_y + a_x)`. Voxels with `b ≥ ½` are boundary; the others' exact
//! Euclidean distance to it, in units of the voxel spacing, is smoothed, and its regional maxima
//! (plateaus, 26-connected) are the seeds from which `b` is flooded (6-connected, no lines, no background).
//!
//! Bins are summed rather than averaged: `b` has 766 levels, all arithmetic on it is exact.

use serde::{Deserialize, Serialize};

use super::distance::{UNREACHED, squared_distance};
use super::flood::flood;
use super::maxima::{Connectivity, regional_maxima};
use crate::affinity::{AffinityView, strides};

/// Settings of the seeded watershed in three dimensions.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SeededWatershed {
    /// Size of a voxel (any unit, only proportions matter), z y x: distances are measured in it. Non-positive
    /// or non-finite sizes count as isotropic.
    pub voxel_nm_zyx: [f32; 3],
    /// How often the distances are smoothed with the kernel (1, 2, 1)/4 before maxima are sought, along the axis of the
    /// smallest side; along others as often as gives the same width in nm. `n` passes are a Gaussian of σ = √(n/2) voxels. More
    /// leave fewer seeds; none makes a seed of every bump.
    pub smoothing: u8,
}

impl Default for SeededWatershed {
    fn default() -> Self {
        Self { voxel_nm_zyx: [1.0; 3], smoothing: 1 }
    }
}

/// Number of levels of the summed boundary map.
const LEVELS: usize = 3 * 255 + 1;
/// `mean((bin + ½)/256) > ½` iff the sum of three bins is at least 383.
const INSIDE_SUM: u16 = 383;

/// Labels 1..=n of the voxels, z y x.
pub(super) fn watershed(aff: &AffinityView<'_>, settings: &SeededWatershed) -> Vec<u32> {
    let shape_zyx = aff.shape_zyx();
    let channels = aff.channel(0).iter().zip(aff.channel(1)).zip(aff.channel(2));
    let mut heights: Vec<u16> =
        channels.map(|((&z, &y), &x)| u16::from(z) + u16::from(y) + u16::from(x)).collect();
    let boundary: Vec<bool> = heights.iter().map(|&sum| sum < INSIDE_SUM).collect();
    for height in &mut heights {
        *height = LEVELS as u16 - 1 - *height;
    }
    let spacing = spacing(settings.voxel_nm_zyx);
    let mut distances = squared_distance(&boundary, shape_zyx, spacing);
    drop(boundary);
    if settings.smoothing > 0 && distances.first().is_some_and(|&d| d != UNREACHED) {
        for distance in &mut distances {
            *distance = distance.sqrt();
        }
        smooth(&mut distances, shape_zyx, spacing.map(|side| passes_along(settings.smoothing, side)));
    }
    let (mut labels, _) = regional_maxima(&distances, shape_zyx, Connectivity::Volume26);
    drop(distances);
    flood(&mut labels, &heights, LEVELS, shape_zyx, [true; 3]);
    labels
}

/// The voxel's size in units of its smallest side, so that isotropic distances are whole numbers.
fn spacing(voxel_zyx: [f32; 3]) -> [f32; 3] {
    if voxel_zyx.iter().any(|&side| !side.is_finite() || side <= 0.0) {
        return [1.0; 3];
    }
    let smallest = voxel_zyx.into_iter().fold(f32::INFINITY, f32::min);
    voxel_zyx.map(|side| side / smallest)
}

/// Passes along an axis that widen as much, in the unit of the voxel's size, as `passes` along its smallest side: a pass adds
/// half a voxel² to the variance.
fn passes_along(passes: u8, spacing: f32) -> u32 {
    (f32::from(passes) / (spacing * spacing)).round() as u32
}

/// One pass along a line whose voxels lie next to each other.
fn smooth_line(line: &mut [f32]) {
    let mut before = line[0];
    for i in 0..line.len() {
        let here = line[i];
        let after = line.get(i + 1).copied().unwrap_or(here);
        line[i] = 0.25 * (before + after) + 0.5 * here;
        before = here;
    }
}

/// Passes of (1, 2, 1)/4 along every axis; beyond the border the outermost voxel is repeated.
fn smooth(values: &mut [f32], shape_zyx: [usize; 3], passes_zyx: [u32; 3]) {
    let strides = strides(shape_zyx);
    let mut before = Vec::new();
    let mut here = Vec::new();
    for axis in 0..3 {
        let (length, stride) = (shape_zyx[axis], strides[axis]);
        if length < 2 {
            continue;
        }
        for lines in values.chunks_exact_mut(length * stride) {
            for _ in 0..passes_zyx[axis] {
                if stride == 1 {
                    smooth_line(lines);
                    continue;
                }
                before.clear();
                before.extend_from_slice(&lines[..stride]);
                for i in 0..length {
                    here.clear();
                    here.extend_from_slice(&lines[i * stride..][..stride]);
                    let (now, later) = lines[i * stride..].split_at_mut(stride);
                    let after = if i + 1 < length { &later[..stride] } else { &here[..] };
                    for ((value, before), (here, after)) in
                        now.iter_mut().zip(&before).zip(here.iter().zip(after))
                    {
                        *value = 0.25 * (before + after) + 0.5 * here;
                    }
                    std::mem::swap(&mut before, &mut here);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pass along one axis, voxel by voxel.
    fn pass(values: &[f32], shape_zyx: [usize; 3], axis: usize) -> Vec<f32> {
        let [_, height, width] = shape_zyx;
        (0..values.len())
            .map(|v| {
                let place = [v / width / height, v / width % height, v % width];
                let at = |step: isize| {
                    let mut there = place;
                    let last = shape_zyx[axis] as isize - 1;
                    there[axis] = (place[axis] as isize + step).clamp(0, last) as usize;
                    values[(there[0] * height + there[1]) * width + there[2]]
                };
                0.25 * (at(-1) + at(1)) + 0.5 * at(0)
            })
            .collect()
    }

    #[test]
    fn smoothing_is_the_kernel_along_each_axis_with_the_border_repeated() {
        for shape in [[3, 4, 5], [1, 4, 5], [4, 1, 3], [2, 3, 1]] {
            let voxels = shape.iter().product();
            let values: Vec<f32> = (0..voxels).map(|v| ((v * 37) % 23) as f32).collect();
            let (mut smoothed, mut expected) = (values.clone(), values);
            smooth(&mut smoothed, shape, [1, 3, 2]);
            for (axis, passes) in [(0, 1), (1, 3), (2, 2)] {
                for _ in 0..passes {
                    expected = pass(&expected, shape, axis);
                }
            }
            assert_eq!(smoothed, expected, "{shape:?}");
        }
    }

    #[test]
    fn tall_voxels_are_smoothed_as_far_in_nanometres_as_flat_ones() {
        let passes = |voxel_nm: [f32; 3], passes| spacing(voxel_nm).map(|side| passes_along(passes, side));
        assert_eq!(passes([10.0; 3], 18), [18; 3]);
        assert_eq!(passes([20.0, 10.0, 10.0], 18), [5, 18, 18]);
        assert_eq!(passes([40.0, 4.0, 4.0], 18), [0, 18, 18]);
        assert_eq!(passes([0.0; 3], 4), [4; 3]);
    }
}
