//! The causal convolution as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{CausalConvBackend, CausalConvKernels};
use crate::ScanOrder;
use crate::recompute::Recompute;

#[derive(Debug)]
struct CausalConvSilu(ScanOrder);

impl<B: CausalConvKernels> Backward<B, 3> for CausalConvSilu {
    type State = [NodeId; 3];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let v_grad = grads.consume::<B>(&ops.node);
        let [x, weight, bias] = ops.state.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let found = B::causal_conv_silu_gradients(x, weight, bias, v_grad, self.0);
        for (parent, gradient) in ops.parents.into_iter().zip([found.x, found.weight, found.bias]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: CausalConvKernels, C: CheckpointStrategy> CausalConvBackend for Autodiff<B, C> {
    fn causal_conv_silu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        order: ScanOrder,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let values = |inputs: [FloatTensor<Self>; 3]| {
            let [x, weight, bias] = inputs.map(FloatTensor::<Self>::into_primitive);
            B::causal_conv_silu(x, weight, bias, order)
        };
        let again = Recompute::new(nodes.each_ref().map(NodeGuard::id), move |[x, weight, bias]| {
            B::causal_conv_silu(x, weight, bias, order)
        });
        let prepared = CausalConvSilu(order)
            .prepare::<C>(nodes)
            .memory_bound()
            .retro_forward(again)
            .parents([&x, &weight, &bias]);
        match prepared.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&x, &weight, &bias].map(|input| prep.checkpoint(input));
                prep.finish(state, values([x, weight, bias]))
            }
            OpsKind::UnTracked(prep) => prep.finish(values([x, weight, bias])),
        }
    }
}
