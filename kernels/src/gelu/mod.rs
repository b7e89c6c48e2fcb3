//! The Gaussian error linear unit, exact: x Φ(x), with Φ the normal distribution.
//!
//! ```text
//! Φ(−a) = erfc(a/√2) / 2 for a ≥ 0,      Φ(a) = 1 − Φ(−a)
//! d/dx x Φ(x) = Φ(x) + x exp(−x²/2) / √(2π)
//! ```
//! erfc is Chebyshev's approximation of Numerical Recipes (section 6.2 of the second edition), of relative error
//! below 1.2e-7: t exp(−z² + P(t)) with t = 1/(1 + z/2) and a polynomial P of degree 9. It has no branches, so loops over it
//! are vectorised.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: pieces over threads, in vectors |
//! | Cube | `cube`: a unit per element, one launch each way |

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

/// P, from its constant on.
pub(crate) const ERFC: [f32; 10] = [
    -1.265_512_2,
    1.000_023_7,
    0.374_091_96,
    0.096_784_18,
    -0.186_288_06,
    0.278_868_07,
    -1.135_204,
    1.488_515_9,
    -0.822_152_23,
    0.170_872_77,
];
/// 1/√(2π).
pub(crate) const PEAK: f32 = 0.398_942_3;

/// A backend with the unit. Arguments as in [`gelu`](crate::gelu()).
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait GeluBackend: Backend {
    /// x Φ(x).
    fn gelu_exact(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The gradient on a backend without a graph; the graph node calls it.
pub trait GeluKernels: GeluBackend {
    /// ∂y (Φ(x) + x φ(x)).
    fn gelu_exact_gradient(x: FloatTensor<Self>, y_grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// x Φ(x) of every element, in the type of `x`, f32, f16 or bf16, computed in f32. Differentiable on an autodiff device;
/// first derivatives only.
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as GeluBackend>::gelu_exact(x.into_dispatch()))
}
