//! Layer normalisation on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{LayerNormBackend, LayerNormGradients, LayerNormKernels, cpu};
use crate::flex_tensor::{contiguous, tensor, values};

impl LayerNormBackend for Flex {
    fn layer_norm_tokens(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        let [x, weight, bias] = [x, weight, bias].map(contiguous);
        let [batch, channels, length] = x.shape().dims();
        let y = cpu::forward(values(&x), values(&weight), values(&bias), length);
        tensor(y, [batch, length, channels])
    }
}

impl LayerNormKernels for Flex {
    fn layer_norm_tokens_gradients(
        x: FlexTensor,
        weight: FlexTensor,
        y_grad: FlexTensor,
    ) -> LayerNormGradients<FlexTensor> {
        let [x, weight, y_grad] = [x, weight, y_grad].map(contiguous);
        let [_, _, length] = x.shape().dims();
        let found = cpu::gradients(values(&x), values(&weight), values(&y_grad), length);
        LayerNormGradients {
            x: tensor(found.x, x.shape()),
            weight: tensor(found.weight, weight.shape()),
            bias: tensor(found.bias, weight.shape()),
        }
    }
}
