//! Where a token lies, as numbers (Vaswani et al. 2017, one axis after the other): with f = ⌊W/6⌋ frequencies per axis,
//! sin(p·10000^(−i/f)) and cos(p·10000^(−i/f)) for p = z, then y, then x; what is left of the width W is 0.

use burn::tensor::{Device, Tensor, TensorData};

use super::TokenGrid;

/// The codes of all tokens of a grid.
#[derive(Clone, Debug)]
pub struct PositionTable {
    width: usize,
    values: Vec<f32>,
}

impl PositionTable {
    /// Codes of `width` numbers, at least 6.
    #[must_use]
    pub fn new(grid: &TokenGrid, width: usize) -> Self {
        let frequencies = width / 6;
        let mut values = vec![0.0; grid.tokens() * width];
        for (token, code) in values.chunks_exact_mut(width).enumerate() {
            for (axis, position) in grid.position(token).into_iter().enumerate() {
                for i in 0..frequencies {
                    let angle = position as f64 * 10_000f64.powf(-(i as f64) / frequencies as f64);
                    code[2 * (axis * frequencies + i)] = angle.sin() as f32;
                    code[2 * (axis * frequencies + i) + 1] = angle.cos() as f32;
                }
            }
        }
        Self { width, values }
    }

    /// All codes, `[1, K, W]`.
    #[must_use]
    pub fn all(&self, device: &Device) -> Tensor<3> {
        let shape = [1, self.values.len() / self.width, self.width];
        Tensor::from_data(TensorData::new(self.values.clone(), shape), device)
    }

    /// The codes of one token per sample, `[B, 1, W]`.
    #[must_use]
    pub fn one_each(&self, tokens: &[usize], device: &Device) -> Tensor<3> {
        let rows = tokens.iter().flat_map(|t| &self.values[t * self.width..(t + 1) * self.width]);
        let values: Vec<f32> = rows.copied().collect();
        Tensor::from_data(TensorData::new(values, [tokens.len(), 1, self.width]), device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_tokens_have_the_same_code() {
        let grid = TokenGrid::new([16, 160, 160], [4, 16, 16]).unwrap();
        let table = PositionTable::new(&grid, 20);
        let codes: Vec<&[f32]> = table.values.chunks_exact(20).collect();
        for (i, a) in codes.iter().enumerate() {
            for b in &codes[..i] {
                let distance: f32 = a.iter().zip(*b).map(|(x, y)| (x - y).powi(2)).sum();
                assert!(distance > 1e-4);
            }
        }
        let device = Device::flex();
        let one = table.one_each(&[7, 123], &device).into_data().try_into_vec::<f32>().unwrap();
        assert_eq!(one, [codes[7], codes[123]].concat());
        assert_eq!(table.all(&device).dims(), [1, 400, 20]);
    }
}
