//! Convolution over z, y, x with a weight `[out, in, kz, ky, kx]`.
//!
//! Four cases, one result: a 1×1×1 kernel is a matrix product over channels; a kernel equal to its stride
//! (patches that do not overlap) is a rearrangement and a matrix product; an odd kernel that keeps the size is
//! [`tu_kernels::conv_same`]; anything else is burn's convolution.  The products are several times faster than
//! a general convolution on every backend.  Weights are used in the type of the input.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::module::conv3d;
use burn::tensor::ops::ConvOptions;
use tu_kernels::projection::Layout;
use tu_kernels::{PackedWeight, conv_same, conv_same_packed, project};

use super::prepared::Prepared;
use crate::initialiser::Initialiser;

/// A 3-D convolution.
#[derive(Module, Debug)]
pub struct Conv {
    /// `[out, in, kz, ky, kx]`.
    pub weight: Param<Tensor<5>>,
    /// `[out]`, where the layer has one.
    pub bias: Option<Param<Tensor<1>>>,
    /// The weight as the device's convolution reads it.
    pub packed: Prepared<PackedWeight>,
    /// Stride along z, y, x.
    #[module(skip)]
    pub stride_zyx: [usize; 3],
    /// Zero padding on both sides along z, y, x.
    #[module(skip)]
    pub padding_zyx: [usize; 3],
}

impl Conv {
    /// A convolution with Kaiming-uniform weights.
    pub fn new(
        channels: [usize; 2],
        kernel_zyx: [usize; 3],
        stride_zyx: [usize; 3],
        padding_zyx: [usize; 3],
        bias: bool,
        init: &mut Initialiser,
    ) -> Self {
        let [input, output] = channels;
        let [kz, ky, kx] = kernel_zyx;
        let fan_in = input * kz * ky * kx;
        Self {
            weight: init.kaiming([output, input, kz, ky, kx], fan_in),
            bias: bias.then(|| init.kaiming([output], fan_in)),
            packed: Prepared::none(),
            stride_zyx,
            padding_zyx,
        }
    }

    /// A (1, k, k) convolution that keeps the size, without bias.
    pub fn in_plane(channels: [usize; 2], k: usize, init: &mut Initialiser) -> Self {
        Self::new(channels, [1, k, k], [1; 3], [0, k / 2, k / 2], false, init)
    }

    /// A 1×1×1 convolution.
    pub fn pointwise(channels: [usize; 2], bias: bool, init: &mut Initialiser) -> Self {
        Self::new(channels, [1; 3], [1; 3], [0; 3], bias, init)
    }

    /// `[B, in, D, H, W]` to `[B, out, D', H', W']`.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        self.convolve(x, self.bias.as_ref())
    }

    /// As [`Self::forward`], without the bias: for what instance normalisation follows, which takes a channel's mean away.
    pub fn forward_without_bias(&self, x: Tensor<5>) -> Tensor<5> {
        self.convolve(x, None)
    }

    fn convolve(&self, x: Tensor<5>, bias: Option<&Param<Tensor<1>>>) -> Tensor<5> {
        let [_, _, kz, ky, kx] = self.weight.dims();
        let unpadded = self.padding_zyx == [0; 3];
        if unpadded && self.stride_zyx == [1; 3] && [kz, ky, kx] == [1; 3] {
            return self.product(x, bias);
        }
        let [_, _, _, h, w] = x.dims();
        if unpadded && kz == 1 && self.stride_zyx == [1, ky, kx] && h % ky == 0 && w % kx == 0 {
            return self.patches(x, bias);
        }
        let bias = bias.map(|bias| bias.val().cast(x.dtype()));
        if !self.keeps_size() {
            let weight = self.weight.val().cast(x.dtype());
            return conv3d(x, weight, bias, ConvOptions::new(self.stride_zyx, self.padding_zyx, [1; 3], 1));
        }
        let y = match self.packed.get() {
            Some(weight) => conv_same_packed(x, weight),
            None => {
                let weight = self.weight.val().cast(x.dtype());
                conv_same(x, weight)
            }
        };
        let [_, out, ..] = y.dims();
        match bias {
            Some(bias) => y + bias.reshape([1, out, 1, 1, 1]),
            None => y,
        }
    }

    /// Whether the kernel is odd and larger than 1, the stride 1 and the padding as wide as the kernel reaches.
    fn keeps_size(&self) -> bool {
        let [_, _, kernel @ ..] = self.weight.dims();
        let kept = kernel.iter().zip(&self.padding_zyx).all(|(k, p)| k % 2 == 1 && *p == k / 2);
        kept && self.stride_zyx == [1; 3] && kernel != [1; 3]
    }

    /// Packs the weight for inference, where the device's convolution wants it.
    pub fn prepare(&mut self) {
        if self.keeps_size() {
            self.packed = PackedWeight::new(self.weight.val()).into();
        }
    }

    /// `W [out, in·k] · x [B, in·k, voxels]`, and the bias.
    fn product(&self, x: Tensor<5>, bias: Option<&Param<Tensor<1>>>) -> Tensor<5> {
        let [b, c, d, h, w] = x.dims();
        let [out, ..] = self.weight.dims();
        let weight = self.weight.val().cast(x.dtype()).reshape([out, c]);
        let bias = bias.map(|bias| bias.val().cast(x.dtype()));
        let x = x.reshape([b, c, d * h * w]);
        project(x, weight, bias, Layout::Volume, Layout::Volume).reshape([b, out, d, h, w])
    }

    /// Gathers each (1, ky, kx) patch into the channel axis, then multiplies.
    fn patches(&self, x: Tensor<5>, bias: Option<&Param<Tensor<1>>>) -> Tensor<5> {
        let [b, c, d, h, w] = x.dims();
        let [_, _, _, ky, kx] = self.weight.dims();
        let (h, w) = (h / ky, w / kx);
        let gathered = x.reshape([b * c, d, h, ky, w, kx]).permute([0, 3, 5, 1, 2, 4]).reshape([
            b,
            c * ky * kx,
            d,
            h,
            w,
        ]);
        self.product(gathered, bias)
    }
}
