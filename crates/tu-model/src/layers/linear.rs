//! `y = x Wᵀ + b` over the last axis, with the weight stored `[out, in]`.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
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

    /// `[B, L, in]` to the two halves of the outputs, `[B, L, out / 2]` each. For maps without bias.
    ///
    /// On the CPU a product for each: slices of one product would have to be copied. Elsewhere one product, because burn's
    /// kernels for few columns cost as much as for many; the halves may be views of its rows.
    pub fn halves(&self, x: Tensor<3>) -> [Tensor<3>; 2] {
        let tokens = |x, weight| project(x, weight, None, Layout::Tokens, Layout::Tokens);
        let half = self.weight.dims()[0] / 2;
        if on_cpu(&x.device()) {
            return [0, half].map(|start| tokens(x.clone(), self.weight.val().narrow(0, start, half)));
        }
        let whole = tokens(x, self.weight.val());
        [0, half].map(|start| whole.clone().narrow(2, start, half))
    }
}

/// Whether a device is burn's CPU backend.
pub(super) fn on_cpu(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return device.clone().without_autodiff() == Device::flex();
    #[cfg(not(feature = "flex"))]
    return {
        let _ = device;
        false
    };
}
