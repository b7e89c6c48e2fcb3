//! Linear maps over channels: pointwise convolutions of volumes and projections of tokens.
//!
//! ```text
//! y[o,l] = Σ_c w[o,c] x[c,l] + b[o]
//! ∂x = wᵀ ∂y,      ∂w[o,c] = Σ_l ∂y[o,l] x[c,l],      ∂b[o] = Σ_l ∂y[o,l]
//! ```
//! Input and output may each be a volume `[B, C, L]` or tokens `[B, L, C]`: going from one to the other costs no copy on the
//! CPU. There every product is one of the `gemm` crate over a stretch of positions, with the bias put under it while it is
//! in the cache; sums of ∂w run over stretches of positions and then over stretches, in an order that depends on the
//! sizes alone.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: stretches of positions over threads |
//! | Cube | burn's matrix product |

#[cfg(feature = "autodiff")]
mod autodiff;
#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

/// Which axis of a three-dimensional tensor holds the channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `[B, C, L]`
    Volume,
    /// `[B, L, C]`
    Tokens,
}

impl Layout {
    /// Batch, channels and positions of a shape.
    pub(crate) fn sizes(self, [batch, second, third]: [usize; 3]) -> [usize; 3] {
        match self {
            Self::Volume => [batch, second, third],
            Self::Tokens => [batch, third, second],
        }
    }

    /// The shape of so many channels and positions.
    pub(crate) fn shape(self, [batch, channels, positions]: [usize; 3]) -> [usize; 3] {
        self.sizes([batch, channels, positions])
    }
}

/// A backend with linear maps over channels. Arguments as in [`project`], of one type.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait ProjectionBackend: Backend {
    /// `w x`.
    fn project(x: FloatTensor<Self>, w: FloatTensor<Self>, from: Layout, to: Layout) -> FloatTensor<Self>;

    /// `w x + b`.
    fn project_and_add(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        from: Layout,
        to: Layout,
    ) -> FloatTensor<Self>;
}

/// The gradients on a backend without a graph; the graph node calls them. That of the input is
/// [`ProjectionBackend::project`] with the transposed weight, from `to` to `from`.
pub trait ProjectionKernels: ProjectionBackend {
    /// ∂w `[O, C]` of x in `from` and ∂y in `to`.
    fn project_weight_gradient(
        x: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        from: Layout,
        to: Layout,
    ) -> FloatTensor<Self>;
}

/// The map `w [O, C]`, and `b [O]`, of the channels of `x`, laid out as `from`, to those of the result, laid out as `to`.
///
/// All have one type, f32, f16 or bf16, which the result has too. Differentiable with respect to all of them on an
/// autodiff device; first derivatives only.
///
/// # Panics
/// When the channels or types do not agree, as burn's own operations do.
pub fn project(x: Tensor<3>, w: Tensor<2>, b: Option<Tensor<1>>, from: Layout, to: Layout) -> Tensor<3> {
    let ([_, channels, _], [outputs, expected]) = (from.sizes(x.dims()), w.dims());
    assert!(channels == expected, "project: the input has {channels} channels, the weight takes {expected}");
    assert!(
        x.dtype() == w.dtype() && b.as_ref().is_none_or(|b| b.dtype() == x.dtype()),
        "project: the input is {:?}, the weight {:?}; cast one of them",
        x.dtype(),
        w.dtype()
    );
    let (x, w) = (x.into_dispatch(), w.into_dispatch());
    Tensor::from_dispatch(match b {
        None => <Dispatch as ProjectionBackend>::project(x, w, from, to),
        Some(b) => {
            assert!(b.dims() == [outputs], "project: {outputs} outputs, the bias has {:?}", b.dims());
            <Dispatch as ProjectionBackend>::project_and_add(x, w, b.into_dispatch(), from, to)
        }
    })
}
