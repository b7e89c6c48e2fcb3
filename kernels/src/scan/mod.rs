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

/// Mamba-1 selective scan `y = Σ_n C h + D u` over token-major tensors (no gate), with the map that gives its steps.
///
/// With batch `B`, tokens `L`, channels `E`, states `N` and rank `R`:
///
/// - `u`: `[B, L, E]`
/// - `projected`: `[B, L, R + 2N]`, for every token the columns `[δ | B | C]`, read in place
/// - `step_weight`: `[E, R]` and `step_bias`: `[E]`; the step is `Δ = softplus(W δ + b)`
/// - `a_log`: `[E, N]`; the rates are `A = −exp(a_log)`
/// - `d`: `[E]`
///
/// Parameters of `G·E` rows in place of `E` are `G` sets, `G` a divisor of `B`: the first `B / G` sequences have the first
/// set, and so on.
///
/// Returns `y` `[B, L, E]` in the type of `u`. State, step and decay are f32 whatever the type of the inputs.
/// Differentiable with respect to all six inputs on an autodiff device; first derivatives only. The backward
/// pass recomputes the states, so between the passes nothing but the inputs is kept.
///
/// # Panics
/// When the shapes do not fit together (see [`ScanShape::from_dims`]), as burn's own operations do.
pub fn selective_scan(
    u: Tensor<3>,
    projected: Tensor<3>,
    step_weight: Tensor<2>,
    step_bias: Tensor<1>,
    a_log: Tensor<2>,
    d: Tensor<1>,
) -> Tensor<3> {
    selective_scan_in_chunks(u, projected, step_weight, step_bias, a_log, d, None)
}

/// [`selective_scan`] with sequences cut into chunks of a given number of tokens instead of the backend's choice.
///
/// The chunk changes memory, speed and the order of rounding, not the result beyond it. On Cube devices tokens of
/// a chunk are walked one after the other and chunks side by side; there the backward pass uses at most
/// 64, and multiples of 4. On Flex it is the distance of the states kept in the backward pass.
///
/// # Panics
/// As [`selective_scan`], and when `chunk` is 0.
pub fn selective_scan_in_chunks(
    u: Tensor<3>,
    projected: Tensor<3>,
    step_weight: Tensor<2>,
    step_bias: Tensor<1>,
    a_log: Tensor<2>,
    d: Tensor<1>,
    chunk: Option<usize>,
) -> Tensor<3> {
    assert!(chunk != Some(0), "selective scan: a chunk of 0 tokens; pass 1 or more, or None");
    let shape = ScanShape::from_dims(
        u.dims(),
        projected.dims(),
        step_weight.dims(),
        step_bias.dims(),
        a_log.dims(),
        d.dims(),
    );
    match shape {
        Ok(shape) => assert!(
            shape.states > 0 && shape.rank > 0,
            "selective scan: {} states, rank {}; pass 1 or more of both",
            shape.states,
            shape.rank
        ),
        Err(error) => panic!("{error}"),
    }
    let dtype = u.dtype();
    if u.dims().contains(&0) {
        return u;
    }
    let y = <Dispatch as ScanBackend>::scan(
        in_f32(u).into_dispatch(),
        in_f32(projected).into_dispatch(),
        in_f32(step_weight).into_dispatch(),
        in_f32(step_bias).into_dispatch(),
        in_f32(a_log).into_dispatch(),
        in_f32(d).into_dispatch(),
        chunk,
    );
    in_type(Tensor::from_dispatch(y), dtype)
}
