//! Normalisation of rows to zero mean and unit variance, with the addition and the rectifier that follow it in
//! EMmamba's blocks: the core of instance normalisation.
//!
//! With r = 1/√(σ² + ε), μ and σ² (biased) over each row, ε = 1e-5, a shortcut s and a slope a:
//!
//! ```text
//! x̂ = (x − μ)·r,      y = φ(x̂ + s),      φ(v) = v where v > 0, a·v elsewhere
//! g' = g where y > 0, a·g elsewhere;      ∂s = g',      ∂x = r·(g' − mean(g') − x̂·mean(g' ⊙ x̂))
//! ```
//! a = 0 is ReLU, a = 1 the identity. For a > 0 the sign of y is that of x̂ + s, and for a = 0 both say where the gradient is
//! 0, so y, which the next operation keeps anyway, is all that is kept besides x.
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
use burn::tensor::Tensor;

use crate::precision::in_type;

/// Added to the variance.
pub const EPSILON: f32 = 1e-5;

/// A backend with row normalisation.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait NormBackend: Backend {
    /// φ(x̂) of `x [rows, n]`, in the type of `x`.
    fn normalise_rows(x: FloatTensor<Self>, slope: f32) -> FloatTensor<Self>;

    /// φ(x̂ + s) of `x [rows, n]` and `shortcut [rows, n]`, both of one type.
    fn normalise_rows_and_add(
        x: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        slope: f32,
    ) -> FloatTensor<Self>;
}

/// Gradients of a row normalisation.
#[derive(Clone, Debug)]
pub struct NormGradients<T> {
    /// With respect to `x`.
    pub x: T,
    /// With respect to the shortcut, where it was asked for.
    pub shortcut: Option<T>,
}

/// The gradients on a backend without a graph; the graph node calls it.
pub trait NormKernels: NormBackend {
    /// Gradients of `Σ y ⊙ y_grad` with respect to `x` and, if `with_shortcut`, the shortcut.
    fn normalise_rows_gradients(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        slope: f32,
        with_shortcut: bool,
    ) -> NormGradients<FloatTensor<Self>>;
}

/// Rows of `x [rows, n]` with mean 0 and variance 1, computed in f32 whatever the type of `x`.
pub fn normalise_rows(x: Tensor<2>) -> Tensor<2> {
    normalise_rows_rectified(x, None, 1.0)
}

/// `φ(x̂ + shortcut)` in one operation: rows of `x [rows, n]` normalised, the shortcut of the same shape added, values below 0
/// multiplied by `slope` (not negative). Computed in f32 whatever the type of `x`, and returned in that type.
///
/// # Panics
/// When the shapes differ or the slope is negative.
pub fn normalise_rows_rectified(x: Tensor<2>, shortcut: Option<Tensor<2>>, slope: f32) -> Tensor<2> {
    assert!(
        slope >= 0.0,
        "row normalisation: the slope {slope} is negative; the sign of a result must show the side it came from"
    );
    if let Some(shortcut) = &shortcut {
        let (rows, expected) = (shortcut.dims(), x.dims());
        assert!(rows == expected, "row normalisation: the shortcut is {rows:?}, the rows are {expected:?}");
    }
    let dtype = x.dtype();
    let x = x.into_dispatch();
    Tensor::from_dispatch(match shortcut {
        None => <Dispatch as NormBackend>::normalise_rows(x, slope),
        Some(shortcut) => {
            let shortcut = in_type(shortcut, dtype).into_dispatch();
            <Dispatch as NormBackend>::normalise_rows_and_add(x, shortcut, slope)
        }
    })
}
