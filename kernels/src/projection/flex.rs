//! Linear maps on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::cpu::{ProjectionShape, forward, weight_gradient};
use super::{Layout, ProjectionBackend, ProjectionKernels};
use crate::flex_tensor::{contiguous_f32, tensor_in, values};

/// `b` is empty for none.
fn mapped(x: FlexTensor, w: FlexTensor, b: &[f32], [from, to]: [Layout; 2]) -> FlexTensor {
    let dtype = x.dtype();
    let [x, w] = [x, w].map(contiguous_f32);
    let ([batch, input, positions], [output, _]) = (from.sizes(x.shape().dims()), w.shape().dims());
    let shape = ProjectionShape { batch, input, output, positions };
    let y = forward(values(&x), values(&w), b, &shape, [from, to]);
    tensor_in(dtype, y, to.shape([batch, output, positions]))
}

impl ProjectionBackend for Flex {
    fn project(x: FlexTensor, w: FlexTensor, from: Layout, to: Layout) -> FlexTensor {
        mapped(x, w, &[], [from, to])
    }

    fn project_and_add(x: FlexTensor, w: FlexTensor, b: FlexTensor, from: Layout, to: Layout) -> FlexTensor {
        let b = contiguous_f32(b);
        mapped(x, w, values(&b), [from, to])
    }
}

impl ProjectionKernels for Flex {
    fn project_weight_gradient(x: FlexTensor, y_grad: FlexTensor, from: Layout, to: Layout) -> FlexTensor {
        let dtype = x.dtype();
        let [x, y_grad] = [x, y_grad].map(contiguous_f32);
        let [batch, input, positions] = from.sizes(x.shape().dims());
        let [_, output, _] = to.sizes(y_grad.shape().dims());
        let shape = ProjectionShape { batch, input, output, positions };
        let found = weight_gradient(values(&x), values(&y_grad), &shape, [from, to]);
        tensor_in(dtype, found, [output, input])
    }
}
