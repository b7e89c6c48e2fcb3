//! The merge loop of the agglomeration, see the parent module.

use std::collections::VecDeque;
use std::collections::hash_map::Entry;

use super::size_weight::SizeWeight;
use super::statistic::Statistic;
use crate::hash::IntMap;

/// Number of bins of the queue.
const BINS: usize = 256;

/// What is merged: nodes, edges between them, and what the size of nodes counts for.
pub(super) struct Graph {
    /// Voxels of every node.
    pub(super) sizes: Vec<u64>,
    /// The nodes at both ends of every edge.
    pub(super) endpoints: Vec<[u32; 2]>,
    pub(super) size_weight: SizeWeight,
}

/// Joins the nodes of a graph along its edges. Whenever the best score has reached the next of `thresholds` (positions and
/// numbers, ascending), `found` gets its position and every node's parent: a smaller node it was joined to, or itself.
pub(super) fn merge<S: Statistic>(
    graph: Graph,
    statistic: S,
    thresholds: &[(usize, f32)],
    mut found: impl FnMut(usize, &[u32]),
) {
    let Some(&(_, highest)) = thresholds.last() else { return };
    let mut merging = Merging::new(graph, statistic, highest);
    for &(position, threshold) in thresholds {
        while let Some(edge) = merging.take_below(threshold) {
            match merging.links[edge as usize].state {
                State::Deleted => {}
                State::Stale => {
                    merging.links[edge as usize].state = State::Live;
                    merging.rescore(edge);
                }
                State::Live => merging.join(edge),
            }
        }
        found(position, &merging.parents);
    }
}

/// First-in-first-out bins of edges by score.
struct BinQueue {
    bins: Vec<VecDeque<u32>>,
    lowest: usize,
}

impl BinQueue {
    fn new(threshold: f32) -> Self {
        // Edges in a bin above the threshold's are never taken, hence not kept.
        Self { bins: vec![VecDeque::new(); bin_of(threshold) + 1], lowest: 0 }
    }

    fn push(&mut self, edge: u32, score: f32) {
        let bin = bin_of(score);
        if let Some(queue) = self.bins.get_mut(bin) {
            queue.push_back(edge);
            self.lowest = self.lowest.min(bin);
        }
    }

    /// The head of the lowest bin that is not empty.
    fn head(&mut self) -> Option<u32> {
        loop {
            match self.bins.get(self.lowest)?.front() {
                Some(&edge) => return Some(edge),
                None => self.lowest += 1,
            }
        }
    }

    /// Takes what [`Self::head`] has given.
    fn take_head(&mut self) {
        if let Some(queue) = self.bins.get_mut(self.lowest) {
            queue.pop_front();
        }
    }
}

/// The bin of a score; below 0 the first, from 1 on the last.
fn bin_of(score: f32) -> usize {
    ((score * BINS as f32) as usize).min(BINS - 1)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Live,
    /// Its statistic has changed since it was scored.
    Stale,
    Deleted,
}

/// What the loop knows of an edge.
struct Link {
    /// The slots at both ends, in any order.
    slots: [u32; 2],
    /// That of its statistic, without sizes: it decides which of two edges survives.
    score: f32,
    /// Its score with sizes, when it was queued or last looked at: it decides bin and threshold.
    sized_score: f32,
    state: State,
}

struct Merging<S> {
    statistic: S,
    size_weight: SizeWeight,
    /// Voxels of the segment at each slot that is in use.
    sizes: Vec<u64>,
    links: Vec<Link>,
    queue: BinQueue,
    /// Edges at each slot; deleted ones may linger.
    incident: Vec<Vec<u32>>,
    /// The edge between two slots. Pairs with a slot that was given up linger, until [`Self::sweep`].
    between: IntMap<u64, u32>,
    /// Edges that are not deleted.
    live: usize,
    /// The node at each slot that is in use.
    node_at: Vec<u32>,
    parents: Vec<u32>,
}

/// The key of two slots, whichever order they come in.
fn key(slot: u32, other: u32) -> u64 {
    u64::from(slot.min(other)) << 32 | u64::from(slot.max(other))
}

impl<S: Statistic> Merging<S> {
    fn new(graph: Graph, statistic: S, threshold: f32) -> Self {
        let Graph { sizes, endpoints, size_weight } = graph;
        let nodes = sizes.len();
        let mut degrees = vec![0usize; nodes];
        for &[u, v] in &endpoints {
            degrees[u as usize] += 1;
            degrees[v as usize] += 1;
        }
        let mut incident: Vec<Vec<u32>> = degrees.into_iter().map(Vec::with_capacity).collect();
        let mut between = IntMap::with_capacity_and_hasher(endpoints.len(), Default::default());
        for (edge, &[u, v]) in endpoints.iter().enumerate() {
            incident[u as usize].push(edge as u32);
            incident[v as usize].push(edge as u32);
            between.insert(key(u, v), edge as u32);
        }
        let mut merging = Self {
            statistic,
            size_weight,
            sizes,
            live: endpoints.len(),
            links: endpoints
                .into_iter()
                .map(|slots| Link { slots, score: 0.0, sized_score: 0.0, state: State::Live })
                .collect(),
            queue: BinQueue::new(threshold),
            incident,
            between,
            node_at: (0..nodes as u32).collect(),
            parents: (0..nodes as u32).collect(),
        };
        for edge in 0..merging.links.len() as u32 {
            merging.rescore(edge);
        }
        merging
    }

    /// Takes the head of the lowest bin if its score is below the threshold.
    ///
    /// Sizes change with every join, and with them the scores of all edges of the joined segment; only the head's is brought
    /// up to date. That is exact up to the order within a bin: segments only grow, so the score of an edge that is not
    /// stale has grown, if anything, since it was queued, and no such edge waits in a bin above that of its score. If
    /// the head of the lowest bin is still where it belongs, no other belongs lower. If it is not, it moves to the end
    /// of a higher bin, so that this ends. For stale edges that holds no more than it does without sizes: they are scored when
    /// they come up.
    fn take_below(&mut self, threshold: f32) -> Option<u32> {
        loop {
            let edge = self.queue.head()?;
            if self.size_weight != SizeWeight::NONE && self.links[edge as usize].state == State::Live {
                let score = self.score_with_sizes(edge);
                if bin_of(score) > self.queue.lowest {
                    self.queue.take_head();
                    self.queue.push(edge, score);
                    continue;
                }
            }
            if self.links[edge as usize].sized_score < threshold {
                self.queue.take_head();
                return Some(edge);
            }
            return None;
        }
    }

    fn rescore(&mut self, edge: u32) {
        self.links[edge as usize].score = self.statistic.score(edge);
        let score = self.score_with_sizes(edge);
        self.queue.push(edge, score);
    }

    /// Brings what sizes add to the score of an edge up to date.
    fn score_with_sizes(&mut self, edge: u32) -> f32 {
        let link = &mut self.links[edge as usize];
        let [u, v] = link.slots.map(|slot| self.sizes[slot as usize]);
        link.sized_score = self.size_weight.score(link.score, u.min(v));
        link.sized_score
    }

    fn delete(&mut self, edge: u32) {
        self.links[edge as usize].state = State::Deleted;
        self.live -= 1;
    }

    /// Joins the two segments at the ends of an edge.
    fn join(&mut self, edge: u32) {
        let [p, q] = self.links[edge as usize].slots;
        let (node_p, node_q) = (self.node_at[p as usize], self.node_at[q as usize]);
        let (root, absorbed) = (node_p.min(node_q), node_p.max(node_q));
        self.parents[absorbed as usize] = root;
        // The shorter list moves to the slot of the longer, which then holds the root.
        let (kept, moved) =
            if self.incident[p as usize].len() >= self.incident[q as usize].len() { (p, q) } else { (q, p) };
        let moved_is_absorbed = self.node_at[moved as usize] == absorbed;
        self.node_at[kept as usize] = root;
        self.sizes[kept as usize] = self.sizes[p as usize].saturating_add(self.sizes[q as usize]);
        self.delete(edge);
        for candidate in std::mem::take(&mut self.incident[moved as usize]) {
            let link = &mut self.links[candidate as usize];
            if link.state == State::Deleted {
                continue;
            }
            let [from, to] = link.slots;
            let neighbour = if from == moved { to } else { from };
            let mut present = match self.between.entry(key(kept, neighbour)) {
                Entry::Vacant(place) => {
                    place.insert(candidate);
                    link.slots = [kept, neighbour];
                    self.incident[kept as usize].push(candidate);
                    continue;
                }
                Entry::Occupied(place) => place,
            };
            let of_kept = *present.get();
            let (of_absorbed, of_root) =
                if moved_is_absorbed { (candidate, of_kept) } else { (of_kept, candidate) };
            let root_survives = self.links[of_absorbed as usize].score > self.links[of_root as usize].score;
            let (survivor, deleted) =
                if root_survives { (of_root, of_absorbed) } else { (of_absorbed, of_root) };
            if survivor == candidate {
                present.insert(candidate);
                self.links[candidate as usize].slots = [kept, neighbour];
                self.incident[kept as usize].push(candidate);
            }
            if self.statistic.absorb(deleted, survivor) {
                self.links[survivor as usize].state = State::Stale;
            }
            self.delete(deleted);
        }
        if self.between.len() > 2 * self.live + 1024 {
            self.sweep();
        }
    }

    /// Rebuilds the table of pairs from the edges that live: it stays as small as the graph has become, and costs
    /// a constant per pair that was left behind.
    fn sweep(&mut self) {
        self.between.clear();
        self.between.shrink_to(self.live);
        for (edge, link) in self.links.iter().enumerate() {
            if link.state != State::Deleted {
                self.between.insert(key(link.slots[0], link.slots[1]), edge as u32);
            }
        }
    }
}
