//! Residual block of the convolutional encoder and decoder.
//!
//! y = φ(IN(conv₂ φ(IN(conv₁ x))) + s), φ = LeakyReLU 0.01, both convolutions (k_z, k, k) without bias; the
//! shortcut s is x where the widths agree and IN(conv₃ x) with a 1×1×1 kernel where they do not.

use burn::module::Module;
use burn::tensor::Tensor;

use super::conv::Conv;
use super::norm::{instance_norm, rectified_instance_norm};
use crate::initialiser::Initialiser;

const SLOPE: f32 = 0.01;

/// Two convolutions and a shortcut.
#[derive(Module, Debug)]
pub struct ResBlock {
    /// First convolution, in → out.
    pub conv1: Conv,
    /// Second convolution, out → out.
    pub conv2: Conv,
    /// Shortcut where in ≠ out.
    pub conv3: Option<Conv>,
}

impl ResBlock {
    /// A block from `input` to `output` channels.
    pub fn new(input: usize, output: usize, kernel_zyx: [usize; 3], init: &mut Initialiser) -> Self {
        Self {
            conv1: Conv::keeping_size([input, output], kernel_zyx, init),
            conv2: Conv::keeping_size([output, output], kernel_zyx, init),
            conv3: (input != output).then(|| Conv::pointwise([input, output], false, init)),
        }
    }

    /// For inference.
    pub fn prepare(&mut self) {
        self.conv1.prepare();
        self.conv2.prepare();
    }

    /// `[B, in, D, H, W]` to `[B, out, D, H, W]`.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let shortcut = match &self.conv3 {
            Some(conv) => instance_norm(conv.forward(x.clone())),
            None => x.clone(),
        };
        let y = rectified_instance_norm(self.conv1.forward(x), None, SLOPE);
        rectified_instance_norm(self.conv2.forward(y), Some(shortcut), SLOPE)
    }
}
