//! Logits of windows, and the bins that single steps make of a tile.

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor};
use tu_kernels::quantise::Crop;

use super::{tensor, uniform, values};

/// A window with a crop.
#[derive(Clone, Debug)]
pub(crate) struct QuantiseCase {
    pub(crate) channels: usize,
    pub(crate) window_zyx: [usize; 3],
    pub(crate) crop: Crop,
}

impl QuantiseCase {
    pub(crate) fn new(
        channels: usize,
        window_zyx: [usize; 3],
        origin_zyx: [usize; 3],
        shape_zyx: [usize; 3],
    ) -> Self {
        Self { channels, window_zyx, crop: Crop { origin_zyx, shape_zyx } }
    }

    fn voxels(&self) -> usize {
        self.window_zyx.iter().product()
    }

    /// From −30 to 30, small ones too, and some far out, at the borders of bins and at 0.
    pub(crate) fn logits(&self, seed: u64) -> Vec<f64> {
        let borders =
            [0.0, -0.0, 200.0, -200.0, 1e-30, -88.8, 88.8, 3.4e38, -3.4e38, 5.541_263_5, -5.541_263_5];
        let logits = uniform(self.channels * self.voxels(), seed);
        let mut logits: Vec<f64> = logits
            .into_iter()
            .enumerate()
            .map(|(i, x)| if i % 3 == 0 { 30.0 * x } else { 4.0 * x })
            .collect();
        for (logit, border) in logits.iter_mut().step_by(7).zip(borders) {
            *logit = f64::from(border as f32);
        }
        logits
    }

    pub(crate) fn tensor(&self, logits: &[f64], device: &Device) -> Tensor<5> {
        let [z, y, x] = self.window_zyx;
        tensor(logits, [1, self.channels, z, y, x], device)
    }

    /// Sigmoid by burn, then crop, then quantisation, one after the other.
    pub(crate) async fn one_by_one(&self, logits: Tensor<5>) -> Vec<u8> {
        let affinities = values(sigmoid(logits)).await;
        let ([_, height, width], [z0, y0, x0]) = (self.window_zyx, self.crop.origin_zyx);
        let [tile_z, tile_y, tile_x] = self.crop.shape_zyx;
        let mut bins = Vec::new();
        for c in 0..self.channels {
            for z in z0..z0 + tile_z {
                for y in y0..y0 + tile_y {
                    for x in x0..x0 + tile_x {
                        let a = affinities[c * self.voxels() + (z * height + y) * width + x];
                        bins.push((a * 256.0) as u8);
                    }
                }
            }
        }
        bins
    }
}

/// Whole windows and parts of them, numbers of bins that are no multiple of four, more logits than a cube looks at.
pub(crate) fn quantise_cases() -> Vec<QuantiseCase> {
    vec![
        QuantiseCase::new(1, [1, 1, 1], [0; 3], [1; 3]),
        QuantiseCase::new(3, [3, 5, 7], [0; 3], [3, 5, 7]),
        QuantiseCase::new(3, [4, 16, 16], [1, 3, 2], [2, 9, 11]),
        QuantiseCase::new(2, [5, 17, 19], [4, 16, 18], [1; 3]),
        QuantiseCase::new(3, [9, 48, 33], [2, 8, 7], [5, 31, 19]),
        QuantiseCase::new(3, [24, 64, 64], [4, 16, 16], [16, 32, 32]),
    ]
}
