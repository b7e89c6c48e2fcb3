//! `y = x Wᵀ + b` over the last axis, with the weight stored `[out, in]`.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::initialiser::Initialiser;

/// A linear map.
#[derive(Module, Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Param<Tensor<2>>,
    /// `[out]`, where the map has one.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// A map without bias, Kaiming-uniform.
    pub fn new(input: usize, output: usize, init: &mut Initialiser) -> Self {
        Self { weight: init.kaiming([output, input], input), bias: None }
    }

    /// `[B, L, in]` to `[B, L, out]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [b, l, c] = x.dims();
        let [out, _] = self.weight.dims();
        let y = x.reshape([b * l, c]).matmul(self.weight.val().transpose()).reshape([b, l, out]);
        match &self.bias {
            Some(bias) => y + bias.val().reshape([1, 1, out]),
            None => y,
        }
    }
}
