//! Agglomeration: joining fragments along the region graph, edge by edge, the most certain first.
//!
//! The algorithm is waterz's iterative region merging with a queue of 256 bins (Funke et al. 2019,
//! <https://doi.org/10.1109/TPAMI.2018.2835450>), with equal results unless sizes count:
//!
//! 1. Every edge gets a score, 1 − a statistic of its affinities, plus what the sizes of its segments add to it
//!    ([`SizeWeight`]), and waits in the bin `⌊256 score⌋` of the queue, first in, first out, edges numbered by
//!    (smaller id, larger id). Scores below 0 wait in the first bin, scores from 1 on in the last.
//! 2. The head of the lowest bin is looked at. Its segments may have grown: if that has raised its score into a higher bin, it
//!    is queued again there. If its score reaches the threshold, all is done. Otherwise it is taken, and its two segments
//!    become one. A deleted edge counts with the score it was queued with, and is dropped in place of joining; so does
//!    a stale one, which is scored again and queued again.
//! 3. When segments `u < v` join, each other edge of `v` moves to `u`. If `u` already has an edge to the same
//!    neighbour, the one whose statistic has the larger score is deleted and its affinities go to the other, which becomes
//!    stale if they changed its statistic. If these scores are equal the edge of `v` survives.
//!
//! A segment is named by its smallest fragment id. A result depends on the graph alone; it follows that a higher threshold
//! continues where a lower one stopped, so that many thresholds cost no more than the highest ([`agglomerate_at_each`]).
//!
//! Only step 3 is organised differently: edges hang on interchangeable slots, so that the shorter list of edges can
//! be moved whichever of `u` and `v` it belongs to, and `O(E log E)` bounds all moves.

mod merging;
mod scoring;
mod size_weight;
mod statistic;

use std::cmp::Reverse;
use std::sync::Arc;

pub use scoring::{EdgeStatistic, Scoring, ScoringError};
pub use size_weight::SizeWeight;

use crate::graph::{Edge, Fragment};
use statistic::{MaxStatistic, MeanStatistic, QuantileStatistic};

/// Segments: sets of fragments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agglomeration {
    /// Ascending; the results of several thresholds share them.
    fragment_ids: Arc<Vec<u64>>,
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

/// Joins fragments while the score of the best edge is below `threshold`; see [`Scoring`].
///
/// `fragments` and `edges` may come in any order. Fragments that occur in edges alone are added and count as one voxel, as
/// do those of no voxel. A fragment that is listed more than once is one fragment, of the largest of the numbers of voxels
/// that are given. Edges of the same two fragments are taken together, edges to id 0 or to itself are ignored.
/// A segment has the voxels of all its fragments. A threshold that is not above 0 joins nothing, though sizes
/// can take scores below it.
///
/// # Panics
/// If there are 2³² or more fragments or edges.
pub fn agglomerate(
    fragments: &[Fragment],
    edges: &[Edge],
    scoring: Scoring,
    threshold: f32,
) -> Agglomeration {
    let mut result = Agglomeration { fragment_ids: Arc::default(), roots: Vec::new() };
    agglomerate_at_each(fragments, edges, scoring, &[threshold], |_, found| result = found);
    result
}

/// [`agglomerate`] with each of `thresholds`, in one run: `found` gets every threshold's position and segments, the lowest
/// threshold first.
///
/// # Panics
/// If there are 2³² or more fragments or edges.
pub fn agglomerate_at_each(
    fragments: &[Fragment],
    edges: &[Edge],
    scoring: Scoring,
    thresholds: &[f32],
    mut found: impl FnMut(usize, Agglomeration),
) {
    let edges = normalised(edges);
    let (ids, sizes) = nodes(fragments, &edges);
    let ids = Arc::new(ids);
    assert!(
        ids.len() < u32::MAX as usize && edges.len() < u32::MAX as usize,
        "the region graph is too large"
    );
    let endpoints = endpoints(&ids, &edges);
    let mut ascending: Vec<(usize, f32)> = thresholds
        .iter()
        .map(|threshold| if *threshold > 0.0 { *threshold } else { f32::NEG_INFINITY })
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
        found(position, Agglomeration { fragment_ids: Arc::clone(&ids), roots });
    };
    let graph = merging::Graph { sizes, endpoints, size_weight: scoring.size_weight };
    match scoring.statistic {
        EdgeStatistic::Quantile(percent) => {
            merging::merge(graph, QuantileStatistic::new(&edges, percent), &ascending, found);
        }
        EdgeStatistic::Mean => merging::merge(graph, MeanStatistic::new(&edges), &ascending, found),
        EdgeStatistic::Max => merging::merge(graph, MaxStatistic::new(&edges), &ascending, found),
    }
}

/// The ids of all fragments, those that occur in edges alone too, ascending, and their voxels.
fn nodes(fragments: &[Fragment], edges: &[Edge]) -> (Vec<u64>, Vec<u64>) {
    let tidy = |nodes: &mut Vec<Fragment>| {
        nodes.sort_unstable_by_key(|node| (node.id, Reverse(node.voxels)));
        nodes.dedup_by_key(|node| node.id);
    };
    let mut nodes: Vec<Fragment> = fragments.iter().copied().filter(|node| node.id != 0).collect();
    tidy(&mut nodes);
    let is_missing = |id: &u64| nodes.binary_search_by_key(id, |node| node.id).is_err();
    let missing: Vec<Fragment> = edges
        .iter()
        .flat_map(|edge| [edge.a, edge.b])
        .filter(is_missing)
        .map(|id| Fragment { id, voxels: 1 })
        .collect();
    if !missing.is_empty() {
        nodes.extend(missing);
        tidy(&mut nodes);
    }
    nodes.into_iter().map(|node| (node.id, node.voxels)).unzip()
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
