//! Gated spatial convolution (SegMamba): local context before the scan.
//!
//! y₁ = r(conv³ r(conv³ x)), y₂ = r(conv¹ x), out = x + r(conv¹(y₁ + y₂)), with r = ReLU ∘ IN.  Despite the
//! name the branches are added, as in the published network.
//!
//! The published convolutions have biases, and so have these. They are not added: each shifts a whole channel, whose mean IN
//! takes away, so they change nothing and their gradients are 0.

use burn::module::Module;
use burn::tensor::Tensor;

use super::conv::Conv;
use super::norm::rectified_instance_norm;
use crate::initialiser::Initialiser;

/// Two 3×3×3 convolutions beside a 1×1×1 one, fused by another.
#[derive(Module, Debug)]
pub struct GatedSpatialConv {
    /// 3×3×3, first.
    pub proj: Conv,
    /// 3×3×3, second.
    pub proj2: Conv,
    /// 1×1×1 branch.
    pub proj3: Conv,
    /// 1×1×1 after the sum.
    pub proj4: Conv,
}

impl GatedSpatialConv {
    /// A block of `channels` to `channels`.
    pub fn new(channels: usize, init: &mut Initialiser) -> Self {
        let c = [channels, channels];
        let cube = |init: &mut Initialiser| Conv::new(c, [3; 3], [1; 3], [1; 3], true, init);
        Self {
            proj: cube(init),
            proj2: cube(init),
            proj3: Conv::pointwise(c, true, init),
            proj4: Conv::pointwise(c, true, init),
        }
    }

    /// For inference.
    pub fn prepare(&mut self) {
        self.proj.prepare();
        self.proj2.prepare();
    }

    /// Keeps the shape.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let unit = |conv: &Conv, x| rectified_instance_norm(conv.forward_without_bias(x), None, 0.0);
        let deep = unit(&self.proj, x.clone());
        let deep = unit(&self.proj2, deep);
        let shallow = unit(&self.proj3, x.clone());
        x + unit(&self.proj4, deep + shallow)
    }
}
