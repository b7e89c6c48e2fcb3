//! The three objectives of the method and one that it is compared with. Each is a mean of squared errors of tokens in
//! [0, 1]; BYOL, which predicts no token, is in [`super::byol`].
//!
//! A token's log-likelihood under a Gaussian of fixed variance around the prediction is
//! log p(x) = −‖x − x̂‖²/(2σ²) + const, so the mean squared error is its negative up to a factor and a constant that are
//! the same for all objectives and tokens.

pub mod dbmim;
pub mod next;
pub mod next_all;
pub mod random;

use std::str::FromStr;

use burn::tensor::{Device, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{CutView, MaskedView, MicroBatch, PositionTable, TokenGrid};
use crate::training::TrainError;

/// What a run minimises: the curriculum, a row of its ablation, or another method that it is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Objective {
    /// All three, weighted by [`super::CurriculumConfig`].
    #[serde(rename = "curriculum")]
    Curriculum,
    /// Random token prediction alone.
    #[serde(rename = "random")]
    Random,
    /// Next-token prediction alone.
    #[serde(rename = "next")]
    Next,
    /// Next-all-token prediction alone.
    #[serde(rename = "next-all")]
    NextAll,
    /// Random and next, half each.
    #[serde(rename = "random+next")]
    RandomNext,
    /// Random and next-all, half each.
    #[serde(rename = "random+next-all")]
    RandomNextAll,
    /// Masked autoencoding (He et al., CVPR 2022): three quarters of the tokens blank, no noise, no perturbation.
    #[serde(rename = "mae")]
    Mae,
    /// Decision-based masking: a policy learns which tokens are masked, see [`super::decision`].
    #[serde(rename = "dbmim")]
    DbMim,
    /// Two views of a crop described alike, see [`super::byol`].
    #[serde(rename = "byol")]
    Byol,
}

impl Objective {
    /// All objectives.
    pub const ALL: [Self; 9] = [
        Self::Curriculum,
        Self::Random,
        Self::Next,
        Self::NextAll,
        Self::RandomNext,
        Self::RandomNextAll,
        Self::Mae,
        Self::DbMim,
        Self::Byol,
    ];

    /// The name used on the command line and in settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Curriculum => "curriculum",
            Self::Random => "random",
            Self::Next => "next",
            Self::NextAll => "next-all",
            Self::RandomNext => "random+next",
            Self::RandomNextAll => "random+next-all",
            Self::Mae => "mae",
            Self::DbMim => "dbmim",
            Self::Byol => "byol",
        }
    }

    /// Whether it is made of the three token objectives, and so of their weights.
    #[must_use]
    pub fn is_weighted(self) -> bool {
        !matches!(self, Self::Mae | Self::DbMim | Self::Byol)
    }

    /// Weights that do not change over the run; none for the curriculum.
    pub(super) fn fixed_weights(self) -> Option<[f64; 3]> {
        match self {
            Self::Curriculum => None,
            Self::Random | Self::Mae | Self::DbMim => Some([1.0, 0.0, 0.0]),
            Self::Byol => Some([0.0; 3]),
            Self::Next => Some([0.0, 1.0, 0.0]),
            Self::NextAll => Some([0.0, 0.0, 1.0]),
            Self::RandomNext => Some([0.5, 0.5, 0.0]),
            Self::RandomNextAll => Some([0.5, 0.0, 0.5]),
        }
    }
}

impl FromStr for Objective {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        Self::ALL.into_iter().find(|o| o.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            TrainError::Config(format!("objective `{text}` is none of {names}"))
        })
    }
}

/// What the losses need beside the network and the batch.
#[derive(Clone, Debug)]
pub struct ObjectiveContext {
    /// The token grid of the crops.
    pub grid: TokenGrid,
    /// Codes of its tokens.
    pub codes: PositionTable,
    /// Where tensors live.
    pub device: Device,
}

impl ObjectiveContext {
    /// Voxels of `samples` crops as `[B, 1, D, H, W]`.
    #[must_use]
    pub fn input(&self, values: &[f32], samples: usize) -> Tensor<5> {
        let [d, h, w] = self.grid.crop_zyx();
        Tensor::from_data(TensorData::new(values.to_vec(), [samples, 1, d, h, w]), &self.device)
    }

    /// The targets, `[B, K, P]`.
    #[must_use]
    pub fn targets(&self, batch: &MicroBatch) -> Tensor<3> {
        self.tokens(&batch.tokens, batch.size)
    }

    /// Tokens of `samples` crops, `[B, K, P]`.
    #[must_use]
    pub fn tokens(&self, values: &[f32], samples: usize) -> Tensor<3> {
        let shape = [samples, self.grid.tokens(), self.grid.patch_voxels()];
        Tensor::from_data(TensorData::new(values.to_vec(), shape), &self.device)
    }

    /// The target of one token per sample, `[B, 1, P]`.
    #[must_use]
    pub fn target_of(&self, batch: &MicroBatch, tokens: &[usize]) -> Tensor<3> {
        let (count, voxels) = (self.grid.tokens(), self.grid.patch_voxels());
        let values: Vec<f32> = tokens
            .iter()
            .enumerate()
            .flat_map(|(sample, token)| &batch.tokens[(sample * count + token) * voxels..][..voxels])
            .copied()
            .collect();
        Tensor::from_data(TensorData::new(values, [tokens.len(), 1, voxels]), &self.device)
    }

    /// Weights of tokens, `[B, K]`.
    #[must_use]
    pub fn weights(&self, weights: &[f32], samples: usize) -> Tensor<2> {
        Tensor::from_data(TensorData::new(weights.to_vec(), [samples, self.grid.tokens()]), &self.device)
    }
}

/// Mean over voxels of (x̂ − x)² of each token, `[B, Q, P]` to `[B, Q]`.
#[must_use]
pub fn token_errors(predicted: Tensor<3>, target: Tensor<3>) -> Tensor<2> {
    let [b, q, _] = predicted.dims();
    (predicted - target).square().mean_dim(2).reshape([b, q])
}

/// Σ over tokens of weight · error, for `[B, Q, P]` and weights `[B, Q]`.
#[must_use]
pub fn token_mse(predicted: Tensor<3>, target: Tensor<3>, weights: Tensor<2>) -> Tensor<1> {
    (token_errors(predicted, target) * weights).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_is_the_negative_log_likelihood_of_a_gaussian_up_to_factor_and_constant() {
        let device = Device::flex();
        let tensor = |v: &[f32]| Tensor::<3>::from_data(TensorData::new(v.to_vec(), [1, 2, 2]), &device);
        let (x, sigma) = ([0.1f32, 0.9, 0.4, 0.2], 0.3f64);
        let nll = |p: &[f32]| -> f64 {
            let normaliser = (std::f64::consts::TAU * sigma * sigma).ln() / 2.0;
            p.iter().zip(&x).map(|(p, x)| (f64::from(p - x) / sigma).powi(2) / 2.0 + normaliser).sum()
        };
        let mse = |p: &[f32]| {
            let weights = Tensor::from_data(TensorData::new(vec![0.5f32; 2], [1, 2]), &device);
            f64::from(token_mse(tensor(p), tensor(&x), weights).into_scalar::<f32>())
        };
        let (a, b) = ([0.5f32, 0.5, 0.5, 0.5], [0.2f32, 0.7, 0.6, 0.1]);
        let factor = 4.0 / (2.0 * sigma * sigma);
        assert!(((nll(&a) - nll(&b)) - factor * (mse(&a) - mse(&b))).abs() < 1e-5);
    }

    #[test]
    fn tokens_without_weight_do_not_count() {
        let device = Device::flex();
        let predicted = Tensor::from_data(TensorData::new(vec![1.0f32, 1.0, 7.0, 7.0], [1, 2, 2]), &device);
        let weights = Tensor::from_data(TensorData::new(vec![1.0f32, 0.0], [1, 2]), &device);
        let loss = token_mse(predicted, Tensor::zeros([1, 2, 2], &device), weights);
        assert!((loss.into_scalar::<f32>() - 1.0).abs() < 1e-7);
    }
}
