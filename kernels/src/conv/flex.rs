//! The CPU convolution on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::DType;
use burn_flex::FlexTensor;

use super::{ConvAlgorithm, ConvBackend, ConvKernels, ConvShape, PackedConvBackend, cpu};
use crate::flex_tensor::{contiguous_f32, tensor_in, values};

fn shape(x: &FlexTensor, w: &FlexTensor) -> ConvShape {
    ConvShape::new(x.shape().dims(), w.shape().dims())
}

impl ConvBackend for Flex {
    fn conv_same(x: FlexTensor, w: FlexTensor, _: ConvAlgorithm) -> FlexTensor {
        let (shape, dtype) = (shape(&x, &w), x.dtype());
        let [x, w] = [x, w].map(contiguous_f32);
        let y = cpu::forward(values(&x), values(&w), &shape);
        let [d, h, width] = shape.size_zyx;
        tensor_in(dtype, y, [shape.batch, shape.output, d, h, width])
    }
}

impl ConvKernels for Flex {
    fn conv_same_input_gradient(
        x: FlexTensor,
        w: FlexTensor,
        y_grad: FlexTensor,
        _: ConvAlgorithm,
    ) -> FlexTensor {
        let shape = shape(&x, &w);
        let [w, y_grad] = [w, y_grad].map(contiguous_f32);
        tensor_in(x.dtype(), cpu::input_gradient(values(&y_grad), values(&w), &shape), x.shape())
    }

    fn conv_same_weight_gradient(
        x: FlexTensor,
        w: FlexTensor,
        y_grad: FlexTensor,
        _: ConvAlgorithm,
    ) -> FlexTensor {
        let (shape, dtype) = (shape(&x, &w), w.dtype());
        let [x, y_grad] = [x, y_grad].map(contiguous_f32);
        tensor_in(dtype, cpu::weight_gradient(values(&x), values(&y_grad), &shape), w.shape())
    }
}

/// The CPU packs at use.
impl PackedConvBackend for Flex {
    fn pack_conv_weights(_: FlexTensor, _: ConvAlgorithm) -> FlexTensor {
        tensor_in(DType::F32, Vec::new(), [0])
    }

    fn conv_same_packed(_: FlexTensor, _: FlexTensor, dims: [usize; 5]) -> FlexTensor {
        unreachable!("no weight {dims:?} is packed on the CPU")
    }
}
