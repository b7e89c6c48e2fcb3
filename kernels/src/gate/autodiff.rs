//! The gated sum as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{GateBackend, GateKernels};
use crate::recompute::Recompute;

/// The node, with the slices of the inter-slice direction.
#[derive(Debug)]
struct GatedDirectionSum(usize);

impl<B: GateKernels> Backward<B, 4> for GatedDirectionSum {
    type State = [NodeId; 4];

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let out_grad = grads.consume::<B>(&ops.node);
        let [forward, backward, slice, z] =
            ops.state.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let found = B::gated_direction_sum_gradients(forward, backward, slice, z, out_grad, self.0);
        let found = [found.forward, found.backward, found.slice, found.z];
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: GateKernels, C: CheckpointStrategy> GateBackend for Autodiff<B, C> {
    fn gated_direction_sum(
        forward: FloatTensor<Self>,
        backward: FloatTensor<Self>,
        slice: FloatTensor<Self>,
        z: FloatTensor<Self>,
        slices: usize,
    ) -> FloatTensor<Self> {
        let nodes = [forward.node(), backward.node(), slice.node(), z.node()];
        let values = |inputs: [FloatTensor<Self>; 4]| {
            let [forward, backward, slice, z] = inputs.map(FloatTensor::<Self>::into_primitive);
            B::gated_direction_sum(forward, backward, slice, z, slices)
        };
        let again =
            Recompute::new(nodes.each_ref().map(NodeGuard::id), move |[forward, backward, slice, z]| {
                B::gated_direction_sum(forward, backward, slice, z, slices)
            });
        let prepared = GatedDirectionSum(slices)
            .prepare::<C>(nodes)
            .memory_bound()
            .retro_forward(again)
            .parents([&forward, &backward, &slice, &z]);
        match prepared.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&forward, &backward, &slice, &z].map(|input| prep.checkpoint(input));
                prep.finish(state, values([forward, backward, slice, z]))
            }
            OpsKind::UnTracked(prep) => prep.finish(values([forward, backward, slice, z])),
        }
    }
}
