use proptest::prelude::*;

use super::*;
use crate::tile::TileGrid;

/// Reflection as one does it by hand: step outwards and turn around at either end.
fn walk(extent: usize, before: usize, window: usize) -> Vec<usize> {
    let step_from = |mut at: isize, mut direction: isize, steps: usize| {
        let mut path = Vec::new();
        for _ in 0..steps {
            if extent > 1 && (at + direction < 0 || at + direction >= extent as isize) {
                direction = -direction;
            }
            if extent > 1 {
                at += direction;
            }
            path.push(at as usize);
        }
        path
    };
    let mut positions = step_from(0, -1, before);
    positions.reverse();
    positions.push(0);
    positions.extend(step_from(0, 1, window - before - 1));
    positions
}

#[test]
fn reflection_matches_numpy() {
    // numpy.pad([1, 2, 3], (5, 6), 'reflect')
    let expected = [2, 1, 2, 3, 2, 1, 2, 3, 2, 1, 2, 3, 2, 1];
    let padded = pad_reflect(&[1, 2, 3], [1, 1, 3], [0, 0, 5], [1, 1, 14]);
    assert_eq!(padded, expected);
}

#[test]
fn one_voxel_is_repeated_and_nothing_gives_default_values() {
    assert_eq!(pad_reflect(&[7u8], [1, 1, 1], [1, 0, 2], [2, 2, 3]), [7; 12]);
    assert_eq!(pad_reflect::<u8>(&[], [0, 3, 3], [0, 0, 0], [1, 2, 2]), [0; 4]);
}

proptest! {
    #[test]
    fn every_axis_is_mirrored_as_if_by_hand(
        shape in [1usize..5, 1usize..5, 1usize..7],
        before in [0usize..9, 0usize..9, 0usize..9],
        after in [0usize..9, 0usize..9, 0usize..20],
    ) {
        let window: [usize; 3] = std::array::from_fn(|axis| before[axis] + shape[axis] + after[axis]);
        let data: Vec<u32> = (0..shape.iter().product::<usize>() as u32).collect();
        let paths: Vec<Vec<usize>> = (0..3).map(|axis| walk(shape[axis], before[axis], window[axis])).collect();
        let mut expected = Vec::new();
        for &z in &paths[0] {
            for &y in &paths[1] {
                for &x in &paths[2] {
                    expected.push(data[(z * shape[1] + y) * shape[2] + x]);
                }
            }
        }
        prop_assert_eq!(pad_reflect(&data, shape, before, window), expected);
    }

    #[test]
    fn cropping_a_padded_window_gives_back_what_was_read_and_the_tile(
        volume in [1u64..20, 1u64..20, 1u64..20],
        tile in [1usize..9, 1usize..9, 1usize..9],
        halo in [0usize..5, 0usize..5, 0usize..5],
    ) {
        let grid = TileGrid::new(volume, tile, halo).unwrap();
        let value = |z: u64, y: u64, x: u64| (z * 10_000 + y * 100 + x) as u32;
        for index in grid.tiles_intersecting([0; 3], volume) {
            let tile = grid.tile(index).unwrap();
            let block = |origin: [u64; 3], shape: [usize; 3]| -> Vec<u32> {
                let range = |axis: usize| origin[axis]..origin[axis] + shape[axis] as u64;
                range(0)
                    .flat_map(|z| range(1).flat_map(move |y| range(2).map(move |x| value(z, y, x))))
                    .collect()
            };
            let read = block(tile.read_origin_zyx, tile.read_shape_zyx);
            let window = pad_reflect(&read, tile.read_shape_zyx, tile.pad_before_zyx, tile.window_shape_zyx);
            let twice = [window.clone(), window].concat();
            let kept = crop(&twice, 2, tile.window_shape_zyx, tile.pad_before_zyx, tile.read_shape_zyx);
            prop_assert_eq!(&kept, &[read.clone(), read].concat());
            let expected = block(tile.origin_zyx, tile.shape_zyx);
            let own = crop(&kept, 2, tile.read_shape_zyx, tile.begin_in_read_zyx(), tile.shape_zyx);
            prop_assert_eq!(own, [expected.clone(), expected].concat());
        }
    }
}
