//! Causal depthwise convolution and SiLU, read in the order of a scan: what a Mamba block feeds its scan with.
//!
//! With the order π (token π(t) is visited at position t), K taps and σ the logistic function:
//!
//! ```text
//! a_t = b + Σ_k w_k x_{π(t−(K−1)+k)},   x = 0 before the start,      v_t = a_t σ(a_t)
//! q_t = ∂v_t σ(a_t) (1 + a_t (1 − σ(a_t)))
//! ∂x_{π(u)} = Σ_k w_k q_{u+(K−1)−k},     ∂w_k = Σ_t q_t x_{π(t−(K−1)+k)},     ∂b = Σ_t q_t
//! ```
//! v is in visiting order and ∂x in raster order, so no permuted copy of x is ever made. The backward pass computes
//! a_t again.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: rows of channels vectorised, stretches of positions over threads |
//! | Cube | `cube`: one unit per channel and run of positions, one launch forward, two backward |

#[cfg(feature = "autodiff")]
mod autodiff;
#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

use crate::ScanOrder;
use crate::precision::{in_f32, in_type};

/// Gradients of the convolution with respect to its three inputs, each in the shape of that input.
#[derive(Clone, Debug)]
pub struct CausalConvGradients<T> {
    /// Gradient of `x`, `[B, L, E]`, raster order.
    pub x: T,
    /// Gradient of `weight`, `[E, K]`.
    pub weight: T,
    /// Gradient of `bias`, `[E]`.
    pub bias: T,
}

/// A backend with the causal convolution. Arguments as in [`causal_conv_silu`](crate::causal_conv_silu()), f32.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait CausalConvBackend: Backend {
    /// `v [B, L, E]`, visiting order.
    fn causal_conv_silu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        order: ScanOrder,
    ) -> FloatTensor<Self>;
}

/// The gradients on a backend without a graph; the graph node calls them.
pub trait CausalConvKernels: CausalConvBackend {
    /// Gradients of `Σ v ⊙ v_grad`.
    fn causal_conv_silu_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        v_grad: FloatTensor<Self>,
        order: ScanOrder,
    ) -> CausalConvGradients<FloatTensor<Self>>;
}

/// `SiLU(causal depthwise convolution)` of `x [B, L, E]` visited in an order, with `weight [E, K]` and `bias [E]`.
///
/// `x` is in raster order, the result `[B, L, E]` in visiting order and in the type of `x`; computed in f32.
/// Position t sees the K tokens visited last, itself included, and zeros before the start. Differentiable with
/// respect to all three inputs on an autodiff device; first derivatives only.
///
/// # Panics
/// When the channels do not agree, the weight has no taps, or the slices of the order do not divide L, as burn's
/// own operations do.
pub fn causal_conv_silu(x: Tensor<3>, weight: Tensor<2>, bias: Tensor<1>, order: ScanOrder) -> Tensor<3> {
    let ([_, length, channels], [rows, taps], [biases]) = (x.dims(), weight.dims(), bias.dims());
    assert!(
        rows == channels && biases == channels && taps > 0,
        "causal_conv_silu: x has {channels} channels, so weight has to be [{channels}, 1 or more taps] and bias \
         [{channels}], not [{rows}, {taps}] and [{biases}]"
    );
    assert!(
        order.fits(length),
        "causal_conv_silu: {length} tokens are no multiple of the slices of {order:?}; pass slices that divide them"
    );
    if x.dims().contains(&0) {
        return x;
    }
    let dtype = x.dtype();
    let v = <Dispatch as CausalConvBackend>::causal_conv_silu(
        in_f32(x).into_dispatch(),
        in_f32(weight).into_dispatch(),
        in_f32(bias).into_dispatch(),
        order,
    );
    in_type(Tensor::from_dispatch(v), dtype)
}
