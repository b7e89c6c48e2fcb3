use super::EdgeStatistic::{Max, Mean, Quantile};
use super::*;
use crate::affinity::{AffinityView, quantise_affinity};
use crate::graph::{Contact, contacts_of_volume};

mod description;

/// `statistic` with a size weight in thousandths.
fn sized(statistic: EdgeStatistic, thousandths: u16) -> Scoring {
    Scoring { statistic, size_weight: SizeWeight::from_thousandths(thousandths).unwrap() }
}

fn fragment(id: u64, voxels: u64) -> Fragment {
    Fragment { id, voxels }
}

/// An edge of one affinity whose score is about this.
fn edge_of_score(a: u64, b: u64, score: f32) -> Edge {
    let bin = quantise_affinity(1.0 - score);
    Edge { a, b, contact: Contact { max: bin, sum: bin.into(), count: 1 } }
}

/// The reference example: two rows of four voxels, four fragments.
fn reference_graph() -> (Vec<Fragment>, Vec<Edge>) {
    let bins = |affinities: [f32; 8]| affinities.map(quantise_affinity);
    let a_z = [0; 8];
    let a_y = bins([0.0, 0.0, 0.0, 0.0, 0.90, 0.20, 0.45, 0.55]);
    let a_x = bins([0.0, 0.0, 0.30, 0.0, 0.0, 0.0, 0.62, 0.0]);
    let data = [a_z, a_y, a_x].concat();
    contacts_of_volume(&[1, 1, 2, 2, 3, 3, 4, 4], &AffinityView::new(&data, [1, 2, 4]).unwrap())
}

#[test]
fn the_reference_example_merges_as_in_waterz() {
    let (fragments, edges) = reference_graph();
    let roots = |threshold| {
        let result = agglomerate(&fragments, &edges, Quantile(50).into(), threshold);
        [1, 2, 3, 4].map(|id| result.root(id))
    };
    assert_eq!(roots(0.05), [1, 2, 3, 4]);
    assert_eq!(roots(0.20), [1, 2, 1, 4]);
    assert_eq!(roots(0.40), [1, 2, 1, 1]);
    assert_eq!(roots(0.45), [1, 2, 1, 1]);
    assert_eq!(roots(0.50), [1, 1, 1, 1]);
}

#[test]
fn a_result_lists_its_pairs_and_counts_its_segments() {
    let (fragments, edges) = reference_graph();
    let result = agglomerate(&fragments, &edges, Quantile(50).into(), 0.4);
    assert_eq!(result.pairs().collect::<Vec<_>>(), [(3, 1), (4, 1)]);
    assert_eq!(result.segments(), 2);
    assert_eq!((result.root(0), result.root(77)), (0, 77));
    let mut labels = [0, 4, 4, 2, 9, 3];
    result.relabel(&mut labels);
    assert_eq!(labels, [0, 1, 1, 2, 9, 1]);
}

#[test]
fn no_graph_and_no_threshold_join_nothing() {
    let empty = agglomerate(&[], &[], Mean.into(), 1.0);
    assert_eq!((empty.segments(), empty.pairs().count()), (0, 0));
    let (fragments, edges) = reference_graph();
    for threshold in [0.0, -1.0, f32::NAN, f32::NEG_INFINITY] {
        assert_eq!(agglomerate(&fragments, &edges, Max.into(), threshold).segments(), 4);
    }
    for threshold in [1.0, 5.0, f32::INFINITY] {
        assert_eq!(agglomerate(&fragments, &edges, Quantile(50).into(), threshold).segments(), 1);
    }
}

#[test]
fn without_thresholds_there_is_nothing_to_find() {
    let (fragments, edges) = reference_graph();
    agglomerate_at_each(&fragments, &edges, Mean.into(), &[], |position, _| unreachable!("{position}"));
}

#[test]
fn untidy_edge_lists_are_tidied() {
    let edge = |a, b, max: u8| Edge { a, b, contact: Contact { max, sum: u64::from(max), count: 1 } };
    let untidy = [edge(9, 4, 10), edge(0, 4, 255), edge(4, 4, 255), edge(4, 9, 200), edge(2, 4, 30)];
    let result = agglomerate(&[4, 2, 4, 0].map(|id| fragment(id, 1)), &untidy, Max.into(), 0.5);
    assert_eq!(result.pairs().collect::<Vec<_>>(), [(9, 4)]);
    assert_eq!(result.segments(), 2);
}

#[test]
fn a_hub_with_many_neighbours_is_joined_whole() {
    // Neighbours in a ring around a hub that has the largest id, so that its long list is what is absorbed.
    let n = 20_000;
    let contact = |max: u8| Contact { max, sum: u64::from(max), count: 1 };
    let mut edges: Vec<Edge> = (1..=n).map(|a| Edge { a, b: n + 1, contact: contact(200) }).collect();
    edges.extend((1..n).map(|a| Edge { a, b: a + 1, contact: contact((a % 251) as u8) }));
    for scoring in [Quantile(50), Mean, Max].map(Scoring::from) {
        assert_eq!(agglomerate(&[], &edges, scoring, 1.0).segments(), 1, "{scoring}");
    }
}

#[test]
fn large_segments_need_more_evidence_than_crumbs() {
    let joined = |voxels: [u64; 2], score, scoring| {
        let fragments = [fragment(3, voxels[0]), fragment(8, voxels[1])];
        agglomerate(&fragments, &[edge_of_score(3, 8, score)], scoring, 0.5).segments() == 1
    };
    for statistic in [Quantile(50), Mean, Max] {
        let (plain, sized) = (statistic.into(), sized(statistic, 60));
        assert!(joined([1_000_000, 2_000_000], 0.4, plain) && !joined([1_000_000, 2_000_000], 0.4, sized));
        // The smaller of the two decides, whichever it is.
        assert!(!joined([100, 2_000_000], 0.55, plain) && joined([100, 2_000_000], 0.55, sized));
        assert!(joined([2_000_000, 100], 0.55, sized));
        for score in [0.49, 0.51] {
            assert_eq!(joined([1000, u64::MAX], score, sized), joined([1000, 1000], score, plain));
        }
    }
}

#[test]
fn what_was_small_when_it_was_queued_is_judged_by_what_it_has_become() {
    // Two neurons in ten pieces each, and one contact between two of the pieces.
    let fragments: Vec<Fragment> = (1..=20).map(|id| fragment(id, 10_000)).collect();
    let pieces = (1..20).filter(|&id| id != 10).map(|id| edge_of_score(id, id + 1, 0.02));
    let contact = edge_of_score(10, 11, 0.43);
    let edges: Vec<Edge> = pieces.chain([contact]).collect();
    let alone = agglomerate(&fragments, &[contact], sized(Mean, 60), 0.5);
    assert_eq!(alone.root(11), 10, "two pieces would be joined");
    let whole = agglomerate(&fragments, &edges, sized(Mean, 60), 0.5);
    assert_eq!((whole.segments(), whole.root(10), whole.root(20)), (2, 1, 11));
    agglomerate_at_each(&fragments, &edges, sized(Mean, 60), &[0.5, 0.6], |position, found| {
        assert_eq!(found.segments(), [2, 1][position]);
    });
}

#[test]
fn without_a_size_weight_sizes_change_nothing() {
    let (fragments, edges) = reference_graph();
    for statistic in [Quantile(50), Mean, Max] {
        for threshold in [0.05, 0.2, 0.4, 0.45, 0.5, 1.0] {
            let result = agglomerate(&[], &edges, statistic.into(), threshold);
            for voxels in [0, 1, 1000, u64::MAX] {
                let resized: Vec<Fragment> = fragments.iter().map(|node| fragment(node.id, voxels)).collect();
                assert_eq!(agglomerate(&resized, &edges, sized(statistic, 0), threshold), result);
            }
        }
    }
}

#[test]
fn fragments_listed_twice_count_once_and_unlisted_ones_are_one_voxel() {
    let edges = [edge_of_score(1, 2, 0.45)];
    let segments = |fragments: &[Fragment]| agglomerate(fragments, &edges, sized(Mean, 300), 0.5).segments();
    // Twice 1000 voxels would be too many to join, one voxel is not.
    let (small, large) = ([fragment(1, 1000), fragment(2, 1000)], [fragment(1, 2000), fragment(2, 2000)]);
    assert_eq!((segments(&small), segments(&large)), (1, 2));
    assert_eq!(segments(&[small, small].concat()), 1);
    assert_eq!(segments(&[small, large].concat()), 2);
    assert_eq!(segments(&[large, small].concat()), 2);
    assert_eq!(segments(&large[..1]), 1);
    assert_eq!(segments(&[large[0], fragment(2, 0)]), 1);
    assert_eq!(segments(&[]), 1);
    assert_eq!(agglomerate(&[], &[], sized(Mean, 300), 1.0).segments(), 0);
}

#[test]
fn sizes_beyond_64_bits_stay_at_their_end() {
    let fragments: Vec<Fragment> = (1..=3).map(|id| fragment(id, u64::MAX)).collect();
    let edges = [edge_of_score(1, 2, 0.1), edge_of_score(2, 3, 0.1)];
    assert_eq!(agglomerate(&fragments, &edges, sized(Mean, 20), 0.5).segments(), 1);
    assert_eq!(agglomerate(&fragments, &edges, sized(Mean, 1000), 1.0).segments(), 3);
}
