//! The three orders in which a Mamba block visits the tokens of a volume.
//!
//! Tokens lie in raster order, x fastest. With S slices of P = L/S tokens each, the inter-slice order visits
//! token s·P + p at position p·S + s: z runs fastest at a fixed in-plane position when S is the number of z
//! slices.

/// A permutation of the `L` tokens of a sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScanOrder {
    /// Raster order.
    Forward,
    /// Raster order reversed.
    Backward,
    /// z fastest.
    InterSlice {
        /// S; divides L.
        slices: usize,
    },
}

impl ScanOrder {
    /// The token visited at a position, for sequences of `length` tokens.
    #[inline]
    pub fn token(self, position: usize, length: usize) -> usize {
        match self {
            ScanOrder::Forward => position,
            ScanOrder::Backward => length - 1 - position,
            ScanOrder::InterSlice { slices } => position % slices * (length / slices) + position / slices,
        }
    }

    /// The position at which a token is visited, for sequences of `length` tokens.
    #[inline]
    pub fn position(self, token: usize, length: usize) -> usize {
        match self {
            ScanOrder::Forward => token,
            ScanOrder::Backward => length - 1 - token,
            ScanOrder::InterSlice { slices } => {
                let plane = length / slices;
                token % plane * slices + token / plane
            }
        }
    }

    /// Slices S: 1 for the orders that know none.
    pub fn slices(self) -> usize {
        match self {
            ScanOrder::Forward | ScanOrder::Backward => 1,
            ScanOrder::InterSlice { slices } => slices,
        }
    }

    /// Whether the order visits sequences of `length` tokens: its slices have to be equal.
    pub fn fits(self, length: usize) -> bool {
        self.slices() > 0 && length.is_multiple_of(self.slices())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_visits_every_token_once_and_position_is_the_inverse() {
        let sliced = [1, 2, 5, 16, 80].map(|slices| ScanOrder::InterSlice { slices });
        for order in [ScanOrder::Forward, ScanOrder::Backward].into_iter().chain(sliced) {
            let mut tokens: Vec<usize> = (0..80).map(|position| order.token(position, 80)).collect();
            assert!((0..80).all(|position| order.position(tokens[position], 80) == position), "{order:?}");
            tokens.sort_unstable();
            assert_eq!(tokens, (0..80).collect::<Vec<_>>(), "{order:?}");
        }
    }

    #[test]
    fn with_one_slice_per_section_successive_positions_differ_by_one_section() {
        let (sections, plane) = (4, 6);
        let order = ScanOrder::InterSlice { slices: sections };
        let visited = (0..5).map(|position| order.token(position, sections * plane));
        assert_eq!(visited.collect::<Vec<_>>(), [0, 6, 12, 18, 1]);
    }

    #[test]
    fn slices_have_to_divide_the_sequence() {
        assert!(ScanOrder::InterSlice { slices: 5 }.fits(80) && ScanOrder::Backward.fits(7));
        assert!(
            !ScanOrder::InterSlice { slices: 3 }.fits(80) && !ScanOrder::InterSlice { slices: 0 }.fits(80)
        );
    }
}
