//! What surrounds the scans of a Mamba block, for its three directions in one launch: for inference.
//!
//! The directions are forward, backward and inter-slice (see [`ScanOrder`](crate::ScanOrder)), and what belongs to them lies one
//! after the other: `v [3·B, L, E]`. [`selective_scan`](crate::selective_scan) takes them as one batch with three sets of
//! parameters. The mathematics is that of [`causal_conv_silu`](crate::causal_conv_silu()) and
//! [`gated_direction_sum`](crate::gated_direction_sum()), which have gradients; these have none.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | those operations, one direction after the other |
//! | Cube | `cube`: one launch each, x and z read in place from the rows that one projection gave |

#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

use crate::ScanOrder;

/// The directions.
pub const ORDERS: usize = 3;

/// A backend that computes three directions at once. Arguments as in the functions of this module, f32.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex")
)]
pub trait ThreeOrdersBackend: Backend {
    /// `v [3·B, L, E]`, every direction in its visiting order.
    fn causal_conv_silu_in_orders(
        xz: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        slices: usize,
    ) -> FloatTensor<Self>;

    /// `[B, L, E]`, raster order.
    fn gated_sum_of_orders(y: FloatTensor<Self>, xz: FloatTensor<Self>, slices: usize) -> FloatTensor<Self>;
}

fn assert_fits(name: &str, xz: &Tensor<3>, channels: usize, slices: usize) {
    let [_, length, width] = xz.dims();
    assert!(
        width == 2 * channels && ScanOrder::InterSlice { slices }.fits(length),
        "{name}: {channels} channels and {slices} slices ask for xz [batch, a multiple of the slices, {}], not {:?}",
        2 * channels,
        xz.dims()
    );
    assert!(
        xz.dtype() == DType::F32 && !xz.device().is_autodiff(),
        "{name}: takes f32 that records no gradients"
    );
}

/// `SiLU(causal depthwise convolution)` of x, the first E columns of `xz [B, L, 2E]`, in all three orders, with
/// `weight [3, E, K]` and `bias [3, E]`: `[3·B, L, E]`.
///
/// # Panics
/// When the shapes do not fit together, and on tensors that record gradients.
pub fn causal_conv_silu_in_orders(
    xz: Tensor<3>,
    weight: Tensor<3>,
    bias: Tensor<2>,
    slices: usize,
) -> Tensor<3> {
    let ([orders, channels, taps], [rows, biases]) = (weight.dims(), bias.dims());
    assert!(
        orders == ORDERS && rows == ORDERS && biases == channels && taps > 0,
        "causal_conv_silu_in_orders: weight [{orders}, {channels}, {taps}] and bias [{rows}, {biases}]; pass those of \
         three orders"
    );
    assert_fits("causal_conv_silu_in_orders", &xz, channels, slices);
    let (weight, bias) = (weight.into_dispatch(), bias.into_dispatch());
    Tensor::from_dispatch(<Dispatch as ThreeOrdersBackend>::causal_conv_silu_in_orders(
        xz.into_dispatch(),
        weight,
        bias,
        slices,
    ))
}

/// `(Σ y over the orders) ⊙ SiLU(z)` of `y [3·B, L, E]`, every direction in its visiting order, and z, the last E columns of
/// `xz [B, L, 2E]`: `[B, L, E]`.
///
/// # Panics
/// When the shapes do not fit together, and on tensors that record gradients.
pub fn gated_sum_of_orders(y: Tensor<3>, xz: Tensor<3>, slices: usize) -> Tensor<3> {
    let ([sequences, length, channels], [batch, expected, _]) = (y.dims(), xz.dims());
    assert!(
        sequences == ORDERS * batch && length == expected,
        "gated_sum_of_orders: y is {:?}, xz {:?}; pass [3 batch, length, channels] and [batch, length, 2 channels]",
        y.dims(),
        xz.dims()
    );
    assert_fits("gated_sum_of_orders", &xz, channels, slices);
    Tensor::from_dispatch(<Dispatch as ThreeOrdersBackend>::gated_sum_of_orders(
        y.into_dispatch(),
        xz.into_dispatch(),
        slices,
    ))
}
