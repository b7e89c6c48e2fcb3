//! How good a segmentation is: variation of information and adapted Rand error.
//!
//! Only voxels whose true label is not 0 count; a predicted 0 is a label like any other. With `n_st` the number
//! of voxels of segment `s` and true neuron `t`, `n_s`, `n_t` its sums and `n` the total:
//!
//! ```text
//! VOI split = H(segmentation | truth) = −Σ n_st/n · log2(n_st/n_t)
//! VOI merge = H(truth | segmentation) = −Σ n_st/n · log2(n_st/n_s)
//! ARAND     = 1 − 2 P_st / (P_s + P_t),   P_x = Σ n_x² − n   (ordered pairs of different voxels)
//! precision = P_st / P_t,   recall = P_st / P_s
//! ```
//!
//! These are the definitions, and precision and recall the naming, of scikit-image 0.26, whose precision divides
//! by the pairs of the *true* image. A quotient without any pair is 1 here, and the error 0, rather than NaN.

use serde::{Deserialize, Serialize};

use crate::hash::IntMap;

/// Scores of a segmentation against the truth; entropies in bits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// H(segmentation | truth): how much neurons are cut up.
    pub voi_split: f64,
    /// H(truth | segmentation): how much neurons are run together.
    pub voi_merge: f64,
    /// Sum of both.
    pub voi: f64,
    /// Adapted Rand error.
    pub arand: f64,
    /// Its precision: pairs together in both ÷ pairs together in the truth.
    pub arand_precision: f64,
    /// Its recall: pairs together in both ÷ pairs together in the segmentation.
    pub arand_recall: f64,
    /// Voxels that counted.
    pub voxels: u64,
}

/// How many voxels each pair of segment and true neuron shares. Grows block by block.
#[derive(Clone, Debug, Default)]
pub struct Contingency {
    counts: IntMap<(u64, u64), u64>,
}

impl Contingency {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a block of voxels. Voxels with truth 0 are left out.
    ///
    /// # Panics
    /// If the two slices differ in length.
    pub fn add(&mut self, segmentation: &[u64], truth: &[u64]) {
        assert_eq!(segmentation.len(), truth.len(), "segmentation and truth must have the same voxels");
        // Neighbouring voxels mostly repeat the pair, so the table is touched once per run.
        let mut voxels = segmentation.iter().copied().zip(truth.iter().copied());
        let Some(mut pair) = voxels.next() else { return };
        let mut run = 1u64;
        for next in voxels {
            if next == pair {
                run += 1;
            } else {
                self.count(pair, run);
                pair = next;
                run = 1;
            }
        }
        self.count(pair, run);
    }

    fn count(&mut self, pair: (u64, u64), voxels: u64) {
        if pair.1 != 0 {
            *self.counts.entry(pair).or_insert(0) += voxels;
        }
    }

    /// Adds all that another table has counted.
    #[allow(clippy::needless_pass_by_value, reason = "a table is merged once; taking it makes that visible")]
    pub fn merge(&mut self, other: Contingency) {
        for (pair, voxels) in other.counts {
            self.count(pair, voxels);
        }
    }

    /// The table after segments have been joined: each is counted as the one that `joined` gives for it.
    #[must_use]
    pub fn relabelled(&self, joined: impl Fn(u64) -> u64) -> Contingency {
        let mut table = Self::new();
        for (&(segment, neuron), &voxels) in &self.counts {
            table.count((joined(segment), neuron), voxels);
        }
        table
    }

    /// The scores of all that was added.
    pub fn scores(&self) -> Scores {
        // A fixed order of summation: the same counts give the same bits.
        let mut cells: Vec<((u64, u64), u64)> = self.counts.iter().map(|(&pair, &n)| (pair, n)).collect();
        cells.sort_unstable();
        let mut of_segment = IntMap::default();
        let mut of_neuron = IntMap::default();
        let mut voxels = 0u64;
        for &((segment, neuron), n) in &cells {
            *of_segment.entry(segment).or_insert(0u64) += n;
            *of_neuron.entry(neuron).or_insert(0u64) += n;
            voxels += n;
        }
        let (mut voi_split, mut voi_merge) = (0.0, 0.0);
        for &((segment, neuron), n) in &cells {
            let (joint, segment, neuron) = (n as f64, of_segment[&segment] as f64, of_neuron[&neuron] as f64);
            let weight = joint / voxels as f64;
            voi_split += weight * (neuron / joint).log2();
            voi_merge += weight * (segment / joint).log2();
        }
        let pairs_both = pairs(cells.iter().map(|&(_, n)| n));
        let pairs_segment = pairs(of_segment.values().copied());
        let pairs_neuron = pairs(of_neuron.values().copied());
        let quotient = |of: u128| if of == 0 { 1.0 } else { pairs_both as f64 / of as f64 };
        let together = pairs_segment + pairs_neuron;
        Scores {
            voi_split,
            voi_merge,
            voi: voi_split + voi_merge,
            arand: if together == 0 { 0.0 } else { 1.0 - 2.0 * pairs_both as f64 / together as f64 },
            arand_precision: quotient(pairs_neuron),
            arand_recall: quotient(pairs_segment),
            voxels,
        }
    }
}

/// Ordered pairs of different voxels within groups of the given sizes.
fn pairs(sizes: impl Iterator<Item = u64>) -> u128 {
    sizes.map(|n| u128::from(n) * u128::from(n.saturating_sub(1))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scores(segmentation: &[u64], truth: &[u64]) -> Scores {
        let mut table = Contingency::new();
        table.add(segmentation, truth);
        table.scores()
    }

    #[test]
    fn the_reference_example_scores_as_in_scikit_image() {
        let s = scores(&[1, 1, 2, 2, 2, 2, 2, 2, 3, 1], &[1, 1, 1, 1, 2, 2, 2, 2, 0, 0]);
        assert!((s.voi_split - 0.5).abs() < 1e-12);
        assert!((s.voi_merge - 0.688_721_875_540_867_2).abs() < 1e-12);
        assert!((s.voi - 1.188_721_875_540_867_2).abs() < 1e-12);
        assert!((s.arand - 3.0 / 7.0).abs() < 1e-12);
        assert!((s.arand_precision - 2.0 / 3.0).abs() < 1e-12);
        assert!((s.arand_recall - 0.5).abs() < 1e-12);
        assert_eq!(s.voxels, 8);
    }

    #[test]
    fn identical_segmentations_are_perfect_whatever_the_names() {
        let truth = [5, 5, 7, 7, 7, 9, 0];
        let renamed = [1, 1, 0, 0, 0, 2, 8];
        let s = scores(&renamed, &truth);
        assert_eq!((s.voi, s.arand, s.voxels), (0.0, 0.0, 6));
    }

    #[test]
    fn nothing_to_compare_scores_without_nan() {
        for s in [scores(&[], &[]), scores(&[1, 2], &[0, 0]), scores(&[3], &[4])] {
            assert_eq!((s.voi, s.arand, s.arand_precision, s.arand_recall), (0.0, 0.0, 1.0, 1.0));
        }
    }

    #[test]
    fn blocks_may_be_added_or_merged_in_any_order() {
        let truth = [1, 1, 2, 2, 2, 3, 3, 0, 1, 2];
        let segmentation = [4, 4, 4, 5, 5, 6, 6, 6, 7, 7];
        let whole = scores(&segmentation, &truth);
        let mut back = Contingency::new();
        back.add(&segmentation[6..], &truth[6..]);
        let mut front = Contingency::new();
        front.add(&segmentation[..6], &truth[..6]);
        back.merge(front);
        assert_eq!(back.scores(), whole);
    }

    #[test]
    fn scores_serialise_under_the_documented_keys() {
        let json = serde_json::to_value(scores(&[1], &[1])).unwrap();
        let mut keys: Vec<_> = json.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        assert_eq!(
            keys,
            ["arand", "arand_precision", "arand_recall", "voi", "voi_merge", "voi_split", "voxels"]
        );
    }
}
