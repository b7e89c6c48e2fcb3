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
        let [u, delta, a, b, c, d] = &self.0;
        let ([batch, length, channels], [_, states]) = (u.shape().dims(), a.shape().dims());
        ScanSlices {
            shape: ScanShape { batch, length, channels, states },
            u: values(u),
            delta: values(delta),
            a: values(a),
            b: values(b),
            c: values(c),
            d: values(d),
        }
    }
}

impl ScanBackend for Flex {
    fn scan(
        u: FlexTensor,
        delta: FlexTensor,
        a: FlexTensor,
        b: FlexTensor,
        c: FlexTensor,
        d: FlexTensor,
        _chunk: Option<usize>,
    ) -> FlexTensor {
        let inputs = Contiguous::new([u, delta, a, b, c, d]);
        tensor(forward(&inputs.slices()), inputs.0[0].shape())
    }
}

impl ScanKernels for Flex {
    fn scan_gradients(
        u: FlexTensor,
        delta: FlexTensor,
        a: FlexTensor,
        b: FlexTensor,
        c: FlexTensor,
        d: FlexTensor,
        y_grad: FlexTensor,
        chunk: Option<usize>,
    ) -> ScanGradients<FlexTensor> {
        let inputs = Contiguous::new([u, delta, a, b, c, d]);
        let y_grad = contiguous(y_grad);
        let found = gradients(&inputs.slices(), values(&y_grad), chunk.unwrap_or(CHECKPOINT));
        let [u, delta, a, b, c, d] = &inputs.0;
        ScanGradients {
            u: tensor(found.u, u.shape()),
            delta: tensor(found.delta, delta.shape()),
            a: tensor(found.a, a.shape()),
            b: tensor(found.b, b.shape()),
            c: tensor(found.c, c.shape()),
            d: tensor(found.d, d.shape()),
        }
    }
}
