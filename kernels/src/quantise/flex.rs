//! Quantisation on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;
use burn_flex::FlexTensor;

use super::{Crop, QuantiseBackend, cpu};
use crate::flex_tensor::{contiguous, values};

impl QuantiseBackend for Flex {
    fn quantise(logits: FlexTensor, crop: Crop) -> FlexTensor {
        let [_, _, window @ ..] = logits.shape().dims::<5>();
        let logits = contiguous(logits);
        let logits = values(&logits);
        let finite = logits.iter().all(|logit| logit.is_finite());
        let words = cpu::packed(&cpu::bins(logits, window, &crop), finite);
        let count = words.len();
        FlexTensor::from_data(TensorData::new(words, [count]))
    }
}
