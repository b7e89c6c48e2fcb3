//! Hiding tokens in voxel space. Values are replaced before the network sees them and are drawn without a look at what
//! they replace, so nothing of a hidden token reaches the input.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::TokenGrid;

/// What stands in for a hidden token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fill {
    /// Independent draws from N(0, 1).
    Noise,
    /// Zeros.
    Zero,
}

/// Replaces the voxels of the hidden tokens of a crop `[z, y, x]`.
pub fn hide(crop: &mut [f32], grid: &TokenGrid, hidden: &[bool], fill: Fill, rng: &mut impl Rng) {
    for (token, _) in hidden.iter().enumerate().filter(|(_, hidden)| **hidden) {
        grid.for_each_row(crop, token, |row| match fill {
            Fill::Noise => row.iter_mut().for_each(|v| *v = StandardNormal.sample(rng)),
            Fill::Zero => row.fill(0.0),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_tokens_are_replaced_and_visible_ones_kept_bit_for_bit() {
        let grid = TokenGrid::new([2, 4, 6], [1, 2, 3]).unwrap();
        let crop: Vec<f32> = (0..48).map(|v| 2.0 + v as f32 / 7.0).collect();
        let hidden: Vec<bool> = (0..grid.tokens()).map(|t| t % 3 == 0).collect();
        for fill in [Fill::Noise, Fill::Zero] {
            let mut changed = crop.clone();
            hide(&mut changed, &grid, &hidden, fill, &mut crate::data::sample_rng(1, 2, 3));
            let (before, after) = (grid.gather(&crop), grid.gather(&changed));
            for (i, (a, b)) in before.iter().zip(&after).enumerate() {
                assert_eq!(a == b, !hidden[i / grid.patch_voxels()], "voxel {i}");
            }
        }
    }

    #[test]
    fn noise_has_mean_zero_and_variance_one() {
        let grid = TokenGrid::new([4, 64, 64], [4, 32, 64]).unwrap();
        let mut crop = vec![0.5f32; 4 * 64 * 64];
        hide(&mut crop, &grid, &[true, true], Fill::Noise, &mut crate::data::sample_rng(1, 2, 3));
        let n = crop.len() as f32;
        let mean = crop.iter().sum::<f32>() / n;
        let variance = crop.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "{mean} {variance}");
    }
}
