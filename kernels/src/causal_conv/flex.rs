//! The causal convolution on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::cpu::{ConvSlices, forward, gradients};
use super::{CausalConvBackend, CausalConvGradients, CausalConvKernels};
use crate::ScanOrder;
use crate::flex_tensor::{contiguous, tensor, values};

/// The three inputs, contiguous, as slices.
fn slices([x, weight, bias]: &[FlexTensor; 3], order: ScanOrder) -> ConvSlices<'_> {
    let ([_, length, channels], [_, taps]) = (x.shape().dims(), weight.shape().dims());
    ConvSlices { length, channels, taps, order, x: values(x), weight: values(weight), bias: values(bias) }
}

impl CausalConvBackend for Flex {
    fn causal_conv_silu(x: FlexTensor, weight: FlexTensor, bias: FlexTensor, order: ScanOrder) -> FlexTensor {
        let inputs = [x, weight, bias].map(contiguous);
        tensor(forward(&slices(&inputs, order)), inputs[0].shape())
    }
}

impl CausalConvKernels for Flex {
    fn causal_conv_silu_gradients(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        v_grad: FlexTensor,
        order: ScanOrder,
    ) -> CausalConvGradients<FlexTensor> {
        let inputs = [x, weight, bias].map(contiguous);
        let v_grad = contiguous(v_grad);
        let found = gradients(&slices(&inputs, order), values(&v_grad));
        let [x, weight, bias] = inputs;
        CausalConvGradients {
            x: tensor(found.x, x.shape()),
            weight: tensor(found.weight, weight.shape()),
            bias: tensor(found.bias, bias.shape()),
        }
    }
}
