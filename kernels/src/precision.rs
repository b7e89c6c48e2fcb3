//! Kernels compute in f32; tensors of another type are converted on the way in and back on the way out.

use burn::tensor::{DType, Tensor};

/// The tensor in f32.
pub(crate) fn in_f32<const D: usize>(tensor: Tensor<D>) -> Tensor<D> {
    in_type(tensor, DType::F32)
}

/// The tensor in a given type.
pub(crate) fn in_type<const D: usize>(tensor: Tensor<D>, dtype: DType) -> Tensor<D> {
    if tensor.dtype() == dtype { tensor } else { tensor.cast(dtype) }
}
