//! How far a device may be from the CPU, and why.

use core::fmt;

use burn::tensor::{Device, FloatDType};

/// An operation that is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kernel {
    /// [`conv_same`](crate::conv_same).
    Convolution,
    /// [`normalise_rows_rectified`](crate::normalise_rows_rectified).
    RowNormalisation,
    /// [`layer_norm_tokens`](crate::layer_norm_tokens()).
    LayerNormalisation,
    /// [`causal_conv_silu`](crate::causal_conv_silu()).
    CausalConvolution,
    /// [`selective_scan`](crate::selective_scan).
    Scan,
    /// [`gated_direction_sum`](crate::gated_direction_sum()).
    GatedSum,
    /// [`project`](crate::project).
    Projection,
    /// [`gelu`](crate::gelu()).
    Gelu,
}

impl Kernel {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Convolution,
        Self::RowNormalisation,
        Self::LayerNormalisation,
        Self::CausalConvolution,
        Self::Scan,
        Self::GatedSum,
        Self::Projection,
        Self::Gelu,
    ];
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Convolution => "convolution",
            Self::RowNormalisation => "row normalisation",
            Self::LayerNormalisation => "layer normalisation",
            Self::CausalConvolution => "causal convolution",
            Self::Scan => "selective scan",
            Self::GatedSum => "gated sum",
            Self::Projection => "projection",
            Self::Gelu => "gelu",
        })
    }
}

/// What of an operation is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// Its result.
    Values,
    /// The gradient of an input that has a value for every position.
    Gradient,
    /// The gradient of a parameter: a sum over all positions, up to a million of them.
    SummedGradient,
}

/// How a device multiplies f32 where burn's own kernels run: matrix products and, where the device has matrix units,
/// convolutions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Arithmetic {
    /// As f32: the CPU, and GPUs through Vulkan, Metal, DirectX and WebGPU.
    Single,
    /// On tensor cores, which read f32 as TF32, with 10 bits of mantissa: CUDA.
    Tf32,
}

impl Arithmetic {
    /// That of a device.
    #[cfg_attr(not(feature = "cube"), allow(unused_variables, reason = "the CPU is all there is"))]
    pub fn of(device: &Device) -> Self {
        #[cfg(feature = "cube")]
        {
            use burn::backend::DispatchDevice;
            let plain = device.clone().without_autodiff();
            if matches!(plain.as_dispatch(), DispatchDevice::Cube(cubecl::Device::Cuda(_))) {
                return Self::Tf32;
            }
        }
        Self::Single
    }
}

/// Rounding f32 to TF32 moves a factor by up to 2⁻¹¹ of itself, a product by up to 2⁻¹⁰. Errors of a sum partly cancel, but
/// the largest of millions of results lies far out; twice the error of one product covers it.
const TF32: f64 = 1.0 / 512.0;

/// The largest error that passes, relative to the largest magnitude of what is expected.
///
/// - f32: both sides round differently, sums run in different orders. A sum of n terms in tree or chunk order is off by a few
///   2⁻²⁴ √n of its terms; gradients of parameters, sums over all positions, get more. The scan multiplies
///   hundreds of decays one after the other, each an exponential that drivers may round by several last bits.
/// - f16, bf16: inputs are rounded on both sides alike and the CPU computes in f32, so what is left is the rounding of
///   the result: half of the last bit, 2⁻¹² or 2⁻⁹, at most twice on the way (samples of a batch are summed). A product is
///   rounded before its bias is added, and may be larger than their sum: twice more. burn's sums for a bias are rounded in
///   two rounds and for each sample before samples are added, which may cancel: four times.
/// - TF32, where burn's products and convolutions run on f32 tensors: see [`Arithmetic::Tf32`].
pub fn tolerance(arithmetic: Arithmetic, dtype: FloatDType, kernel: Kernel, part: Part) -> f64 {
    use Kernel::{Convolution, Gelu, Projection, Scan};
    let single = match (kernel, part) {
        (Scan, _) => 1e-4,
        (Gelu, _) => 2e-6,
        (_, Part::SummedGradient) => 5e-5,
        (Kernel::RowNormalisation | Kernel::LayerNormalisation, _) => 2e-5,
        _ => 1e-5,
    };
    let bit = match dtype {
        FloatDType::F16 => 1.0 / 2048.0,
        FloatDType::BF16 => 1.0 / 256.0,
        _ => 0.0,
    };
    let of_type = match (kernel, part) {
        (Projection, Part::SummedGradient) => 4.0 * bit,
        (Projection, Part::Values) => 2.0 * bit,
        _ => bit,
    };
    let by_burn = matches!(kernel, Convolution | Projection);
    let of_products = if by_burn && arithmetic == Arithmetic::Tf32 { TF32 } else { 0.0 };
    f64::max(single, of_type).max(of_products)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensor_cores_loosen_products_alone_and_half_types_what_they_round() {
        let of = |arithmetic, dtype, kernel| tolerance(arithmetic, dtype, kernel, Part::Values);
        for kernel in Kernel::ALL {
            let (plain, cores) = (
                of(Arithmetic::Single, FloatDType::F32, kernel),
                of(Arithmetic::Tf32, FloatDType::F32, kernel),
            );
            let product = matches!(kernel, Kernel::Convolution | Kernel::Projection);
            assert_eq!(cores > plain, product, "{kernel}");
            assert!(plain <= 1e-4, "{kernel}");
            assert!(
                of(Arithmetic::Single, FloatDType::BF16, kernel)
                    > of(Arithmetic::Single, FloatDType::F16, kernel)
            );
        }
        assert_eq!(Arithmetic::of(&Device::flex()), Arithmetic::Single);
    }
}
