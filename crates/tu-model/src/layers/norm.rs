//! Instance normalisation without affine terms, and layer normalisation.
//!
//! Instance: per sample and channel, x̂ = (x − μ) / √(σ² + ε) with the biased variance over all voxels of the
//! window and ε = 1e-5; hence a window's result depends on the whole window.  Layer: over the channels of a
//! token, with weight and bias.  Both are computed in f32.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use tu_kernels::norm::EPSILON;
use tu_kernels::{layer_norm_tokens, normalise_rows_rectified};

use crate::initialiser::Initialiser;

/// Instance normalisation of `[B, C, D, H, W]`.
pub fn instance_norm(x: Tensor<5>) -> Tensor<5> {
    rectified_instance_norm(x, None, 1.0)
}

/// φ(IN(x) + shortcut) in one operation, where φ multiplies what is not above 0 by `slope`: 0 is ReLU.
pub fn rectified_instance_norm(x: Tensor<5>, shortcut: Option<Tensor<5>>, slope: f32) -> Tensor<5> {
    let shape = x.dims();
    let [b, c, d, h, w] = shape;
    let rows = |x: Tensor<5>| x.reshape([b * c, d * h * w]);
    normalise_rows_rectified(rows(x), shortcut.map(rows), slope).reshape(shape)
}

/// Layer normalisation over channels.
#[derive(Module, Debug)]
pub struct LayerNorm {
    /// `[C]`, initially 1.
    pub weight: Param<Tensor<1>>,
    /// `[C]`, initially 0.
    pub bias: Param<Tensor<1>>,
}

impl LayerNorm {
    /// The identity scaling.
    pub fn new(channels: usize, init: &Initialiser) -> Self {
        Self { weight: init.constant([channels], 1.0), bias: init.constant([channels], 0.0) }
    }

    /// Normalises every token of a volume `[B, C, L]` and returns tokens `[B, L, C]`.
    pub fn tokens_of(&self, volume: Tensor<3>) -> Tensor<3> {
        layer_norm_tokens(volume, self.weight.val(), self.bias.val())
    }

    /// Normalises every token of `[B, L, C]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [_, _, c] = x.dims();
        let mean = x.clone().mean_dim(2);
        let centred = x - mean;
        let variance = centred.clone().powi_scalar(2).mean_dim(2);
        let unit = centred * (variance + EPSILON).sqrt().recip();
        unit * self.weight.val().reshape([1, 1, c]) + self.bias.val().reshape([1, 1, c])
    }
}
