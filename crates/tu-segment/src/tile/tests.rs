use proptest::prelude::*;

use super::*;

fn grids() -> impl Strategy<Value = TileGrid> {
    ([1u64..40, 1u64..40, 1u64..40], [1usize..17, 1usize..17, 1usize..17], [0usize..9, 0usize..9, 0usize..9])
        .prop_map(|(volume, tile, halo)| TileGrid::new(volume, tile, halo).unwrap())
}

fn all_tiles(grid: &TileGrid) -> Vec<[u64; 3]> {
    grid.tiles_intersecting([0; 3], grid.volume_zyx())
}

#[test]
fn a_window_reaches_over_the_halo_and_is_read_as_far_as_the_volume_goes() {
    let grid = TileGrid::new([20, 150, 64], [16, 64, 64], [4, 16, 16]).unwrap();
    assert_eq!(grid.counts_zyx(), [2, 3, 1]);
    let tile = grid.tile([1, 2, 0]).unwrap();
    assert_eq!(tile.origin_zyx, [16, 128, 0]);
    assert_eq!(tile.shape_zyx, [4, 22, 64]);
    assert_eq!(tile.window_shape_zyx, [24, 96, 96]);
    assert_eq!(tile.read_origin_zyx, [12, 112, 0]);
    assert_eq!(tile.read_shape_zyx, [8, 38, 64]);
    assert_eq!(tile.pad_before_zyx, [0, 0, 16]);
}

#[test]
fn impossible_grids_are_refused_with_the_reason() {
    let refused = |volume, tile, halo| TileGrid::new(volume, tile, halo).unwrap_err().to_string();
    assert!(refused([0, 1, 1], [1; 3], [0; 3]).contains("volume"));
    assert!(refused([1, 1, 1], [1, 0, 1], [0; 3]).contains("tile"));
    assert!(refused([1 << 32, 1 << 32, 1], [1; 3], [0; 3]).contains("64-bit"));
    assert!(refused([u64::MAX, 1, 1], [1; 3], [0; 3]).contains("64-bit"));
    assert!(refused([1, 1, 1], [1 << 20, 1 << 20, 1], [0; 3]).contains("smaller tiles"));
    assert!(refused([1, 1, 1], [1; 3], [usize::MAX / 2, 1, 1]).contains("smaller tiles"));
    let grid = TileGrid::new([4, 4, 4], [2, 2, 2], [0; 3]).unwrap();
    assert!(grid.tile([0, 2, 0]).unwrap_err().to_string().contains("[2, 2, 2]"));
}

#[test]
fn ids_beyond_the_volume_and_zero_name_no_tile() {
    let grid = TileGrid::new([3, 4, 5], [2, 2, 2], [0; 3]).unwrap();
    assert_eq!(grid.tile_of_id(0), None);
    assert_eq!(grid.tile_of_id(1), Some([0, 0, 0]));
    assert_eq!(grid.tile_of_id(60), Some([1, 1, 2]));
    assert_eq!(grid.tile_of_id(61), None);
    assert_eq!(grid.tile_of_id(u64::MAX), None);
}

#[test]
fn the_largest_volume_still_has_ids_for_its_last_voxel() {
    let grid = TileGrid::new([u64::MAX - 1, 1, 1], [16, 64, 64], [0; 3]).unwrap();
    let last = grid.counts_zyx().map(|n| n - 1);
    assert_eq!(grid.tile_of_id(u64::MAX - 1), Some(last));
    assert_eq!(grid.tile(last).unwrap().shape_zyx, [14, 1, 1]);
}

proptest! {
    #[test]
    fn tiles_cover_every_voxel_exactly_once(grid in grids()) {
        let mut covered = vec![0u8; grid.volume_zyx().iter().product::<u64>() as usize];
        for index in all_tiles(&grid) {
            let tile = grid.tile(index).unwrap();
            for z in 0..tile.shape_zyx[0] as u64 {
                for y in 0..tile.shape_zyx[1] as u64 {
                    for x in 0..tile.shape_zyx[2] as u64 {
                        let [oz, oy, ox] = tile.origin_zyx;
                        let id = grid.id_of_voxel([oz + z, oy + y, ox + x]);
                        covered[id as usize - 1] += 1;
                        prop_assert_eq!(grid.tile_of_id(id), Some(index));
                    }
                }
            }
        }
        prop_assert!(covered.iter().all(|&times| times == 1));
    }

    #[test]
    fn what_is_read_is_the_window_inside_the_volume(grid in grids()) {
        for index in all_tiles(&grid) {
            let tile = grid.tile(index).unwrap();
            for axis in 0..3 {
                let begin = tile.origin_zyx[axis] as i64 - grid.halo_zyx()[axis] as i64;
                let end = begin + tile.window_shape_zyx[axis] as i64;
                let read_begin = begin.max(0);
                prop_assert_eq!(tile.read_origin_zyx[axis] as i64, read_begin);
                let read_end = end.min(grid.volume_zyx()[axis] as i64);
                prop_assert_eq!(tile.read_shape_zyx[axis] as i64, read_end - read_begin);
                prop_assert_eq!(tile.pad_before_zyx[axis] as i64, read_begin - begin);
            }
        }
    }

    #[test]
    fn exactly_the_tiles_that_share_a_voxel_with_a_box_intersect_it(
        grid in grids(), begin in [0u64..45, 0u64..45, 0u64..45], extent in [0u64..45, 0u64..45, 0u64..45],
    ) {
        let end: [u64; 3] = std::array::from_fn(|axis| begin[axis] + extent[axis]);
        let expected: Vec<_> = all_tiles(&grid)
            .into_iter()
            .filter(|&index| {
                let tile = grid.tile(index).unwrap();
                (0..3).all(|axis| {
                    let from = tile.origin_zyx[axis].max(begin[axis]);
                    from < (tile.origin_zyx[axis] + tile.shape_zyx[axis] as u64).min(end[axis])
                })
            })
            .collect();
        prop_assert_eq!(grid.tiles_intersecting(begin, end), expected);
    }
}
