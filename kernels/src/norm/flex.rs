//! Row normalisation on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{NormBackend, NormGradients, NormKernels, cpu};
use crate::flex_tensor::{contiguous_f32, tensor_in, values};

impl NormBackend for Flex {
    fn normalise_rows(x: FlexTensor, slope: f32) -> FlexTensor {
        let dtype = x.dtype();
        let x = contiguous_f32(x);
        let [_, n] = x.shape().dims();
        tensor_in(dtype, cpu::forward(values(&x), None, slope, n), x.shape())
    }

    fn normalise_rows_and_add(x: FlexTensor, shortcut: FlexTensor, slope: f32) -> FlexTensor {
        let dtype = x.dtype();
        let [x, shortcut] = [x, shortcut].map(contiguous_f32);
        let [_, n] = x.shape().dims();
        tensor_in(dtype, cpu::forward(values(&x), Some(values(&shortcut)), slope, n), x.shape())
    }
}

impl NormKernels for Flex {
    fn normalise_rows_gradients(
        x: FlexTensor,
        y: FlexTensor,
        y_grad: FlexTensor,
        slope: f32,
        with_shortcut: bool,
    ) -> NormGradients<FlexTensor> {
        let dtype = x.dtype();
        let [x, y, y_grad] = [x, y, y_grad].map(contiguous_f32);
        let [_, n] = x.shape().dims();
        let found = cpu::gradients(values(&x), values(&y), values(&y_grad), slope, n, with_shortcut);
        let shaped = |values| tensor_in(dtype, values, x.shape());
        NormGradients { x: shaped(found.x), shortcut: found.shortcut.map(shaped) }
    }
}
