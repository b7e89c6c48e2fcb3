//! What a network that predicts affinities is trained on, made from a segmentation.

use crate::affinity::strides;

/// Target affinities `[3, z, y, x]` (values 0 and 1, channels z, y, x) of a segmentation.
///
/// `a_c[v] = 1` iff `labels[v] == labels[v − e_c]` and both are positive. The first voxel along an axis has no
/// predecessor: its affinity is 1 iff its own label is positive.
///
/// # Panics
/// If `labels` does not have `shape_zyx` voxels.
pub fn affinities_of_labels(labels: &[u64], shape_zyx: [usize; 3]) -> Vec<u8> {
    assert_eq!(labels.len(), shape_zyx.iter().product::<usize>(), "labels must have {shape_zyx:?} voxels");
    let [depth, height, width] = shape_zyx;
    let strides = strides(shape_zyx);
    let mut affinities = Vec::with_capacity(3 * labels.len());
    for (axis, stride) in strides.into_iter().enumerate() {
        for z in 0..depth {
            for y in 0..height {
                let row = (z * height + y) * width;
                affinities.extend((0..width).map(|x| {
                    let label = labels[row + x];
                    let first = [z, y, x][axis] == 0;
                    u8::from(label > 0 && (first || labels[row + x - stride] == label))
                }));
            }
        }
    }
    affinities
}

/// Widens the borders between neurons in place: per z slice, a voxel becomes 0 if its 3×3 neighbourhood holds
/// two different positive labels.
///
/// The neighbourhood is clipped at the slice's border, which is the same as reflecting the slice there, since
/// reflection only repeats voxels that the neighbourhood already holds.
///
/// # Panics
/// If `labels` does not have `shape_zyx` voxels.
pub fn widen_borders(labels: &mut [u64], shape_zyx: [usize; 3]) {
    assert_eq!(labels.len(), shape_zyx.iter().product::<usize>(), "labels must have {shape_zyx:?} voxels");
    let [_, height, width] = shape_zyx;
    if labels.is_empty() {
        return;
    }
    let mut original = vec![0; height * width];
    for slice in labels.chunks_exact_mut(height * width) {
        original.copy_from_slice(slice);
        for y in 0..height {
            let rows = y.saturating_sub(1)..(y + 2).min(height);
            for x in 0..width {
                let columns = x.saturating_sub(1)..(x + 2).min(width);
                let mut seen = 0;
                let crowded = rows.clone().any(|row| {
                    original[row * width..][columns.clone()].iter().any(|&label| {
                        let other = label > 0 && seen > 0 && label != seen;
                        seen = if label > 0 { label } else { seen };
                        other
                    })
                });
                if crowded {
                    slice[y * width + x] = 0;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn affinities_of_a_small_segmentation_are_the_reference_ones() {
        let labels = [1, 1, 2, 1, 0, 2, 1, 3, 2, 3, 3, 2];
        let affinities = affinities_of_labels(&labels, [2, 2, 3]);
        let z = [1, 1, 1, 1, 0, 1, 1, 0, 1, 0, 0, 1];
        let y = [1, 1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1];
        let x = [1, 1, 0, 1, 0, 0, 1, 0, 0, 1, 1, 0];
        assert_eq!(affinities, [z, y, x].concat());
        let ones = affinities.iter().filter(|&&a| a == 1).count();
        assert_eq!(ones * 3, affinities.len() * 2, "the mean is two thirds");
    }

    #[test]
    fn widening_clears_both_sides_of_a_border_and_ignores_background() {
        let mut labels: Vec<u64> = (0..24).map(|i| if i % 6 < 3 { 1 } else { 2 }).collect();
        labels[23] = 0;
        let mut expected = labels.clone();
        for row in expected.chunks_mut(6) {
            row[2] = 0;
            row[3] = 0;
        }
        widen_borders(&mut labels, [1, 4, 6]);
        assert_eq!(labels, expected);
    }

    #[test]
    fn widening_works_slice_by_slice() {
        let mut labels = vec![1, 1, 2, 2];
        widen_borders(&mut labels, [2, 1, 2]);
        assert_eq!(labels, [1, 1, 2, 2]);
        widen_borders(&mut [], [0, 4, 4]);
        widen_borders(&mut [], [3, 0, 4]);
    }
}
