//! The algorithm by its description, and what is compared with it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::affinity::affinity_of_bin;

/// The algorithm carried out literally: lists of all affinities, a queue that is searched, edges that are searched, sizes that
/// are counted each time.
struct Slow {
    scoring: Scoring,
    /// Roots at both ends, and the values the statistic is taken of (bins of maxima, or of all affinities).
    edges: Vec<(u64, u64, Vec<u8>)>,
    /// Scores of statistics.
    scores: Vec<f32>,
    /// Scores with sizes, of when edges were queued.
    queued: Vec<f32>,
    stale: Vec<bool>,
    deleted: Vec<bool>,
    /// (bin, turn, edge)
    queue: Vec<(u32, usize, usize)>,
    turn: usize,
    voxels: BTreeMap<u64, u64>,
    segment: BTreeMap<u64, u64>,
}

fn bin_of(score: f32) -> u32 {
    (score * 256.0).floor().min(255.0) as u32
}

/// log₂, linear between powers of two.
fn log2(n: u64) -> f64 {
    let exponent = (0..63).filter(|exponent| 1 << exponent <= n).max().unwrap();
    f64::from(exponent) + n as f64 / (1u64 << exponent) as f64 - 1.0
}

impl Slow {
    fn size(&self, root: u64) -> u64 {
        self.segment.iter().filter(|(_, r)| **r == root).map(|(id, _)| self.voxels[id]).sum()
    }

    /// The score of an edge as sizes are now.
    fn score_with_sizes(&self, edge: usize) -> f32 {
        let (a, b, _) = self.edges[edge];
        let weight = f64::from(self.scoring.size_weight.thousandths());
        let log2 = log2(self.size(a).min(self.size(b))) - log2(1000);
        (f64::from(self.scores[edge]) + weight * (std::f64::consts::LOG10_2 / 1000.0) * log2) as f32
    }

    fn queue(&mut self, edge: usize) {
        self.queued[edge] = self.score_with_sizes(edge);
        self.queue.push((bin_of(self.queued[edge]), self.turn, edge));
        self.turn += 1;
    }

    fn score_and_queue(&mut self, edge: usize) {
        let values = &mut self.edges[edge].2;
        values.sort_unstable();
        self.scores[edge] = match self.scoring.statistic {
            Max => 1.0 - affinity_of_bin(values[values.len() - 1]),
            Mean => {
                let sum: u64 = values.iter().map(|&v| u64::from(v)).sum();
                (1.0 - (sum as f64 / values.len() as f64 + 0.5) / 256.0) as f32
            }
            Quantile(percent) => {
                let pivot = usize::from(percent) * values.len() / 100;
                1.0 - affinity_of_bin(values[pivot.min(values.len() - 1)])
            }
        };
        self.queue(edge);
    }

    fn run(mut self, threshold: f32) -> BTreeMap<u64, u64> {
        for edge in 0..self.edges.len() {
            self.score_and_queue(edge);
        }
        while let Some(&head) = self.queue.iter().min() {
            let (bin, _, edge) = head;
            let is_live = !self.deleted[edge] && !self.stale[edge];
            let score = if is_live { self.score_with_sizes(edge) } else { self.queued[edge] };
            if bin_of(score) > bin {
                self.queue.retain(|entry| *entry != head);
                self.queue(edge);
                continue;
            }
            if score >= threshold {
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
            // Looking at heads alone is looking at all: none that counts belongs into a lower bin.
            for &(_, _, other) in &self.queue {
                let counts = !self.deleted[other] && !self.stale[other];
                assert!(!counts || bin_of(self.score_with_sizes(other)) >= bin);
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
                self.stale[kept] = self.stale[kept] || self.scoring.statistic != Max;
            }
        }
    }
}

fn slow(
    voxels: &BTreeMap<u64, u64>,
    edges: &[(u64, u64, Vec<u8>)],
    scoring: Scoring,
    threshold: f32,
) -> BTreeMap<u64, u64> {
    let values = |bins: &Vec<u8>| match scoring.statistic {
        Quantile(_) => bins.iter().copied().max().into_iter().collect(),
        _ => bins.clone(),
    };
    let edges: Vec<_> = edges.iter().map(|(a, b, bins)| (*a, *b, values(bins))).collect();
    Slow {
        scoring,
        scores: vec![0.0; edges.len()],
        queued: vec![0.0; edges.len()],
        stale: vec![false; edges.len()],
        deleted: vec![false; edges.len()],
        edges,
        queue: Vec::new(),
        turn: 0,
        voxels: voxels.clone(),
        segment: voxels.keys().map(|&id| (id, id)).collect(),
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

/// Voxels of fragments, often equal, and some fragments that are not listed.
fn voxels() -> impl Strategy<Value = Vec<Option<u64>>> {
    let voxels = prop_oneof![Just(1), Just(1000), 1u64..60, 200u64..5000, 10_000u64..3_000_000];
    prop::collection::vec(prop::option::weighted(0.9, voxels), 25)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(900))]
    #[test]
    fn merging_equals_the_description_carried_out_literally(
        graph in graphs(),
        voxels in voxels(),
        statistic in prop_oneof![Just(Quantile(50)), Just(Mean), Just(Max), (0u8..=100).prop_map(Quantile)],
        weight in prop::sample::select(vec![0u16, 60, 300]),
        threshold in prop::sample::select(vec![0.05f32, 0.2, 0.3, 0.5, 0.7, 0.9, 1.1]),
    ) {
        let scoring = sized(statistic, weight);
        let ids: Vec<u64> = (1..26).map(|i| i * 7 + 3).collect();
        let listed = ids.iter().zip(&voxels).filter_map(|(&id, voxels)| Some(fragment(id, (*voxels)?)));
        let fragments: Vec<Fragment> = listed.collect();
        let voxels = ids.iter().zip(voxels).map(|(&id, voxels)| (id, voxels.unwrap_or(1))).collect();
        let edges: Vec<Edge> = graph
            .iter()
            .map(|(a, b, bins)| {
                let mut contact = Contact::default();
                bins.iter().for_each(|&bin| contact.add(bin));
                Edge { a: *a, b: *b, contact }
            })
            .collect();
        let expected = slow(&voxels, &graph, scoring, threshold);
        let result = agglomerate(&fragments, &edges, scoring, threshold);
        for (id, root) in expected {
            prop_assert_eq!(result.root(id), root, "fragment {}", id);
        }
        let thresholds = [0.6, threshold, f32::NAN, 0.1, 0.6];
        let mut order = Vec::new();
        agglomerate_at_each(&fragments, &edges, scoring, &thresholds, |position, found| {
            order.push(position);
            let alone = agglomerate(&fragments, &edges, scoring, thresholds[position]);
            assert_eq!(found, alone, "threshold {position}");
        });
        order.sort_unstable();
        prop_assert_eq!(order, [0, 1, 2, 3, 4]);
        let reversed = |edges: &[Edge]| edges.iter().rev().copied().collect::<Vec<_>>();
        let other_way: Vec<Fragment> = fragments.iter().rev().copied().collect();
        prop_assert_eq!(agglomerate(&other_way, &reversed(&edges), scoring, threshold), result.clone());
        if weight == 0 {
            let resized: Vec<Fragment> = fragments.iter().map(|node| fragment(node.id, 7)).collect();
            prop_assert_eq!(agglomerate(&resized, &edges, statistic.into(), threshold), result);
        }
    }
}
