//! The three orders in which a Mamba block visits the tokens of a volume.
//!
//! Tokens lie in raster order, x fastest.  With S slices of P = L/S tokens each, the inter-slice order visits
//! token s·P + p at position p·S + s: z runs fastest at a fixed in-plane position when S is the number of z
//! slices.

use burn::tensor::Tensor;

/// A permutation of the token axis of `[B, L, C]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Tokens in visiting order.
    pub fn apply(self, tokens: Tensor<3>) -> Tensor<3> {
        match self {
            ScanOrder::Forward => tokens,
            ScanOrder::Backward => tokens.flip([1]),
            ScanOrder::InterSlice { slices } => swap(tokens, slices),
        }
    }

    /// Tokens back in raster order.
    pub fn invert(self, tokens: Tensor<3>) -> Tensor<3> {
        let [_, l, _] = tokens.dims();
        match self {
            ScanOrder::Forward => tokens,
            ScanOrder::Backward => tokens.flip([1]),
            ScanOrder::InterSlice { slices } => swap(tokens, l / slices),
        }
    }
}

/// Reads L as (rows, L / rows) and transposes it.
fn swap(tokens: Tensor<3>, rows: usize) -> Tensor<3> {
    let [b, l, c] = tokens.dims();
    if rows == 1 || rows == l {
        return tokens;
    }
    tokens.reshape([b, rows, l / rows, c]).swap_dims(1, 2).reshape([b, l, c])
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    fn ramp(l: usize) -> Tensor<3> {
        let values: Vec<f32> = (0..l * 2).map(|v| v as f32).collect();
        Tensor::from_data(TensorData::new(values, [1, l, 2]), &Device::flex())
    }

    fn first_channel(t: Tensor<3>) -> Vec<usize> {
        t.into_data().iter::<f32>().step_by(2).map(|v| v as usize / 2).collect()
    }

    #[test]
    fn every_order_is_undone_by_its_inverse() {
        for slices in [1, 2, 5, 16, 80] {
            let order = ScanOrder::InterSlice { slices };
            let back = first_channel(order.invert(order.apply(ramp(80))));
            assert_eq!(back, (0..80).collect::<Vec<_>>(), "S = {slices}");
        }
        let back = first_channel(ScanOrder::Backward.invert(ScanOrder::Backward.apply(ramp(7))));
        assert_eq!(back, (0..7).collect::<Vec<_>>());
    }

    #[test]
    fn with_one_slice_per_section_successive_positions_differ_by_one_section() {
        let (sections, plane) = (4, 6);
        let visited = first_channel(ScanOrder::InterSlice { slices: sections }.apply(ramp(sections * plane)));
        assert_eq!(&visited[..5], &[0, 6, 12, 18, 1]);
    }
}
