//! Channel MLP on the skip outputs: C → 2C, GELU (exact), 2C → C, all 1×1×1 with bias.

use burn::module::Module;
use burn::tensor::Tensor;
use tu_kernels::gelu;

use super::conv::Conv;
use crate::initialiser::Initialiser;

/// Two pointwise convolutions.
#[derive(Module, Debug)]
pub struct ChannelMlp {
    /// C → 2C.
    pub fc1: Conv,
    /// 2C → C.
    pub fc2: Conv,
}

impl ChannelMlp {
    /// An MLP of `channels`.
    pub fn new(channels: usize, init: &mut Initialiser) -> Self {
        Self {
            fc1: Conv::pointwise([channels, 2 * channels], true, init),
            fc2: Conv::pointwise([2 * channels, channels], true, init),
        }
    }

    /// Keeps the shape.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.fc2.forward(gelu(self.fc1.forward(x)))
    }
}
