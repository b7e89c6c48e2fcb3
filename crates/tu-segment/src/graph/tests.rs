use std::collections::BTreeMap;

use proptest::prelude::*;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::affinity::AffinityView;
use crate::fragments::FragmentMethod;

/// A volume cut into tiles, each with fragments, some of them made by a method and some at random.
struct Case {
    grid: TileGrid,
    tiles: Vec<TileFragments>,
    affinities: Vec<u8>,
}

fn voxel_index(shape: [u64; 3], place: [u64; 3]) -> usize {
    ((place[0] * shape[1] + place[1]) * shape[2] + place[2]) as usize
}

fn places(begin: [u64; 3], shape: [usize; 3]) -> impl Iterator<Item = [u64; 3]> {
    let range = move |axis: usize| begin[axis]..begin[axis] + shape[axis] as u64;
    range(0).flat_map(move |z| range(1).flat_map(move |y| range(2).map(move |x| [z, y, x])))
}

fn case(seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let volume: [u64; 3] = std::array::from_fn(|_| rng.random_range(1..12));
    let grid = TileGrid::new(
        volume,
        std::array::from_fn(|_| rng.random_range(1..7)),
        [rng.random_range(0..3), 1, 0],
    )
    .unwrap();
    let voxels = volume.iter().product::<u64>() as usize;
    let affinities: Vec<u8> = (0..3 * voxels).map(|_| rng.random_range(0..6) * 51).collect();
    let tiles = grid
        .tiles_intersecting([0; 3], volume)
        .into_iter()
        .map(|index| {
            let tile = grid.tile(index).unwrap();
            let mut block = Vec::new();
            for channel in affinities.chunks(voxels) {
                block.extend(
                    places(tile.read_origin_zyx, tile.read_shape_zyx)
                        .map(|place| channel[voxel_index(volume, place)]),
                );
            }
            let aff = AffinityView::new(&block, tile.read_shape_zyx).unwrap();
            match rng.random_range(0..4) {
                0 => TileFragments::compute(&grid, index, &aff, &FragmentMethod::default()),
                1 => {
                    TileFragments::compute(&grid, index, &aff, &FragmentMethod::from_name("seeded").unwrap())
                }
                most => {
                    let scale = if most == 2 { 1 } else { 500_000_000 };
                    let labels: Vec<u32> =
                        (0..aff.voxels()).map(|_| rng.random_range(0..5) * scale).collect();
                    TileFragments::from_labels(&grid, index, &labels, &aff)
                }
            }
            .unwrap()
        })
        .collect();
    Case { grid, tiles, affinities }
}

fn graph_of<'a>(case: &Case, tiles: impl IntoIterator<Item = &'a TileFragments>) -> RegionGraph {
    let mut graph = RegionGraph::new(case.grid.clone());
    for tile in tiles {
        graph.insert(tile);
    }
    graph
}

/// The label volume that the tiles make together; 0 where a tile is missing.
fn merged_labels(case: &Case, tiles: &[TileFragments]) -> Vec<u64> {
    let volume = case.grid.volume_zyx();
    let mut labels = vec![0; volume.iter().product::<u64>() as usize];
    for tile in tiles {
        let own = places(tile.tile().origin_zyx, tile.tile().shape_zyx);
        for (place, &label) in own.zip(tile.labels()) {
            labels[voxel_index(volume, place)] = label;
        }
    }
    labels
}

/// The region graph by its definition, voxel by voxel.
fn naive_edges(volume: [u64; 3], labels: &[u64], affinities: &[u8]) -> Vec<Edge> {
    let mut contacts: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
    for place in places([0; 3], volume.map(|n| n as usize)) {
        for axis in 0..3 {
            let mut before = place;
            if place[axis] == 0 {
                continue;
            }
            before[axis] -= 1;
            let (here, there) = (labels[voxel_index(volume, place)], labels[voxel_index(volume, before)]);
            if here != there && here != 0 && there != 0 {
                let bin = affinities[axis * labels.len() + voxel_index(volume, place)];
                contacts.entry((here.min(there), here.max(there))).or_default().push(bin);
            }
        }
    }
    contacts
        .into_iter()
        .map(|((a, b), bins)| Edge {
            a,
            b,
            contact: Contact {
                max: bins.iter().copied().max().unwrap(),
                sum: bins.iter().map(|&bin| u64::from(bin)).sum(),
                count: bins.len() as u64,
            },
        })
        .collect()
}

/// The fragments by their definition: the labels that occur, and how often.
fn naive_fragments(labels: &[u64]) -> Vec<Fragment> {
    let mut voxels: BTreeMap<u64, u64> = BTreeMap::new();
    for &label in labels.iter().filter(|label| **label != 0) {
        *voxels.entry(label).or_default() += 1;
    }
    voxels.into_iter().map(|(id, voxels)| Fragment { id, voxels }).collect()
}

proptest! {
    #[test]
    fn tiles_make_the_graph_of_the_whole_volume(seed: u64) {
        let case = case(seed);
        let labels = merged_labels(&case, &case.tiles);
        let volume = case.grid.volume_zyx();
        let expected = naive_edges(volume, &labels, &case.affinities);
        let graph = graph_of(&case, &case.tiles);
        prop_assert_eq!(graph.edges(), expected.clone());

        let fragments = naive_fragments(&labels);
        prop_assert_eq!(graph.fragments(), fragments.clone());

        let aff = AffinityView::new(&case.affinities, volume.map(|n| n as usize)).unwrap();
        prop_assert_eq!(contacts_of_volume(&labels, &aff), (fragments, expected));
    }

    #[test]
    fn the_graph_does_not_depend_on_tile_order_or_on_tiles_that_left(seed: u64) {
        let case = case(seed);
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 1);
        let mut order: Vec<&TileFragments> = case.tiles.iter().collect();
        order.shuffle(&mut rng);
        let keep = rng.random_range(0..=order.len());
        let mut graph = graph_of(&case, order.iter().copied());
        for tile in &order[keep..] {
            prop_assert!(graph.remove(tile.tile().index_zyx));
            prop_assert!(!graph.remove(tile.tile().index_zyx));
            prop_assert!(!graph.contains(tile.tile().index_zyx));
        }
        // Once more: replacing a tile by itself changes nothing.
        if keep > 0 {
            graph.insert(order[0]);
        }
        let kept: Vec<TileFragments> = case
            .tiles
            .iter()
            .filter(|tile| order[..keep].iter().any(|kept| kept.tile() == tile.tile()))
            .cloned()
            .collect();
        let labels = merged_labels(&case, &kept);
        prop_assert_eq!(graph.edges(), naive_edges(case.grid.volume_zyx(), &labels, &case.affinities));
        prop_assert_eq!(graph.fragments(), naive_fragments(&labels));
        prop_assert_eq!(
            graph.tiles().collect::<Vec<_>>(),
            kept.iter().map(|tile| tile.tile().index_zyx).collect::<Vec<_>>()
        );
        for tile in &order[keep..] {
            graph.insert(tile);
        }
        let straight = graph_of(&case, &case.tiles);
        prop_assert_eq!(graph.edges(), straight.edges());
        prop_assert_eq!(graph.fragments(), straight.fragments());
        for scoring in ["mean", "mean,size:0.06", "quantile:50,size:0.3"] {
            let scoring: Scoring = scoring.parse().unwrap();
            prop_assert_eq!(graph.agglomerate(scoring, 0.5), straight.agglomerate(scoring, 0.5));
        }
    }

    #[test]
    fn ids_are_unique_name_their_first_voxel_and_lead_back_to_the_tile(seed: u64) {
        let case = case(seed);
        let labels = merged_labels(&case, &case.tiles);
        let mut seen = std::collections::BTreeSet::new();
        for tile in &case.tiles {
            for &id in tile.fragment_ids() {
                prop_assert!(seen.insert(id), "id {} occurs twice", id);
                prop_assert_eq!(case.grid.tile_of_id(id), Some(tile.tile().index_zyx));
                prop_assert_eq!(labels.iter().position(|&label| label == id), Some(id as usize - 1));
            }
        }
    }

    #[test]
    fn a_tile_survives_being_written_and_read(seed: u64) {
        let case = case(seed);
        let graph = graph_of(&case, &case.tiles);
        let mut copy = RegionGraph::new(case.grid.clone());
        for index in graph.tiles() {
            let bytes = graph.tile_to_bytes(index).unwrap();
            prop_assert_eq!(copy.insert_bytes(&bytes), Ok(index));
            prop_assert_eq!(copy.tile_to_bytes(index).unwrap(), bytes);
        }
        prop_assert_eq!(copy.edges(), graph.edges());
        prop_assert_eq!(copy.fragments(), graph.fragments());
    }

    #[test]
    fn damaged_tiles_are_refused(seed: u64, at: prop::sample::Index, flip in 1u8..=255, cut: prop::sample::Index) {
        let case = case(seed);
        let mut graph = graph_of(&case, &case.tiles);
        let index = case.tiles[0].tile().index_zyx;
        let bytes = graph.tile_to_bytes(index).unwrap();
        graph.remove(index);
        let mut damaged = bytes.clone();
        *at.get_mut(&mut damaged) ^= flip;
        prop_assert!(graph.insert_bytes(&damaged).is_err());
        prop_assert!(graph.insert_bytes(&bytes[..cut.index(bytes.len())]).is_err());
        prop_assert!(graph.insert_bytes(&[bytes.as_slice(), &[0]].concat()).is_err());
        prop_assert!(!graph.contains(index));
    }

    /// Forged bytes carry a right hash: what they say must still be checked, and nothing may be allocated on their
    /// word.
    #[test]
    fn forged_tiles_are_refused_or_harmless(seed: u64, at: prop::sample::Index, value: u8, long: bool) {
        let case = case(seed);
        let mut graph = graph_of(&case, &case.tiles);
        let index = case.tiles[0].tile().index_zyx;
        let mut bytes = graph.tile_to_bytes(index).unwrap();
        let end = bytes.len() - 8;
        let at = at.index(end);
        bytes[at] = value;
        if long {
            let count = 4 + 4 + 12 * 8;
            bytes[count..count + 8].copy_from_slice(&(u64::MAX - u64::from(value)).to_le_bytes());
        }
        let hash = bytes::fnv1a(&bytes[..end]);
        bytes[end..].copy_from_slice(&hash.to_le_bytes());
        if graph.insert_bytes(&bytes).is_ok() {
            prop_assert!(!long);
            graph.agglomerate(Scoring::default(), 0.5);
            graph.agglomerate("mean,size:0.3".parse().unwrap(), 0.5);
        }
    }

    /// Every voxel belongs to one fragment at most, and every fragment has one at least.
    #[test]
    fn forged_numbers_of_voxels_are_refused(seed: u64, which: prop::sample::Index, more in 0u32..) {
        let case = case(seed);
        let mut graph = graph_of(&case, &case.tiles);
        let tile = &case.tiles[0];
        let index = tile.tile().index_zyx;
        let bytes = graph.tile_to_bytes(index).unwrap();
        graph.remove(index);
        let fragments = tile.fragment_ids().len();
        prop_assume!(fragments > 0);
        let begin = 4 + 4 + 14 * 8 + 8 * fragments;
        let at = begin + 4 * which.index(fragments);
        let written = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let spare = tile.labels().iter().filter(|label| **label == 0).count() as u32;
        let forged = |voxels: u32| {
            let mut bytes = bytes.clone();
            let end = bytes.len() - 8;
            bytes[at..at + 4].copy_from_slice(&voxels.to_le_bytes());
            let hash = bytes::fnv1a(&bytes[..end]);
            bytes[end..].copy_from_slice(&hash.to_le_bytes());
            bytes
        };
        let too_many = (written + spare + 1).saturating_add(more);
        prop_assert_eq!(
            graph.insert_bytes(&forged(0)),
            Err(BytesError::Content { what: "fragments have no voxels" })
        );
        prop_assert_eq!(
            graph.insert_bytes(&forged(too_many)),
            Err(BytesError::Content { what: "fragments have more voxels than the tile" })
        );
        prop_assert!(!graph.contains(index));
        prop_assert_eq!(graph.insert_bytes(&forged(written + spare)), Ok(index));
    }
}

#[test]
fn bytes_of_others_are_refused_with_the_reason() {
    let case = case(3);
    let graph = graph_of(&case, &case.tiles);
    let bytes = graph.tile_to_bytes(case.tiles[0].tile().index_zyx).unwrap();
    let mut fresh = RegionGraph::new(case.grid.clone());
    assert_eq!(fresh.insert_bytes(b"PNG and more"), Err(BytesError::Magic));
    assert_eq!(fresh.insert_bytes(b""), Err(BytesError::Magic));
    assert_eq!(fresh.insert_bytes(b"TUTG"), Err(BytesError::Length { bytes: 4 }));
    for version in [1, 9] {
        let mut other = bytes.clone();
        other[4] = version;
        let refused = Err(BytesError::Version { version: version.into() });
        assert_eq!(fresh.insert_bytes(&other), refused);
    }
    let other = TileGrid::new([50, 50, 50], case.grid.tile_zyx(), case.grid.halo_zyx()).unwrap();
    assert_eq!(RegionGraph::new(other).insert_bytes(&bytes), Err(BytesError::OtherGrid));
    assert_eq!(graph.tile_to_bytes([99, 0, 0]), None);
}

#[test]
fn input_of_another_shape_is_refused_with_the_reason() {
    let grid = TileGrid::new([5, 5, 5], [4, 4, 4], [1, 1, 1]).unwrap();
    let block = [0; 3 * 64];
    let aff = AffinityView::new(&block, [4, 4, 4]).unwrap();
    let method = FragmentMethod::default();
    let error = TileFragments::compute(&grid, [0, 0, 1], &aff, &method).unwrap_err().to_string();
    assert!(error.contains("[5, 5, 2]") && error.contains("crop"), "{error}");
    let error = TileFragments::compute(&grid, [0, 0, 2], &aff, &method).unwrap_err().to_string();
    assert!(error.contains("no tile"), "{error}");
    let block = [0; 3 * 125];
    let aff = AffinityView::new(&block, [5, 5, 5]).unwrap();
    let error = TileFragments::from_labels(&grid, [0, 0, 0], &[1; 63], &aff).unwrap_err().to_string();
    assert!(error.contains("63 labels"), "{error}");
}
