//! The CPU scan on tensors of burn's Flex backend.

use burn::backend::{Flex, TensorMetadata};
use burn_flex::FlexTensor;

use super::{CHECKPOINT, ScanSlices, forward, gradients};
use crate::ScanShape;
use crate::flex_tensor::{contiguous, tensor, values};
use crate::scan::{ScanBackend, ScanGradients, ScanKernels};

/// The six inputs, contiguous.
struct Contiguous([FlexTensor; 6]);

impl Contiguous {
    fn new(inputs: [FlexTensor; 6]) -> Self {
        Self(inputs.map(contiguous))
    }

    fn slices(&self) -> ScanSlices<'_> {
        let [u, projected, step_weight, step_bias, a_log, d] = &self.0;
        let ([batch, length, channels], [rows, states]) = (u.shape().dims(), a_log.shape().dims());
        let [_, rank] = step_weight.shape().dims();
        let groups = rows / channels;
        ScanSlices {
            shape: ScanShape { batch, length, channels, states, rank, groups },
            u: values(u),
            projected: values(projected),
            step_weight: values(step_weight),
            step_bias: values(step_bias),
            a_log: values(a_log),
            d: values(d),
        }
    }
}

impl ScanBackend for Flex {
    fn scan(
        u: FlexTensor,
        projected: FlexTensor,
        step_weight: FlexTensor,
        step_bias: FlexTensor,
        a_log: FlexTensor,
        d: FlexTensor,
        _chunk: Option<usize>,
    ) -> FlexTensor {
        let inputs = Contiguous::new([u, projected, step_weight, step_bias, a_log, d]);
        tensor(forward(&inputs.slices()), inputs.0[0].shape())
    }
}

impl ScanKernels for Flex {
    fn scan_gradients(
        inputs: [FlexTensor; 6],
        y_grad: FlexTensor,
        chunk: Option<usize>,
    ) -> ScanGradients<FlexTensor> {
        let inputs = Contiguous::new(inputs);
        let y_grad = contiguous(y_grad);
        let found = gradients(&inputs.slices(), values(&y_grad), chunk.unwrap_or(CHECKPOINT));
        let [u, projected, step_weight, step_bias, a_log, d] = &inputs.0;
        ScanGradients {
            u: tensor(found.u, u.shape()),
            projected: tensor(found.projected, projected.shape()),
            step_weight: tensor(found.step_weight, step_weight.shape()),
            step_bias: tensor(found.step_bias, step_bias.shape()),
            a_log: tensor(found.a_log, a_log.shape()),
            d: tensor(found.d, d.shape()),
        }
    }
}
