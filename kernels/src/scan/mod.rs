//! The selective scan as an operation on tensors: shapes, dispatch to a backend, and its graph node.

#[cfg(feature = "autodiff")]
mod autodiff;
mod backend;
mod order;
mod shape;

pub use backend::{ScanBackend, ScanGradients, ScanKernels};
pub use order::ScanOrder;
pub use shape::{ScanShape, ScanShapeError};

use burn::backend::Dispatch;
use burn::tensor::Tensor;

use crate::precision::{in_f32, in_type};

/// Mamba-1 selective scan `y = Σ_n C h + D u` over token-major tensors (no gate).
///
/// With batch `B`, tokens `L`, channels `E` and states `N`:
///
/// - `u`, `delta`: `[B, L, E]`; the step is `Δ = softplus(delta)`
/// - `a`: `[E, N]`, negative for a decaying state
/// - `b`, `c`: `[B, L, N]`
/// - `d`: `[E]`
///
/// Returns `y` `[B, L, E]` in the type of `u`. State, step and decay are f32 whatever the type of the inputs.
/// Differentiable with respect to all six inputs on an autodiff device; first derivatives only. The backward
/// pass recomputes the states, so between the passes nothing but the inputs is kept.
///
/// # Panics
/// When the shapes do not fit together (see [`ScanShape::from_dims`]), as burn's own operations do.
pub fn selective_scan(
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<3>,
    c: Tensor<3>,
    d: Tensor<1>,
) -> Tensor<3> {
    selective_scan_in_chunks(u, delta, a, b, c, d, None)
}

/// [`selective_scan`] with sequences cut into chunks of a given number of tokens instead of the backend's choice.
///
/// The chunk changes memory, speed and the order of rounding, not the result beyond it. On Cube devices tokens of
/// a chunk are walked one after the other and chunks side by side; there the backward pass uses at most
/// 64. On Flex it is the distance of the states kept in the backward pass.
///
/// # Panics
/// As [`selective_scan`], and when `chunk` is 0.
pub fn selective_scan_in_chunks(
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<3>,
    c: Tensor<3>,
    d: Tensor<1>,
    chunk: Option<usize>,
) -> Tensor<3> {
    assert!(chunk != Some(0), "selective scan: a chunk of 0 tokens; pass 1 or more, or None");
    let shape = ScanShape::from_dims(u.dims(), delta.dims(), a.dims(), b.dims(), c.dims(), d.dims());
    if let Err(error) = shape {
        panic!("{error}");
    }
    assert!(a.dims()[1] > 0, "selective scan: `a` has no states; pass [channels, 1 or more states]");
    let dtype = u.dtype();
    if u.dims().contains(&0) {
        return u;
    }
    let y = <Dispatch as ScanBackend>::scan(
        in_f32(u).into_dispatch(),
        in_f32(delta).into_dispatch(),
        in_f32(a).into_dispatch(),
        in_f32(b).into_dispatch(),
        in_f32(c).into_dispatch(),
        in_f32(d).into_dispatch(),
        chunk,
    );
    in_type(Tensor::from_dispatch(y), dtype)
}
