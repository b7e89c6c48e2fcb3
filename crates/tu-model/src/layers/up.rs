//! Up-sampling block of the decoder: transposed convolution, concatenation with the skip, residual block.
//!
//! The transposed convolution's kernel equals its stride, so outputs do not overlap: it is one matrix product
//! from channels to (channels × kernel taps) and a rearrangement of the taps into space.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use tu_kernels::project;
use tu_kernels::projection::Layout;

use super::res_block::ResBlock;
use crate::initialiser::Initialiser;

/// A transposed convolution with kernel = stride and no bias.
#[derive(Module, Debug)]
pub struct TransposedConv {
    /// `[in, out, kz, ky, kx]`.
    pub weight: Param<Tensor<5>>,
}

impl TransposedConv {
    /// Doubles y and x, and z by `z_stride`.
    pub fn new(input: usize, output: usize, z_stride: usize, init: &mut Initialiser) -> Self {
        // PyTorch takes the fan-in of a transposed convolution from its output channels.
        let shape = [input, output, z_stride, 2, 2];
        Self { weight: init.kaiming(shape, output * z_stride * 4) }
    }

    /// `[B, in, D, H, W]` to `[B, out, D·kz, H·ky, W·kx]`.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [b, c, d, h, w] = x.dims();
        let [_, out, kz, ky, kx] = self.weight.dims();
        let weight = self.weight.val().cast(x.dtype());
        let weight = weight.reshape([c, out * kz * ky * kx]).transpose();
        let taps = project(x.reshape([b, c, d * h * w]), weight, None, Layout::Volume, Layout::Volume);
        taps.reshape([b * out, kz, ky, kx, d, h, w]).permute([0, 4, 1, 5, 2, 6, 3]).reshape([
            b,
            out,
            d * kz,
            h * ky,
            w * kx,
        ])
    }
}

/// One level of the decoder.
#[derive(Module, Debug)]
pub struct UpBlock {
    /// The up-sampling.
    pub transp_conv: TransposedConv,
    /// 2·out → out.
    pub conv_block: ResBlock,
}

impl UpBlock {
    /// From `input` channels below to `output` channels at this level.
    pub fn new(
        input: usize,
        output: usize,
        z_stride: usize,
        kernel_zyx: [usize; 3],
        init: &mut Initialiser,
    ) -> Self {
        Self {
            transp_conv: TransposedConv::new(input, output, z_stride, init),
            conv_block: ResBlock::new(2 * output, output, kernel_zyx, init),
        }
    }

    /// Up-samples `x`, puts it before `skip` along the channels and convolves.
    pub fn forward(&self, x: Tensor<5>, skip: Tensor<5>) -> Tensor<5> {
        self.conv_block.forward(Tensor::cat(vec![self.transp_conv.forward(x), skip], 1))
    }
}
