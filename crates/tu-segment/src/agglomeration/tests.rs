use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::affinity::{AffinityView, affinity_of_bin, quantise_affinity};
use crate::graph::{Contact, contacts_of_volume};

/// The reference example: two rows of four voxels, four fragments.
fn reference_graph() -> (Vec<u64>, Vec<Edge>) {
    let bins = |affinities: [f32; 8]| affinities.map(quantise_affinity);
    let a_z = [0; 8];
    let a_y = bins([0.0, 0.0, 0.0, 0.0, 0.90, 0.20, 0.45, 0.55]);
    let a_x = bins([0.0, 0.0, 0.30, 0.0, 0.0, 0.0, 0.62, 0.0]);
    let data = [a_z, a_y, a_x].concat();
    contacts_of_volume(&[1, 1, 2, 2, 3, 3, 4, 4], &AffinityView::new(&data, [1, 2, 4]).unwrap())
}

#[test]
fn the_reference_example_merges_as_in_waterz() {
    let (ids, edges) = reference_graph();
    let roots = |threshold| {
        let result = agglomerate(&ids, &edges, Scoring::Quantile(50), threshold);
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
    let (ids, edges) = reference_graph();
    let result = agglomerate(&ids, &edges, Scoring::Quantile(50), 0.4);
    assert_eq!(result.pairs().collect::<Vec<_>>(), [(3, 1), (4, 1)]);
    assert_eq!(result.segments(), 2);
    assert_eq!((result.root(0), result.root(77)), (0, 77));
    let mut labels = [0, 4, 4, 2, 9, 3];
    result.relabel(&mut labels);
    assert_eq!(labels, [0, 1, 1, 2, 9, 1]);
}

#[test]
fn no_graph_and_no_threshold_join_nothing() {
    let empty = agglomerate(&[], &[], Scoring::Mean, 1.0);
    assert_eq!((empty.segments(), empty.pairs().count()), (0, 0));
    let (ids, edges) = reference_graph();
    for threshold in [0.0, -1.0, f32::NAN, f32::NEG_INFINITY] {
        assert_eq!(agglomerate(&ids, &edges, Scoring::Max, threshold).segments(), 4);
    }
    for threshold in [1.0, 5.0, f32::INFINITY] {
        assert_eq!(agglomerate(&ids, &edges, Scoring::Quantile(50), threshold).segments(), 1);
    }
}

#[test]
fn without_thresholds_there_is_nothing_to_find() {
    let (ids, edges) = reference_graph();
    agglomerate_at_each(&ids, &edges, Scoring::Mean, &[], |position, _| unreachable!("{position}"));
}

#[test]
fn untidy_edge_lists_are_tidied() {
    let edge = |a, b, max: u8| Edge { a, b, contact: Contact { max, sum: u64::from(max), count: 1 } };
    let untidy = [edge(9, 4, 10), edge(0, 4, 255), edge(4, 4, 255), edge(4, 9, 200), edge(2, 4, 30)];
    let result = agglomerate(&[4, 2, 4, 0], &untidy, Scoring::Max, 0.5);
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
    for scoring in [Scoring::Quantile(50), Scoring::Mean, Scoring::Max] {
        assert_eq!(agglomerate(&[], &edges, scoring, 1.0).segments(), 1, "{scoring}");
    }
}

/// The algorithm by its description: lists of all affinities, a queue that is searched, edges that are searched.
struct Slow {
    scoring: Scoring,
    /// Roots at both ends, and the values the statistic is taken of (bins of maxima, or of all affinities).
    edges: Vec<(u64, u64, Vec<u8>)>,
    scores: Vec<f32>,
    stale: Vec<bool>,
    deleted: Vec<bool>,
    /// (bin, turn, edge)
    queue: Vec<(u32, usize, usize)>,
    turn: usize,
    segment: BTreeMap<u64, u64>,
}

impl Slow {
    fn score_and_queue(&mut self, edge: usize) {
        let values = &mut self.edges[edge].2;
        values.sort_unstable();
        let affinity = match self.scoring {
            Scoring::Max => affinity_of_bin(values[values.len() - 1]),
            Scoring::Mean => {
                let sum: u64 = values.iter().map(|&v| u64::from(v)).sum();
                ((sum as f64 / values.len() as f64 + 0.5) / 256.0) as f32
            }
            Scoring::Quantile(percent) => {
                let pivot = usize::from(percent) * values.len() / 100;
                affinity_of_bin(values[pivot.min(values.len() - 1)])
            }
        };
        let score = match self.scoring {
            Scoring::Mean => {
                let sum: u64 = values.iter().map(|&v| u64::from(v)).sum();
                (1.0 - (sum as f64 / values.len() as f64 + 0.5) / 256.0) as f32
            }
            _ => 1.0 - affinity,
        };
        self.scores[edge] = score;
        self.queue.push(((score * 256.0).floor().min(255.0) as u32, self.turn, edge));
        self.turn += 1;
    }

    fn run(mut self, threshold: f32) -> BTreeMap<u64, u64> {
        for edge in 0..self.edges.len() {
            self.score_and_queue(edge);
        }
        while let Some(&head) = self.queue.iter().min() {
            let edge = head.2;
            if self.scores[edge] >= threshold {
                break;
            }
            self.queue.retain(|entry| *entry != head);
            if self.deleted[edge] {
                continue;
            }
            if std::mem::take(&mut self.stale[edge]) {
                self.score_and_queue(edge);
                continue;
            }
            self.join(edge);
        }
        self.segment
    }

    fn join(&mut self, edge: usize) {
        let (u, v) = (self.edges[edge].0.min(self.edges[edge].1), self.edges[edge].0.max(self.edges[edge].1));
        for root in self.segment.values_mut() {
            if *root == v {
                *root = u;
            }
        }
        self.deleted[edge] = true;
        for f in 0..self.edges.len() {
            let (a, b, _) = self.edges[f];
            if self.deleted[f] || (a != v && b != v) {
                continue;
            }
            let m = if a == v { b } else { a };
            let g = (0..self.edges.len()).find(|&g| {
                !self.deleted[g] && [(u, m), (m, u)].contains(&(self.edges[g].0, self.edges[g].1))
            });
            (self.edges[f].0, self.edges[f].1) = (u, m);
            if let Some(g) = g {
                let (lost, kept) = if self.scores[f] > self.scores[g] { (f, g) } else { (g, f) };
                self.deleted[lost] = true;
                let values = std::mem::take(&mut self.edges[lost].2);
                self.edges[kept].2.extend(values);
                self.stale[kept] = self.stale[kept] || self.scoring != Scoring::Max;
            }
        }
    }
}

fn slow(ids: &[u64], edges: &[(u64, u64, Vec<u8>)], scoring: Scoring, threshold: f32) -> BTreeMap<u64, u64> {
    let values = |bins: &Vec<u8>| match scoring {
        Scoring::Quantile(_) => bins.iter().copied().max().into_iter().collect(),
        _ => bins.clone(),
    };
    let edges: Vec<_> = edges.iter().map(|(a, b, bins)| (*a, *b, values(bins))).collect();
    Slow {
        scoring,
        scores: vec![0.0; edges.len()],
        stale: vec![false; edges.len()],
        deleted: vec![false; edges.len()],
        edges,
        queue: Vec::new(),
        turn: 0,
        segment: ids.iter().map(|&id| (id, id)).collect(),
    }
    .run(threshold)
}

/// Random graphs; few different bins, so that most scores are ties.
fn graphs() -> impl Strategy<Value = Vec<(u64, u64, Vec<u8>)>> {
    let bin = prop_oneof![any::<u8>(), (0u8..16).prop_map(|k| k * 16)];
    prop::collection::btree_map((1u64..24, 1u64..24), prop::collection::vec(bin, 1..6), 0..70).prop_map(
        |map| {
            let mut edges: BTreeMap<(u64, u64), Vec<u8>> = BTreeMap::new();
            for ((a, b), bins) in map {
                if a != b {
                    // Spread ids, so that positions and ids differ.
                    edges.insert((a.min(b) * 7 + 3, a.max(b) * 7 + 3), bins);
                }
            }
            edges.into_iter().map(|((a, b), bins)| (a, b, bins)).collect()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]
    #[test]
    fn merging_equals_the_description_carried_out_literally(
        graph in graphs(),
        scoring in prop_oneof![
            Just(Scoring::Quantile(50)), Just(Scoring::Mean), Just(Scoring::Max), (0u8..=100).prop_map(Scoring::Quantile),
        ],
        threshold in prop::sample::select(vec![0.05f32, 0.2, 0.3, 0.5, 0.7, 0.9, 1.1]),
    ) {
        let ids: Vec<u64> = (1..26).map(|i| i * 7 + 3).collect();
        let edges: Vec<Edge> = graph
            .iter()
            .map(|(a, b, bins)| {
                let mut contact = Contact::default();
                bins.iter().for_each(|&bin| contact.add(bin));
                Edge { a: *a, b: *b, contact }
            })
            .collect();
        let expected = slow(&ids, &graph, scoring, threshold);
        let result = agglomerate(&ids, &edges, scoring, threshold);
        for (id, root) in expected {
            prop_assert_eq!(result.root(id), root, "fragment {}", id);
        }
        let thresholds = [0.6, threshold, f32::NAN, 0.1, 0.6];
        let mut order = Vec::new();
        agglomerate_at_each(&ids, &edges, scoring, &thresholds, |position, found| {
            order.push(position);
            assert_eq!(found, agglomerate(&ids, &edges, scoring, thresholds[position]), "threshold {position}");
        });
        order.sort_unstable();
        prop_assert_eq!(order, [0, 1, 2, 3, 4]);
        let mut shuffled = edges.clone();
        shuffled.reverse();
        prop_assert_eq!(agglomerate(&ids, &shuffled, scoring, threshold), result);
    }
}
