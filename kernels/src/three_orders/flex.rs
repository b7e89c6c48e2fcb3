//! The three directions one after the other on burn's Flex backend.

use burn::backend::ops::FloatTensorOps;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Shape, Slice};
use burn_flex::FlexTensor;

use super::{ORDERS, ThreeOrdersBackend};
use crate::ScanOrder;
use crate::causal_conv::CausalConvBackend;
use crate::gate::GateBackend;

/// Part of an axis.
fn part(x: &FlexTensor, axis: usize, start: usize, count: usize) -> FlexTensor {
    let mut slices = vec![Slice::from(..); axis];
    slices.push(Slice::from(start..start + count));
    Flex::float_slice(x.clone(), &slices)
}

impl ThreeOrdersBackend for Flex {
    fn causal_conv_silu_in_orders(
        xz: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        slices: usize,
    ) -> FlexTensor {
        let [_, channels, taps] = weight.shape().dims();
        let x = part(&xz, 2, 0, channels);
        let orders = [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices }];
        let convolved = orders.into_iter().enumerate().map(|(i, order)| {
            let weight = Flex::float_reshape(part(&weight, 0, i, 1), Shape::from([channels, taps]));
            let bias = Flex::float_reshape(part(&bias, 0, i, 1), Shape::from([channels]));
            Flex::causal_conv_silu(x.clone(), weight, bias, order)
        });
        Flex::float_cat(convolved.collect(), 0)
    }

    fn gated_sum_of_orders(y: FlexTensor, xz: FlexTensor, slices: usize) -> FlexTensor {
        let [sequences, _, channels] = y.shape().dims();
        let batch = sequences / ORDERS;
        let [forward, backward, slice] = [0, 1, 2].map(|i| part(&y, 0, i * batch, batch));
        Flex::gated_direction_sum(forward, backward, slice, part(&xz, 2, channels, channels), slices)
    }
}
