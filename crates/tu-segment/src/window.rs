//! Filling a tile's window beyond the volume's border, and taking parts out of it again.
//!
//! Beyond the border the volume is mirrored about its outermost voxel, which is not repeated, as often as the
//! window needs: with `n` voxels on an axis, position `i` shows voxel `p` of the triangle wave of period
//! `2(n − 1)`. A single voxel is repeated.

/// The voxel in `0..extent` that position `position` shows when the axis is mirrored without end.
fn reflected(position: isize, extent: usize) -> usize {
    if extent <= 1 {
        return 0;
    }
    let period = 2 * (extent as isize - 1);
    let phase = position.rem_euclid(period);
    phase.min(period - phase) as usize
}

/// `data`, the part of a window that lies inside the volume, mirrored into the full window.
///
/// `data` has `shape_zyx` voxels and begins `before_zyx` voxels inside the window of `window_zyx` voxels; the rest
/// is filled by reflection (numpy's mode `reflect`: the edge is not repeated, and the mirror bounces as often as
/// needed; an axis of one voxel repeats it). Without any data the window holds `T::default()`.
///
/// # Panics
/// If `data` does not have `shape_zyx` voxels.
pub fn pad_reflect<T: Copy + Default>(
    data: &[T],
    shape_zyx: [usize; 3],
    before_zyx: [usize; 3],
    window_zyx: [usize; 3],
) -> Vec<T> {
    assert_eq!(data.len(), shape_zyx.iter().product::<usize>(), "data must have {shape_zyx:?} voxels");
    if data.is_empty() {
        return vec![T::default(); window_zyx.iter().product()];
    }
    let sources: [Vec<usize>; 3] = std::array::from_fn(|axis| {
        (0..window_zyx[axis])
            .map(|i| reflected(i as isize - before_zyx[axis] as isize, shape_zyx[axis]))
            .collect()
    });
    let mut window = Vec::with_capacity(window_zyx.iter().product());
    for &z in &sources[0] {
        for &y in &sources[1] {
            let row = &data[(z * shape_zyx[1] + y) * shape_zyx[2]..][..shape_zyx[2]];
            window.extend(sources[2].iter().map(|&x| row[x]));
        }
    }
    window
}

/// A box out of channel-first data: `[channels, shape]` to `[channels, part]`, from `begin_zyx` on.
///
/// # Panics
/// If `data` does not hold `channels` times the voxels of `shape_zyx`, or the part is not inside.
pub fn crop<T: Copy>(
    data: &[T],
    channels: usize,
    shape_zyx: [usize; 3],
    begin_zyx: [usize; 3],
    part_zyx: [usize; 3],
) -> Vec<T> {
    let [depth, height, width] = shape_zyx;
    assert_eq!(
        data.len(),
        channels * depth * height * width,
        "data must have {channels} channels of {shape_zyx:?} voxels"
    );
    assert!(
        (0..3).all(|axis| begin_zyx[axis] + part_zyx[axis] <= shape_zyx[axis]),
        "{part_zyx:?} voxels from {begin_zyx:?} on are not inside {shape_zyx:?}"
    );
    let mut cropped = Vec::with_capacity(channels * part_zyx.iter().product::<usize>());
    for channel in 0..channels {
        for z in begin_zyx[0]..begin_zyx[0] + part_zyx[0] {
            for y in begin_zyx[1]..begin_zyx[1] + part_zyx[1] {
                let row = ((channel * depth + z) * height + y) * width + begin_zyx[2];
                cropped.extend_from_slice(&data[row..row + part_zyx[2]]);
            }
        }
    }
    cropped
}

#[cfg(test)]
mod tests;
