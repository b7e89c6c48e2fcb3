//! Row normalisation on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{NormBackend, NormKernels, cpu};
use crate::flex_tensor::{contiguous, tensor, values};

impl NormBackend for Flex {
    fn normalise_rows(x: FlexTensor) -> FlexTensor {
        let x = contiguous(x);
        let [_, n] = x.shape().dims();
        tensor(cpu::forward(values(&x), n), x.shape())
    }
}

impl NormKernels for Flex {
    fn normalise_rows_gradient(x: FlexTensor, y_grad: FlexTensor) -> FlexTensor {
        let [x, y_grad] = [x, y_grad].map(contiguous);
        let [_, n] = x.shape().dims();
        tensor(cpu::gradient(values(&x), values(&y_grad), n), x.shape())
    }
}
