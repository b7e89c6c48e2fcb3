//! The gated sum on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::cpu::{GateSlices, forward, gradients};
use super::{GateBackend, GateGradients, GateKernels};
use crate::flex_tensor::{contiguous, tensor, values};

/// The four inputs, contiguous, as slices.
fn slices(inputs: &[FlexTensor; 4], slices: usize) -> GateSlices<'_> {
    let [_, length, channels] = inputs[3].shape().dims();
    let [forward, backward, slice, z] = inputs.each_ref().map(values);
    GateSlices { length, channels, slices, forward, backward, slice, z }
}

impl GateBackend for Flex {
    fn gated_direction_sum(
        y_forward: FlexTensor,
        y_backward: FlexTensor,
        y_slice: FlexTensor,
        z: FlexTensor,
        count: usize,
    ) -> FlexTensor {
        let inputs = [y_forward, y_backward, y_slice, z].map(contiguous);
        tensor(forward(&slices(&inputs, count)), inputs[3].shape())
    }
}

impl GateKernels for Flex {
    fn gated_direction_sum_gradients(
        y_forward: FlexTensor,
        y_backward: FlexTensor,
        y_slice: FlexTensor,
        z: FlexTensor,
        out_grad: FlexTensor,
        count: usize,
    ) -> GateGradients<FlexTensor> {
        let inputs = [y_forward, y_backward, y_slice, z].map(contiguous);
        let out_grad = contiguous(out_grad);
        let found = gradients(&slices(&inputs, count), values(&out_grad));
        let shape = inputs[3].shape();
        GateGradients {
            forward: tensor(found.forward, shape.clone()),
            backward: tensor(found.backward, shape.clone()),
            slice: tensor(found.slice, shape.clone()),
            z: tensor(found.z, shape),
        }
    }
}
