//! Row normalisation on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{NormBackend, NormGradients, NormKernels, cpu};
use crate::flex_tensor::{contiguous, tensor, values};

impl NormBackend for Flex {
    fn normalise_rows(x: FlexTensor, slope: f32) -> FlexTensor {
        let x = contiguous(x);
        let [_, n] = x.shape().dims();
        tensor(cpu::forward(values(&x), None, slope, n), x.shape())
    }

    fn normalise_rows_and_add(x: FlexTensor, shortcut: FlexTensor, slope: f32) -> FlexTensor {
        let [x, shortcut] = [x, shortcut].map(contiguous);
        let [_, n] = x.shape().dims();
        tensor(cpu::forward(values(&x), Some(values(&shortcut)), slope, n), x.shape())
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
        let [x, y, y_grad] = [x, y, y_grad].map(contiguous);
        let [_, n] = x.shape().dims();
        let found = cpu::gradients(values(&x), values(&y), values(&y_grad), slope, n, with_shortcut);
        let shaped = |values| tensor(values, x.shape());
        NormGradients { x: shaped(found.x), shortcut: found.shortcut.map(shaped) }
    }
}
