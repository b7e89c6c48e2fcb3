//! Normalisation of rows to zero mean and unit variance, the core of instance normalisation.
//!
//! x̂ = (x − μ)·r with r = 1/√(σ² + ε), μ and σ² (biased) over each row, ε = 1e-5; and, for a gradient g of x̂,
//! `∂x = r·(g − mean(g) − x̂·mean(g ⊙ x̂))`.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: two passes over each row forward, three backward, rows over threads |
//! | Cube | `cube`: one pass for statistics and one for the result, each way |

#[cfg(feature = "autodiff")]
mod autodiff;
#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::{DType, Tensor};

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// A backend with row normalisation.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait NormBackend: Backend {
    /// x̂ of `x [rows, n]`, f32.
    fn normalise_rows(x: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The gradient on a backend without a graph; the graph node calls it.
pub trait NormKernels: NormBackend {
    /// Gradient of `Σ x̂ ⊙ y_grad` with respect to `x`.
    fn normalise_rows_gradient(x: FloatTensor<Self>, y_grad: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Rows of `x [rows, n]` with mean 0 and variance 1, computed in f32 whatever the type of `x`.
pub fn normalise_rows(x: Tensor<2>) -> Tensor<2> {
    let dtype = x.dtype();
    let x = if dtype == DType::F32 { x } else { x.cast(DType::F32) };
    let y = Tensor::from_dispatch(<Dispatch as NormBackend>::normalise_rows(x.into_dispatch()));
    if dtype == DType::F32 { y } else { y.cast(dtype) }
}
