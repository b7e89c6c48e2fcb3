//! The operations on all parameters on tensors of burn's Flex backend.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{AdamwBackend, Place, Rates, TensorList, cpu};
use crate::flex_tensor::{contiguous, tensor, values};

impl AdamwBackend for Flex {
    /// One sum per tensor.
    fn square_sums(tensors: TensorList<Self>) -> FlexTensor {
        let sums = tensors.0.into_iter().map(|t| Flex::float_sum(Flex::float_mul(t.clone(), t)));
        Flex::float_cat(sums.collect(), 0)
    }

    fn weighted_sums(a: TensorList<Self>, b: TensorList<Self>, weights: [f32; 2]) -> Vec<FlexTensor> {
        let pairs = a.0.into_iter().zip(b.0);
        let sum = |(a, b)| {
            let (a, b) = (contiguous(a), contiguous(b));
            tensor(cpu::weighted_sum(values(&a), values(&b), weights), a.shape())
        };
        pairs.map(sum).collect()
    }

    fn adamw(
        parameters: TensorList<Self>,
        gradients: TensorList<Self>,
        first: FlexTensor,
        second: FlexTensor,
        places: Vec<Place>,
        rates: Rates,
    ) -> (Vec<FlexTensor>, FlexTensor, FlexTensor) {
        let parameters: Vec<_> = parameters.0.into_iter().map(contiguous).collect();
        let gradients: Vec<_> = gradients.0.into_iter().map(contiguous).collect();
        let slices: Vec<_> = parameters.iter().zip(&gradients).map(|(p, g)| (values(p), values(g))).collect();
        let [mut first, mut second] = [first, second].map(whole);
        let found = cpu::adamw(&slices, first.storage_mut(), second.storage_mut(), &places, &rates);
        let found = found.into_iter().zip(&parameters).map(|(values, p)| tensor(values, p.shape())).collect();
        (found, first, second)
    }
}

/// The tensor, its elements alone in its storage.
fn whole(tensor: FlexTensor) -> FlexTensor {
    let storage = tensor.bytes().len() / size_of::<f32>();
    if tensor.is_contiguous() && storage == tensor.shape().num_elements() {
        return tensor;
    }
    crate::flex_tensor::tensor(values(&contiguous(tensor.clone())).to_vec(), tensor.shape())
}
