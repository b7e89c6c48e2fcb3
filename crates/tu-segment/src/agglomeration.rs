//! Agglomeration: joining fragments along the region graph, edge by edge, the most certain first.
//!
//! The algorithm is waterz's iterative region merging with a queue of 256 bins (Funke et al. 2019,
//! <https://doi.org/10.1109/TPAMI.2018.2835450>), with equal results:
//!
//! 1. Every edge gets a score, 1 − a statistic of its affinities, and waits in the bin `⌊256 score⌋` of the queue,
//!    first in, first out, edges numbered by (smaller id, larger id).
//! 2. The head of the lowest bin is taken. If its score reaches the threshold, all is done. A deleted edge is
//!    dropped; a stale one is scored again and queued again; otherwise its two segments become one.
//! 3. When segments `u < v` join, each other edge of `v` moves to `u`. If `u` already has an edge to the same
//!    neighbour, the one with the larger score is deleted and its affinities go to the other, which becomes stale
//!    if they changed its statistic. If the scores are equal the edge of `v` survives.
//!
//! A segment is named by its smallest fragment id. A result depends on the graph alone; it follows that a higher threshold
//! continues where a lower one stopped, so that many thresholds cost no more than the highest ([`agglomerate_at_each`]).
//!
//! Only step 3 is organised differently: edges hang on interchangeable slots, so that the shorter list of edges can
//! be moved whichever of `u` and `v` it belongs to, and `O(E log E)` bounds all moves.

mod merging;
mod scoring;
mod statistic;

pub use scoring::{Scoring, ScoringError};

use crate::graph::Edge;
use statistic::{MaxStatistic, MeanStatistic, QuantileStatistic};

/// Segments: sets of fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agglomeration {
    /// Ascending.
    fragment_ids: Vec<u64>,
    /// The smallest id of each fragment's segment.
    roots: Vec<u64>,
}

impl Agglomeration {
    /// The segment of a fragment, named by its smallest fragment id. An id that is not in the graph (0 included) is
    /// its own.
    pub fn root(&self, id: u64) -> u64 {
        self.fragment_ids.binary_search(&id).map_or(id, |position| self.roots[position])
    }

    /// All `(fragment, root)` whose root is another fragment, ascending.
    pub fn pairs(&self) -> impl Iterator<Item = (u64, u64)> {
        self.fragment_ids.iter().copied().zip(self.roots.iter().copied()).filter(|(id, root)| id != root)
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.fragment_ids.len() - self.pairs().count()
    }

    /// Replaces fragment ids by those of their segments, in place.
    pub fn relabel(&self, labels: &mut [u64]) {
        for run in labels.chunk_by_mut(|a, b| a == b) {
            run.fill(self.root(run[0]));
        }
    }
}

/// Joins fragments while the score (1 − affinity statistic) of the best edge is below `threshold`.
///
/// `fragment_ids` and `edges` may come in any order; ids that occur in edges alone are added, edges of the same two
/// fragments are taken together, edges to id 0 or to itself are ignored. A threshold that is not a number joins
/// nothing.
///
/// # Panics
/// If there are 2³² or more fragments or edges.
pub fn agglomerate(fragment_ids: &[u64], edges: &[Edge], scoring: Scoring, threshold: f32) -> Agglomeration {
    let mut result = Agglomeration { fragment_ids: Vec::new(), roots: Vec::new() };
    agglomerate_at_each(fragment_ids, edges, scoring, &[threshold], |_, found| result = found);
    result
}

/// [`agglomerate`] with each of `thresholds`, in one run: `found` gets every threshold's position and segments, the lowest
/// threshold first.
///
/// # Panics
/// If there are 2³² or more fragments or edges.
pub fn agglomerate_at_each(
    fragment_ids: &[u64],
    edges: &[Edge],
    scoring: Scoring,
    thresholds: &[f32],
    mut found: impl FnMut(usize, Agglomeration),
) {
    let edges = normalised(edges);
    let mut ids = fragment_ids.to_vec();
    ids.extend(edges.iter().flat_map(|edge| [edge.a, edge.b]));
    ids.retain(|&id| id != 0);
    ids.sort_unstable();
    ids.dedup();
    assert!(
        ids.len() < u32::MAX as usize && edges.len() < u32::MAX as usize,
        "the region graph is too large"
    );
    let endpoints = endpoints(&ids, &edges);
    let mut ascending: Vec<(usize, f32)> = thresholds
        .iter()
        .map(|threshold| if threshold.is_nan() { f32::NEG_INFINITY } else { *threshold })
        .enumerate()
        .collect();
    ascending.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    let found = |position, parents: &[u32]| {
        // Parents precede their children, so one pass finds every root.
        let mut roots = Vec::with_capacity(ids.len());
        for (node, &parent) in parents.iter().enumerate() {
            let parent = parent as usize;
            roots.push(if parent == node { ids[node] } else { roots[parent] });
        }
        found(position, Agglomeration { fragment_ids: ids.clone(), roots });
    };
    let nodes = ids.len();
    match scoring {
        Scoring::Quantile(percent) => {
            merging::merge(nodes, endpoints, QuantileStatistic::new(&edges, percent), &ascending, found);
        }
        Scoring::Mean => merging::merge(nodes, endpoints, MeanStatistic::new(&edges), &ascending, found),
        Scoring::Max => merging::merge(nodes, endpoints, MaxStatistic::new(&edges), &ascending, found),
    }
}

/// Edges with `0 < a < b`, ascending, one per pair.
fn normalised(edges: &[Edge]) -> Vec<Edge> {
    let mut edges: Vec<Edge> = edges
        .iter()
        .filter(|edge| edge.a != edge.b && edge.a != 0 && edge.b != 0)
        .map(|edge| Edge { a: edge.a.min(edge.b), b: edge.a.max(edge.b), contact: edge.contact })
        .collect();
    if !edges.is_sorted_by(|e, f| (e.a, e.b) < (f.a, f.b)) {
        edges.sort_by_key(|edge| (edge.a, edge.b));
        edges.dedup_by(|next, kept| {
            let same = (next.a, next.b) == (kept.a, kept.b);
            if same {
                kept.contact.merge(&next.contact);
            }
            same
        });
    }
    edges
}

/// Positions in `ids` (ascending) of both ends of every edge.
fn endpoints(ids: &[u64], edges: &[Edge]) -> Vec<[u32; 2]> {
    let mut position = 0;
    edges
        .iter()
        .map(|edge| {
            // Edges ascend by `a`, so it is found by walking; `b` lies behind it, mostly not far.
            while ids[position] != edge.a {
                position += 1;
            }
            let mut reach = 1;
            while ids.get(position + reach).is_some_and(|&id| id < edge.b) {
                reach *= 2;
            }
            let (begin, end) = (position + reach / 2, (position + reach + 1).min(ids.len()));
            let b = begin + ids[begin..end].partition_point(|&id| id < edge.b);
            [position as u32, b as u32]
        })
        .collect()
}

#[cfg(test)]
mod tests;
