//! Layer normalisation over the channels of a volume, written as tokens: what a Mamba block begins with.
//!
//! For every token (voxel) of a channel-major volume, with μ and σ² (biased, in two passes) over its C channels,
//! ε = 1e-5, r = 1/√(σ² + ε) and x̂ = r (x − μ):
//!
//! ```text
//! y = w ⊙ x̂ + b,      h = w ⊙ ∂y
//! ∂x = r (h − mean(h) − x̂ mean(h ⊙ x̂)),      ∂w = Σ ∂y ⊙ x̂,      ∂b = Σ ∂y
//! ```
//! The volume is `[B, C, L]`, y is `[B, L, C]`: the transposition costs no copy of its own. Sums over channels are
//! of x minus the token's first channel, so a constant token becomes exactly b. The backward pass computes x̂ again.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: 32 tokens side by side in vectors, stretches of tokens over threads |
//! | Cube | `cube`: a token of a unit or 16 tokens of a cube, one launch forward, two backward |

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

use crate::precision::{in_f32, in_type};

pub use crate::norm::EPSILON;

/// Gradients of the normalisation with respect to its three inputs, each in the shape of that input.
#[derive(Clone, Debug)]
pub struct LayerNormGradients<T> {
    /// Gradient of `x`, `[B, C, L]`.
    pub x: T,
    /// Gradient of `weight`, `[C]`.
    pub weight: T,
    /// Gradient of `bias`, `[C]`.
    pub bias: T,
}

/// A backend with layer normalisation. Arguments as in [`layer_norm_tokens`](crate::layer_norm_tokens()), f32.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait LayerNormBackend: Backend {
    /// y `[B, L, C]`.
    fn layer_norm_tokens(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// The gradients on a backend without a graph; the graph node calls them.
pub trait LayerNormKernels: LayerNormBackend {
    /// Gradients of `Σ y ⊙ y_grad` with `y_grad [B, L, C]`; the bias needs no value.
    fn layer_norm_tokens_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
    ) -> LayerNormGradients<FloatTensor<Self>>;
}

/// Layer normalisation of every token of `x [B, C, L]` over its channels, with `weight [C]` and `bias [C]`, as
/// tokens `[B, L, C]`.
///
/// Computed in f32, returned in the type of `x`. Differentiable with respect to all three inputs on an autodiff
/// device; first derivatives only.
///
/// # Panics
/// When the channels do not agree, as burn's own operations do.
pub fn layer_norm_tokens(x: Tensor<3>, weight: Tensor<1>, bias: Tensor<1>) -> Tensor<3> {
    let ([_, channels, _], [weights], [biases]) = (x.dims(), weight.dims(), bias.dims());
    assert!(
        weights == channels && biases == channels,
        "layer_norm_tokens: x has {channels} channels, weight {weights} and bias {biases}; pass [C] for both"
    );
    if x.dims().contains(&0) {
        return x.swap_dims(1, 2);
    }
    let dtype = x.dtype();
    let y = <Dispatch as LayerNormBackend>::layer_norm_tokens(
        in_f32(x).into_dispatch(),
        in_f32(weight).into_dispatch(),
        in_f32(bias).into_dispatch(),
    );
    in_type(Tensor::from_dispatch(y), dtype)
}
