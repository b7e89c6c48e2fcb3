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
        let [out, _] = self.weight.dims();
        let y = product(x, self.weight.val());
        match &self.bias {
            Some(bias) => y + bias.val().reshape([1, 1, out]),
            None => y,
        }
    }

    /// `[B, L, in]` to outputs of the given sizes, one after the other, `[B, L, size]` each: products of their own,
    /// where slices of one product would have to be copied. For maps without bias.
    pub fn split<const N: usize>(&self, x: &Tensor<3>, sizes: [usize; N]) -> [Tensor<3>; N] {
        let mut start = 0;
        sizes.map(|size| {
            let weight = self.weight.val().narrow(0, start, size);
            start += size;
            product(x.clone(), weight)
        })
    }

    /// `[B, L, in]` to `[B, out, L]`: channels first, without a transposition. For maps without bias.
    pub fn channels_first(&self, x: Tensor<3>) -> Tensor<3> {
        let [out, input] = self.weight.dims();
        self.weight.val().reshape([1, out, input]).matmul(x.swap_dims(1, 2))
    }
}

/// `x [B, L, in]` times `weight [out, in]`, `[B, L, out]`.
fn product(x: Tensor<3>, weight: Tensor<2>) -> Tensor<3> {
    let ([b, l, c], [out, _]) = (x.dims(), weight.dims());
    x.reshape([b * l, c]).matmul(weight.transpose()).reshape([b, l, out])
}
