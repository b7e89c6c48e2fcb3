//! Reading and making tensors of burn's Flex backend.

use burn::backend::{Flex, ops::FloatTensorOps};
use burn::tensor::{DType, FloatDType, Shape, TensorData};
use burn_flex::FlexTensor;

/// The tensor with its elements in C order.
pub(crate) fn contiguous(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() { tensor } else { tensor.to_contiguous() }
}

/// The tensor in f32 with its elements in C order.
pub(crate) fn contiguous_f32(tensor: FlexTensor) -> FlexTensor {
    contiguous(Flex::float_cast(tensor, FloatDType::F32))
}

/// Elements of a contiguous f32 tensor.
pub(crate) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().unwrap_or(&[])
}

/// A tensor of these elements, rounded to a floating-point type.
pub(crate) fn tensor_in(dtype: DType, values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    Flex::float_cast(tensor(values, shape), dtype.into())
}

/// A tensor of these elements.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}
