//! Layer normalisation as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{LayerNormBackend, LayerNormKernels};
use crate::recompute::Recompute;

#[derive(Debug)]
struct LayerNormTokens;

impl<B: LayerNormKernels> Backward<B, 3> for LayerNormTokens {
    /// `x` and `weight`.
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let [x, weight] = ops.state.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let found = B::layer_norm_tokens_gradients(x, weight, y_grad);
        for (parent, gradient) in ops.parents.into_iter().zip([found.x, found.weight, found.bias]) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: LayerNormKernels, C: CheckpointStrategy> LayerNormBackend for Autodiff<B, C> {
    fn layer_norm_tokens(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let nodes = [x.node(), weight.node(), bias.node()];
        let values = |inputs: [FloatTensor<Self>; 3]| {
            let [x, weight, bias] = inputs.map(FloatTensor::<Self>::into_primitive);
            B::layer_norm_tokens(x, weight, bias)
        };
        let again = Recompute::new(nodes.each_ref().map(NodeGuard::id), |[x, weight, bias]| {
            B::layer_norm_tokens(x, weight, bias)
        });
        let prepared = LayerNormTokens
            .prepare::<C>(nodes)
            .memory_bound()
            .retro_forward(again)
            .parents([&x, &weight, &bias]);
        match prepared.stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&x, &weight].map(|input| prep.checkpoint(input));
                prep.finish(state, values([x, weight, bias]))
            }
            OpsKind::UnTracked(prep) => prep.finish(values([x, weight, bias])),
        }
    }
}
