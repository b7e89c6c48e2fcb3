//! Convolution over z, y, x with a weight `[out, in, kz, ky, kx]`.
//!
//! Every case comes down to two operations. A 1×1×1 kernel is a matrix product over channels; a kernel equal to its stride
//! (patches that do not overlap) is a rearrangement and a matrix product; an odd kernel that keeps the size is
//! [`tu_kernels::conv_same`], and so is one that halves it in the plane:
//!
//! ```text
//! y[p] = Σ_k w[k + r] x[2p + k],  k = −r … r        with k = 2m + q, q ∈ {0, 1}:
//! y[p] = Σ_m Σ_q w[2m + q + r] x_q[p + m],          x_q[p] = x[2p + q]
//! ```
//! four channels x_q (two along y times two along x) for each, and taps beyond the kernel are 0. A stride along z, where
//! the kernel has one tap, leaves slices out before all that. Weights are used in the type of the input.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::ops::PadMode;
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

    /// A convolution that keeps the size, without bias; all of the kernel is odd.
    pub fn keeping_size(channels: [usize; 2], kernel_zyx: [usize; 3], init: &mut Initialiser) -> Self {
        Self::new(channels, kernel_zyx, [1; 3], kernel_zyx.map(|k| k / 2), false, init)
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
        let [_, _, kz, ..] = self.weight.dims();
        let x = if kz == 1 { every_slice(x, self.stride_zyx[0]) } else { x };
        let form = self.form();
        match form {
            Form::Product => self.product(x, bias),
            Form::Patches => self.patches(x, bias),
            Form::SameSize => self.same_size(x, form, bias),
            Form::Halving => self.same_size(halves_as_channels(x), form, bias),
        }
    }

    fn form(&self) -> Form {
        let [_, _, kz, ky, kx] = self.weight.dims();
        let [sz, sy, sx] = self.stride_zyx;
        let padded = self.padding_zyx == [kz / 2, ky / 2, kx / 2];
        match ([kz, ky, kx], [sy, sx]) {
            ([1, 1, 1], [1, 1]) => Form::Product,
            (_, stride) if (kz == 1 || kz == sz) && stride == [ky, kx] && self.padding_zyx == [0; 3] => {
                Form::Patches
            }
            (kernel, stride) if padded && kernel.iter().all(|k| k % 2 == 1) && (kz == 1 || sz == 1) => {
                match stride {
                    [1, 1] => Form::SameSize,
                    [2, 2] => Form::Halving,
                    _ => self.unknown(),
                }
            }
            _ => self.unknown(),
        }
    }

    fn unknown(&self) -> ! {
        unreachable!(
            "no layer of the network has a kernel {:?} with stride {:?}",
            self.weight.dims(),
            self.stride_zyx
        )
    }

    /// The weight of the convolution that keeps the size.
    fn size_keeping_weight(&self, form: Form) -> Tensor<5> {
        match form {
            Form::Halving => taps_as_channels(self.weight.val()),
            _ => self.weight.val(),
        }
    }

    fn same_size(&self, x: Tensor<5>, form: Form, bias: Option<&Param<Tensor<1>>>) -> Tensor<5> {
        let bias = bias.map(|bias| bias.val().cast(x.dtype()));
        let y = match self.packed.get() {
            Some(weight) => conv_same_packed(x, weight),
            None => {
                let weight = self.size_keeping_weight(form).cast(x.dtype());
                conv_same(x, weight)
            }
        };
        let [_, out, ..] = y.dims();
        match bias {
            Some(bias) => y + bias.reshape([1, out, 1, 1, 1]),
            None => y,
        }
    }

    /// Packs the weight for inference, where the device's convolution wants it.
    pub fn prepare(&mut self) {
        let form = self.form();
        if matches!(form, Form::SameSize | Form::Halving) {
            self.packed = PackedWeight::new(self.size_keeping_weight(form)).into();
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

    /// Gathers each (kz, ky, kx) patch into the channel axis, then multiplies.
    fn patches(&self, x: Tensor<5>, bias: Option<&Param<Tensor<1>>>) -> Tensor<5> {
        let [b, c, d, h, w] = x.dims();
        let [_, _, kz, ky, kx] = self.weight.dims();
        let (d, h, w) = (d / kz, h / ky, w / kx);
        let gathered = x.reshape([b * c, d, kz, h, ky, w, kx]).permute([0, 2, 4, 6, 1, 3, 5]).reshape([
            b,
            c * kz * ky * kx,
            d,
            h,
            w,
        ]);
        self.product(gathered, bias)
    }
}

/// What a convolution comes down to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A matrix product over channels.
    Product,
    /// Patches that do not overlap.
    Patches,
    /// A convolution that keeps the size.
    SameSize,
    /// One that halves y and x.
    Halving,
}

/// Every `stride`-th slice along z, the first one included.
fn every_slice(x: Tensor<5>, stride: usize) -> Tensor<5> {
    if stride == 1 {
        return x;
    }
    let [b, c, d, h, w] = x.dims();
    let missing = d.next_multiple_of(stride) - d;
    let x = x.reshape([b * c, d, h * w]);
    let x = if missing > 0 { x.pad([(0, 0), (0, missing), (0, 0)], PadMode::Constant(0.0)) } else { x };
    let slices = d.div_ceil(stride);
    x.reshape([b * c, slices, stride, h * w]).narrow(2, 0, 1).reshape([b, c, slices, h, w])
}

/// `[B, C, D, H, W]` to `[B, 4·C, D, ⌈H/2⌉, ⌈W/2⌉]`, for every channel its even and odd rows' even and odd columns; beyond
/// an odd size lie zeros, as beyond any other.
fn halves_as_channels(x: Tensor<5>) -> Tensor<5> {
    let [b, c, d, h, w] = x.dims();
    let [half_h, half_w] = [h.div_ceil(2), w.div_ceil(2)];
    let x = if h % 2 + w % 2 > 0 { x.pad((0, w % 2, 0, h % 2), PadMode::Constant(0.0)) } else { x };
    x.reshape([b * c, d, half_h, 2, half_w, 2]).permute([0, 3, 5, 1, 2, 4]).reshape([
        b,
        4 * c,
        d,
        half_h,
        half_w,
    ])
}

/// The weight `[out, C, kz, ky, kx]` of a convolution that halves y and x, for [`halves_as_channels`]: taps along y and x
/// are odd numbers again.
fn taps_as_channels(weight: Tensor<5>) -> Tensor<5> {
    let [out, c, kz, ky, kx] = weight.dims();
    // the reach in voxels, the one in pairs of them, and the zeros before and behind the taps
    let sizes = |k: usize| {
        let reach = (k / 2).div_ceil(2);
        let before = 2 * reach - k / 2;
        (2 * reach + 1, before, 2 * (2 * reach + 1) - k - before)
    };
    let ((y, above, below), (x, left, right)) = (sizes(ky), sizes(kx));
    weight
        .pad((left, right, above, below), PadMode::Constant(0.0))
        .reshape([out * c, kz, y, 2, x, 2])
        .permute([0, 3, 5, 1, 2, 4])
        .reshape([out, 4 * c, kz, y, x])
}

#[cfg(test)]
mod tests {
    use burn::tensor::module::conv3d;
    use burn::tensor::ops::ConvOptions;
    use burn::tensor::{Device, Distribution};

    use super::*;

    fn values<const D: usize>(x: Tensor<D>) -> Vec<f32> {
        x.into_data().try_into_vec().expect("f32")
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
    }

    #[test]
    fn every_form_gives_what_burns_convolution_gives_and_so_do_its_gradients() {
        let device = Device::flex().autodiff();
        let cases = [
            ([1, 7, 7], [1, 2, 2], [0, 3, 3]),
            ([1, 7, 7], [2, 2, 2], [0, 3, 3]),
            ([3, 5, 3], [1, 2, 2], [1, 2, 1]),
            ([1, 1, 1], [2, 2, 2], [0, 0, 0]),
            ([1, 2, 2], [2, 2, 2], [0, 0, 0]),
            ([2, 2, 2], [2, 2, 2], [0, 0, 0]),
            ([1, 2, 2], [1, 2, 2], [0, 0, 0]),
            ([1, 1, 1], [1, 1, 1], [0, 0, 0]),
            ([3, 3, 3], [1, 1, 1], [1, 1, 1]),
        ];
        for (kernel_zyx, stride_zyx, padding_zyx) in cases {
            for [d, h, w] in [[4usize, 8, 6], [5, 4, 12], [1, 2, 2]] {
                // as the network's windows are, for patches of several slices
                let d = if kernel_zyx[0] == 2 { d.next_multiple_of(2) } else { d };
                let mut init = Initialiser::new(&device, 3);
                let mut conv = Conv::new([2, 3], kernel_zyx, stride_zyx, padding_zyx, true, &mut init);
                let x = Tensor::<5>::random([2, 2, d, h, w], Distribution::Uniform(-1.0, 1.0), &device)
                    .require_grad();
                let (weight, bias) = (conv.weight.val(), conv.bias.as_ref().expect("a bias").val());
                let options = ConvOptions::new(stride_zyx, padding_zyx, [1; 3], 1);
                let expected = conv3d(x.clone(), weight.clone(), Some(bias.clone()), options);
                let y = conv.forward(x.clone());
                assert_eq!(y.dims(), expected.dims(), "{kernel_zyx:?} {stride_zyx:?}");
                close(&values(y.clone()), &values(expected.clone()));

                let pull = Tensor::random(y.shape(), Distribution::Uniform(-1.0, 1.0), &device);
                let wanted = (expected * pull.clone()).sum().backward();
                let found = (y.clone() * pull).sum().backward();
                close(&values(x.grad(&found).expect("∂x")), &values(x.grad(&wanted).expect("∂x")));
                close(&values(weight.grad(&found).expect("∂w")), &values(weight.grad(&wanted).expect("∂w")));
                close(&values(bias.grad(&found).expect("∂b")), &values(bias.grad(&wanted).expect("∂b")));

                conv = conv.valid();
                conv.prepare();
                close(&values(conv.forward(x.inner())), &values(y));
            }
        }
    }
}
