//! The statistics behind the scorings, one value per edge, merged as edges merge.

use crate::affinity::affinity_of_bin;
use crate::graph::Edge;

/// A statistic of every edge's affinities. Edges are numbered as in the list they were made from.
pub(super) trait Statistic {
    /// 1 − the statistic of an edge; between 0 and 1.
    fn score(&self, edge: u32) -> f32;
    /// Adds the affinities of edge `from`, whose score is not smaller, to edge `to`. Says whether `to` may have a
    /// new score.
    fn absorb(&mut self, from: u32, to: u32) -> bool;
}

/// The largest affinity of an edge.
pub(super) struct MaxStatistic(Vec<u8>);

impl MaxStatistic {
    pub(super) fn new(edges: &[Edge]) -> Self {
        Self(edges.iter().map(|edge| edge.contact.max).collect())
    }
}

impl Statistic for MaxStatistic {
    fn score(&self, edge: u32) -> f32 {
        1.0 - affinity_of_bin(self.0[edge as usize])
    }

    fn absorb(&mut self, _from: u32, _to: u32) -> bool {
        // The larger score is the smaller maximum.
        false
    }
}

/// The mean of an edge's affinities.
pub(super) struct MeanStatistic(Vec<(u64, u64)>);

impl MeanStatistic {
    pub(super) fn new(edges: &[Edge]) -> Self {
        Self(edges.iter().map(|edge| (edge.contact.sum, edge.contact.count)).collect())
    }
}

impl Statistic for MeanStatistic {
    fn score(&self, edge: u32) -> f32 {
        let (sum, count) = self.0[edge as usize];
        let mean_bin = sum as f64 / count.max(1) as f64;
        (1.0 - (mean_bin + 0.5) / 256.0) as f32
    }

    fn absorb(&mut self, from: u32, to: u32) -> bool {
        let (sum, count) = self.0[from as usize];
        let kept = &mut self.0[to as usize];
        kept.0 += sum;
        kept.1 += count;
        true
    }
}

/// A quantile of the maxima of the contacts that an edge was merged from.
///
/// A contact between two fragments counts once, by its largest bin. Most edges never merge, so only those that do
/// get a histogram, as a list of (bin, count) ascending by bin.
pub(super) struct QuantileStatistic {
    percent: u64,
    /// The one bin of an edge that has not merged.
    single: Vec<u8>,
    /// Position in `histograms` of an edge that has, or [`Self::UNMERGED`].
    histogram_of: Vec<u32>,
    histograms: Vec<Vec<(u8, u32)>>,
}

impl QuantileStatistic {
    const UNMERGED: u32 = u32::MAX;

    pub(super) fn new(edges: &[Edge], percent: u8) -> Self {
        Self {
            percent: u64::from(percent),
            single: edges.iter().map(|edge| edge.contact.max).collect(),
            histogram_of: vec![Self::UNMERGED; edges.len()],
            histograms: Vec::new(),
        }
    }

    /// Takes an edge's histogram away.
    fn take(&mut self, edge: u32) -> Vec<(u8, u32)> {
        match self.histogram_of[edge as usize] {
            Self::UNMERGED => vec![(self.single[edge as usize], 1)],
            position => std::mem::take(&mut self.histograms[position as usize]),
        }
    }
}

impl Statistic for QuantileStatistic {
    fn score(&self, edge: u32) -> f32 {
        let position = self.histogram_of[edge as usize];
        if position == Self::UNMERGED {
            return 1.0 - affinity_of_bin(self.single[edge as usize]);
        }
        let histogram = &self.histograms[position as usize];
        let entries: u64 = histogram.iter().map(|&(_, count)| u64::from(count)).sum();
        let pivot = (self.percent * entries / 100 + 1).min(entries);
        let mut below = 0;
        let bin = histogram.iter().find_map(|&(bin, count)| {
            below += u64::from(count);
            (below >= pivot).then_some(bin)
        });
        1.0 - affinity_of_bin(bin.unwrap_or(0))
    }

    fn absorb(&mut self, from: u32, to: u32) -> bool {
        let merged = match (self.take(from), self.take(to)) {
            (one, mut many) | (mut many, one) if one.len() == 1 => {
                let (bin, count) = one[0];
                match many.binary_search_by_key(&bin, |&(bin, _)| bin) {
                    Ok(at) => many[at].1 += count,
                    Err(at) => many.insert(at, (bin, count)),
                }
                many
            }
            (left, right) => union(&left, &right),
        };
        match self.histogram_of[to as usize] {
            Self::UNMERGED => {
                self.histogram_of[to as usize] = self.histograms.len() as u32;
                self.histograms.push(merged);
            }
            position => self.histograms[position as usize] = merged,
        }
        true
    }
}

/// The sum of two histograms.
fn union(left: &[(u8, u32)], right: &[(u8, u32)]) -> Vec<(u8, u32)> {
    let mut sum = Vec::with_capacity((left.len() + right.len()).min(256));
    let (mut i, mut j) = (0, 0);
    while i < left.len() && j < right.len() {
        let (bin, count) = left[i].min(right[j]);
        let (from_left, from_right) = (left[i].0 == bin, right[j].0 == bin);
        sum.push(if from_left && from_right { (bin, left[i].1 + right[j].1) } else { (bin, count) });
        i += usize::from(from_left);
        j += usize::from(from_right);
    }
    sum.extend_from_slice(&left[i..]);
    sum.extend_from_slice(&right[j..]);
    sum
}
