//! The Gaussian error linear unit on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::cpu::{forward, gradient};
use super::{GeluBackend, GeluKernels};
use crate::flex_tensor::{contiguous_f32, tensor_in, values};

impl GeluBackend for Flex {
    fn gelu_exact(x: FlexTensor) -> FlexTensor {
        let dtype = x.dtype();
        let x = contiguous_f32(x);
        tensor_in(dtype, forward(values(&x)), x.shape())
    }
}

impl GeluKernels for Flex {
    fn gelu_exact_gradient(x: FlexTensor, y_grad: FlexTensor) -> FlexTensor {
        let dtype = x.dtype();
        let [x, y_grad] = [x, y_grad].map(contiguous_f32);
        tensor_in(dtype, gradient(values(&x), values(&y_grad)), x.shape())
    }
}
