//! Size-keeping 3-D convolution, the operation that EMmamba spends nine tenths of its arithmetic on.
//!
//! Stride 1, odd kernel, zero padding k/2, no bias:
//! `y[o] = Σ_{i,dz,dy,dx} w[o,i,dz,dy,dx] · x[i, z+dz−kz/2, y+dy−ky/2, x+dx−kx/2]`.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: minimal filtering, register-tiled, vectorised for the processor it finds itself on |
//! | Cube | `cube`: implicit matrix product, tiled over voxels and channels; burn's own where [`ConvAlgorithm`] says so |

#[cfg(feature = "autodiff")]
mod autodiff;
#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod direct;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "flex")]
mod lanes;
mod packed;
mod shape;
#[cfg(feature = "flex")]
mod vector;
#[cfg(feature = "flex")]
mod winograd;

use burn::backend::{Backend, Dispatch, backend_extension, tensor::FloatTensor};
use burn::tensor::Tensor;

pub use packed::{PackedConvBackend, PackedWeight, conv_same_packed};
pub use shape::ConvShape;

/// Which convolution a Cube device runs.  The CPU has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// burn's where the device has matrix units and the crate feature `autotune` lets burn choose kernels that
    /// use them; the tiled one elsewhere.
    #[default]
    ByDevice,
    /// The tiled one, on plain f32 units whatever the type of the tensors.  Empty tensors, and kernels too large for
    /// 16 KiB of shared memory (from about 30 × 30 in a plane), still run burn's.
    Tiled,
    /// burn's, whatever that chooses.
    Burn,
}

/// A backend with the size-keeping convolution.
#[backend_extension(
    Cube: cfg(feature = "cube"),
    Flex: cfg(feature = "flex"),
    Autodiff: cfg(feature = "autodiff")
)]
pub trait ConvBackend: Backend {
    /// `x [B, in, D, H, W]`, `w [out, in, kz, ky, kx]` to `[B, out, D, H, W]`.
    fn conv_same(x: FloatTensor<Self>, w: FloatTensor<Self>, algorithm: ConvAlgorithm) -> FloatTensor<Self>;
}

/// The gradients on a backend without a graph; the graph node calls them.
pub trait ConvKernels: ConvBackend {
    /// Gradient of the input.  `x` gives the shape alone.
    fn conv_same_input_gradient(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        algorithm: ConvAlgorithm,
    ) -> FloatTensor<Self>;

    /// Gradient of the weight.  `w` gives the shape alone.
    fn conv_same_weight_gradient(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        algorithm: ConvAlgorithm,
    ) -> FloatTensor<Self>;
}

/// Size-keeping convolution of `x [B, in, D, H, W]` with `w [out, in, kz, ky, kx]`, kernel odd.
///
/// `x` and `w` have one type, f32, f16 or bf16, which the result has too; sums are f32.
///
/// # Panics
/// When the channels or types do not agree or a kernel size is even, as burn's own operations do.
pub fn conv_same(x: Tensor<5>, w: Tensor<5>) -> Tensor<5> {
    conv_same_with(x, w, ConvAlgorithm::ByDevice)
}

/// [`conv_same`] by a chosen algorithm, as are its gradients.
///
/// # Panics
/// As [`conv_same`].
pub fn conv_same_with(x: Tensor<5>, w: Tensor<5>, algorithm: ConvAlgorithm) -> Tensor<5> {
    let ([_, input, ..], [_, expected, kernel @ ..]) = (x.dims(), w.dims());
    assert!(input == expected, "conv_same: the input has {input} channels, the weight takes {expected}");
    assert!(
        x.dtype() == w.dtype(),
        "conv_same: the input is {:?}, the weight {:?}; cast one of them",
        x.dtype(),
        w.dtype()
    );
    assert!(kernel.iter().all(|k| k % 2 == 1), "conv_same: kernel {kernel:?} has an even size");
    Tensor::from_dispatch(<Dispatch as ConvBackend>::conv_same(
        x.into_dispatch(),
        w.into_dispatch(),
        algorithm,
    ))
}
