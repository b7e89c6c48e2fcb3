//! What a backend has to provide: the scan and its gradients on its own tensors.

use burn::backend::{Backend, backend_extension, tensor::FloatTensor};

/// Gradients of a scan with respect to its six inputs, each in the shape of that input.
#[derive(Clone, Debug)]
pub struct ScanGradients<T> {
    /// Gradient of `u`, `[B, L, E]`.
    pub u: T,
    /// Gradient of `projected`, `[B, L, R + 2N]`: columns of δ, of B and of C.
    pub projected: T,
    /// Gradient of `step_weight`, `[G·E, R]`.
    pub step_weight: T,
    /// Gradient of `step_bias`, `[G·E]`.
    pub step_bias: T,
    /// Gradient of `a_log`, `[G·E, N]`.
    pub a_log: T,
    /// Gradient of `d`, `[G·E]`.
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
        projected: FloatTensor<Self>,
        step_weight: FloatTensor<Self>,
        step_bias: FloatTensor<Self>,
        a_log: FloatTensor<Self>,
        d: FloatTensor<Self>,
        chunk: Option<usize>,
    ) -> FloatTensor<Self>;
}

/// The gradients of a scan on a backend without a graph; the graph node calls it.
pub trait ScanKernels: ScanBackend {
    /// Gradients of `Σ y ⊙ y_grad` with respect to the inputs, which come in the order of [`ScanBackend::scan`].
    fn scan_gradients(
        inputs: [FloatTensor<Self>; 6],
        y_grad: FloatTensor<Self>,
        chunk: Option<usize>,
    ) -> ScanGradients<FloatTensor<Self>>;
}
