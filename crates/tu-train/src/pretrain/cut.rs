//! The cut of a token path: a visible prefix π(0..n), and the suffix π(n..K) that is hidden in the input.
//!
//! One n ~ U{1..K−1} per draw is a Monte-Carlo estimate of the sum over all positions. The suffix is hidden in the input
//! because the network scans in both directions, convolves and normalises over the whole crop: with the suffix in the
//! input, masking the loss alone would let it copy.

use rand::Rng;

use super::{PathKind, TokenGrid};

/// A path and where it is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    path: Vec<usize>,
    visible: usize,
}

impl Cut {
    /// A drawn cut of a path of the kind.
    pub fn draw(rng: &mut impl Rng, grid: &TokenGrid, kind: PathKind) -> Self {
        let path = grid.path(kind, rng);
        let visible = rng.random_range(1..path.len());
        Self { path, visible }
    }

    /// The cut behind the first `visible` tokens of a path, brought into 1..=K−1.
    #[must_use]
    pub fn at(path: Vec<usize>, visible: usize) -> Self {
        let visible = visible.clamp(1, path.len().saturating_sub(1).max(1));
        Self { path, visible }
    }

    /// n, the number of visible tokens.
    #[must_use]
    pub fn visible(&self) -> usize {
        self.visible
    }

    /// The token behind the cut, π(n).
    #[must_use]
    pub fn next(&self) -> usize {
        self.path[self.visible]
    }

    /// The tokens behind the cut, π(n), …, π(K−1).
    #[must_use]
    pub fn suffix(&self) -> &[usize] {
        &self.path[self.visible..]
    }

    /// For each token in raster order, whether it is hidden.
    #[must_use]
    pub fn hidden(&self) -> Vec<bool> {
        let mut hidden = vec![false; self.path.len()];
        self.suffix().iter().for_each(|&token| hidden[token] = true);
        hidden
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> TokenGrid {
        TokenGrid::new([2, 4, 6], [1, 2, 2]).unwrap()
    }

    #[test]
    fn each_cut_from_1_to_k_minus_1_is_reached_and_no_other() {
        let tokens = grid().tokens();
        let mut counts = vec![0; tokens + 1];
        for step in 0..2400 {
            let cut = Cut::draw(&mut crate::data::sample_rng(1, step, 0), &grid(), PathKind::Raster);
            counts[cut.visible()] += 1;
        }
        assert_eq!((counts[0], counts[tokens]), (0, 0));
        // 218 expected each, standard deviation 14.
        assert!(counts[1..tokens].iter().all(|c| (140..300).contains(c)), "{counts:?}");
    }

    #[test]
    fn the_last_cut_leaves_the_next_token_alone_in_the_suffix() {
        let path = grid().path(PathKind::Drawn, &mut crate::data::sample_rng(1, 5, 0));
        let cut = Cut::at(path, grid().tokens() - 1);
        assert_eq!(cut.suffix(), [cut.next()]);
    }

    #[test]
    fn hidden_tokens_are_those_of_the_suffix_wherever_the_path_leads() {
        for step in 0..20 {
            let cut = Cut::draw(&mut crate::data::sample_rng(1, step, 0), &grid(), PathKind::Drawn);
            let hidden = cut.hidden();
            assert_eq!(hidden.iter().filter(|h| **h).count(), grid().tokens() - cut.visible());
            assert!(cut.suffix().iter().all(|&token| hidden[token]) && hidden[cut.next()]);
        }
    }
}
