//! What a backend has to provide: the scan and its gradients on its own tensors.

use burn::backend::{Backend, backend_extension, tensor::FloatTensor};

/// Gradients of a scan with respect to its six inputs, each in the shape of that input.
#[derive(Clone, Debug)]
pub struct ScanGradients<T> {
    /// Gradient of `u`, `[B, L, E]`.
    pub u: T,
    /// Gradient of `delta` (before softplus), `[B, L, E]`.
    pub delta: T,
    /// Gradient of `a`, `[E, N]`.
    pub a: T,
    /// Gradient of `b`, `[B, L, N]`.
    pub b: T,
    /// Gradient of `c`, `[B, L, N]`.
    pub c: T,
    /// Gradient of `d`, `[E]`.
    pub d: T,
}

/// A backend on which [`selective_scan`](crate::selective_scan) runs. Arguments as there, all f32; `chunk` is
/// the number of tokens that the backend cuts sequences into, its own choice when `None`.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait ScanBackend: Backend {
    /// `y` `[B, L, E]`.
    fn scan(
        u: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        chunk: Option<usize>,
    ) -> FloatTensor<Self>;
}

/// The gradients of a scan on a backend without a graph; the graph node calls it.
pub trait ScanKernels: ScanBackend {
    /// Gradients of `Σ y ⊙ y_grad` with respect to the inputs.
    #[expect(
        clippy::too_many_arguments,
        reason = "the six inputs of the scan and the gradient of its output"
    )]
    fn scan_gradients(
        u: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        chunk: Option<usize>,
    ) -> ScanGradients<FloatTensor<Self>>;
}
