//! The sum of the three scanning directions of a Mamba block and its gate.
//!
//! Each y_r is in the order π_r in which its direction visited the tokens (forward, backward, inter-slice); z and
//! the result are in raster order. With σ the logistic function and m = y_f + π_b⁻¹ y_b + π_s⁻¹ y_s:
//!
//! ```text
//! out = m ⊙ z σ(z),      ∂y_r = π_r(∂out ⊙ z σ(z)),      ∂z = ∂out ⊙ m ⊙ σ(z) (1 + z (1 − σ(z)))
//! ```
//! No direction is ever copied into raster order, and the backward pass keeps nothing but the inputs.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: rows of channels vectorised, tokens over threads |
//! | Cube | `cube`: one unit per element, one launch forward, two backward |

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

/// Gradients of the gated sum with respect to its four inputs, each `[B, L, E]` in the order of that input.
#[derive(Clone, Debug)]
pub struct GateGradients<T> {
    /// Gradient of the forward direction, raster order.
    pub forward: T,
    /// Gradient of the backward direction, reversed order.
    pub backward: T,
    /// Gradient of the inter-slice direction, inter-slice order.
    pub slice: T,
    /// Gradient of the gate's argument z, raster order.
    pub z: T,
}

/// A backend with the gated sum. Arguments as in [`gated_direction_sum`](crate::gated_direction_sum()), f32.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait GateBackend: Backend {
    /// `[B, L, E]`, raster order.
    fn gated_direction_sum(
        forward: FloatTensor<Self>,
        backward: FloatTensor<Self>,
        slice: FloatTensor<Self>,
        z: FloatTensor<Self>,
        slices: usize,
    ) -> FloatTensor<Self>;
}

/// The gradients on a backend without a graph; the graph node calls them.
pub trait GateKernels: GateBackend {
    /// Gradients of `Σ out ⊙ out_grad`.
    fn gated_direction_sum_gradients(
        forward: FloatTensor<Self>,
        backward: FloatTensor<Self>,
        slice: FloatTensor<Self>,
        z: FloatTensor<Self>,
        out_grad: FloatTensor<Self>,
        slices: usize,
    ) -> GateGradients<FloatTensor<Self>>;
}

/// `(forward + backward + slice) ⊙ SiLU(z)`, each direction `[B, L, E]` in its own visiting order (see
/// [`ScanOrder`]), z and the result in raster order; `slices` is that of the inter-slice direction.
///
/// Computed in f32, returned in the type of `z`. Differentiable with respect to all four inputs on an autodiff
/// device; first derivatives only.
///
/// # Panics
/// When the shapes differ or `slices` does not divide L, as burn's own operations do.
pub fn gated_direction_sum(
    forward: Tensor<3>,
    backward: Tensor<3>,
    slice: Tensor<3>,
    z: Tensor<3>,
    slices: usize,
) -> Tensor<3> {
    let dims = z.dims();
    for (name, found) in [("forward", forward.dims()), ("backward", backward.dims()), ("slice", slice.dims())]
    {
        assert!(
            found == dims,
            "gated_direction_sum: `{name}` is {found:?} but z is {dims:?}; pass equal shapes"
        );
    }
    assert!(
        ScanOrder::InterSlice { slices }.fits(dims[1]),
        "gated_direction_sum: {} tokens are no multiple of {slices} slices; pass slices that divide them",
        dims[1]
    );
    if dims.contains(&0) {
        return z;
    }
    let dtype = z.dtype();
    let out = <Dispatch as GateBackend>::gated_direction_sum(
        in_f32(forward).into_dispatch(),
        in_f32(backward).into_dispatch(),
        in_f32(slice).into_dispatch(),
        in_f32(z).into_dispatch(),
        slices,
    );
    in_type(Tensor::from_dispatch(out), dtype)
}
