//! `y = x Wᵀ + b` over the last axis, with the weight stored `[out, in]`.

use burn::module::{Module, Param};
#[cfg(feature = "flex")]
use burn::tensor::Device;
use burn::tensor::Tensor;
use tu_kernels::project;
use tu_kernels::projection::Layout;

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

    /// Tokens `[B, L, in]` to tokens `[B, L, out]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_as(x, Layout::Tokens)
    }

    /// Tokens `[B, L, in]` to a volume `[B, out, L]`.
    pub fn forward_to_volume(&self, x: Tensor<3>) -> Tensor<3> {
        self.forward_as(x, Layout::Volume)
    }

    fn forward_as(&self, x: Tensor<3>, to: Layout) -> Tensor<3> {
        let bias = self.bias.as_ref().map(Param::val);
        project(x, self.weight.val(), bias, Layout::Tokens, to)
    }

    /// `[B, L, in]` to outputs of the given sizes, one after the other, `[B, L, size]` each. For maps without bias.
    ///
    /// On the CPU a product for each: slices of one product would have to be copied. Elsewhere one product, because
    /// burn's kernels for few columns cost as much as for many.
    pub fn split<const N: usize>(&self, x: Tensor<3>, sizes: [usize; N]) -> [Tensor<3>; N] {
        let tokens = |x, weight| project(x, weight, None, Layout::Tokens, Layout::Tokens);
        let mut start = 0;
        let mut next = |size: usize| {
            start += size;
            start - size
        };
        if on_cpu(&x) {
            return sizes.map(|size| tokens(x.clone(), self.weight.val().narrow(0, next(size), size)));
        }
        let whole = tokens(x, self.weight.val());
        let [b, l, _] = whole.dims();
        // flattened, so that the slice is copied once here and not by every kernel that reads it
        sizes.map(|size| {
            whole.clone().narrow(2, next(size), size).reshape([b * l * size]).reshape([b, l, size])
        })
    }
}

/// Whether a tensor lies on burn's CPU backend.
fn on_cpu(x: &Tensor<3>) -> bool {
    #[cfg(feature = "flex")]
    return x.device().without_autodiff() == Device::flex();
    #[cfg(not(feature = "flex"))]
    return false;
}
