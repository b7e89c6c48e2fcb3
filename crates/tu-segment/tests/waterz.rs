//! Fragments and segments equal those of waterz 0.10.1, on random cases that waterz itself has solved.
//!
//! `tests/python/waterz_peer.py --write-fixtures` makes the cases: affinities that are random, rounded to sixteenths,
//! nearly binary or of four values; fragments that are waterz's own, blocks under shuffled ids with holes, or single
//! voxels.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]

use std::collections::BTreeMap;

use serde::Deserialize;
use tu_segment::{
    AffinityView, AffinityWatershed, FragmentMethod, RegionGraph, Scoring, TileFragments, TileGrid,
    affinity_of_bin, agglomerate, contacts_of_volume, fragments,
};

#[derive(Deserialize)]
struct Fixtures {
    thresholds: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    shape_zyx: [usize; 3],
    /// Hexadecimal, channels z, y, x.
    bins: String,
    fragments: Vec<u64>,
    /// Bins of the thresholds of the watershed.
    low: u8,
    high: u8,
    watershed: Vec<u32>,
    /// By scoring: for each threshold, the segments of all fragments in ascending order.
    segments: BTreeMap<String, Vec<Vec<u64>>>,
}

impl Case {
    fn bins(&self) -> Vec<u8> {
        let digits: Vec<u8> = self.bins.chars().map(|digit| digit.to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }
}

fn fixtures() -> Fixtures {
    serde_json::from_str(include_str!("fixtures/waterz.json")).unwrap()
}

#[test]
fn the_affinity_watershed_equals_that_of_waterz_label_by_label() {
    let fixtures = fixtures();
    assert!(fixtures.cases.len() >= 50);
    for (i, case) in fixtures.cases.iter().enumerate() {
        let settings = AffinityWatershed { low: affinity_of_bin(case.low), high: affinity_of_bin(case.high) };
        let bins = case.bins();
        let aff = AffinityView::new(&bins, case.shape_zyx).unwrap();
        assert_eq!(fragments(&aff, &FragmentMethod::Affinity(settings)), case.watershed, "case {i}");
    }
}

#[test]
fn agglomeration_equals_that_of_waterz_id_by_id() {
    let fixtures = fixtures();
    let mut compared = 0;
    for (i, case) in fixtures.cases.iter().enumerate() {
        let bins = case.bins();
        let aff = AffinityView::new(&bins, case.shape_zyx).unwrap();
        let (nodes, edges) = contacts_of_volume(&case.fragments, &aff);
        for (scoring, expected) in &case.segments {
            for (threshold, expected) in fixtures.thresholds.iter().zip(expected) {
                let result = agglomerate(&nodes, &edges, scoring.parse().unwrap(), *threshold);
                let ours: Vec<u64> = nodes.iter().map(|node| result.root(node.id)).collect();
                assert_eq!(ours, *expected, "case {i}, {scoring}, threshold {threshold}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, fixtures.cases.len() * fixtures.thresholds.len() * 3);
}

/// A volume that is one tile goes through tiles, ids and graph and comes out the same, up to names, wherever ids
/// ascend in the order of first voxels, as waterz's own do.
#[test]
fn a_volume_of_one_tile_gives_the_partition_of_waterz() {
    let fixtures = fixtures();
    for (i, case) in fixtures.cases.iter().enumerate().filter(|(_, case)| {
        let watershed: Vec<u64> = case.watershed.iter().map(|&label| u64::from(label)).collect();
        watershed == case.fragments && is_numbered_by_first_voxel(&case.fragments)
    }) {
        let bins = case.bins();
        let aff = AffinityView::new(&bins, case.shape_zyx).unwrap();
        let grid = TileGrid::new(case.shape_zyx.map(|n| n as u64), case.shape_zyx, [0; 3]).unwrap();
        let tile = TileFragments::from_labels(&grid, [0; 3], &case.watershed, &aff).unwrap();
        let mut graph = RegionGraph::new(grid);
        graph.insert(&tile);
        for (scoring, expected) in &case.segments {
            for (threshold, expected) in fixtures.thresholds.iter().zip(expected) {
                let result = graph.agglomerate(scoring.parse::<Scoring>().unwrap(), *threshold);
                let ids = tile.fragment_ids();
                let ours: Vec<usize> =
                    ids.iter().map(|&id| ids.binary_search(&result.root(id)).unwrap() + 1).collect();
                let expected: Vec<usize> = expected.iter().map(|&root| root as usize).collect();
                assert_eq!(ours, expected, "case {i}, {scoring}, threshold {threshold}");
            }
        }
    }
}

fn is_numbered_by_first_voxel(fragments: &[u64]) -> bool {
    let mut largest = 0;
    fragments.iter().all(|&label| {
        let fine = label <= largest + 1;
        largest = largest.max(label);
        fine
    })
}
