//! The convolution as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{ConvAlgorithm, ConvBackend, ConvKernels};

#[derive(Debug)]
struct ConvSame(ConvAlgorithm);

impl<B: ConvKernels> Backward<B, 2> for ConvSame {
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let [x, w] = ops.state.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let [x_node, w_node] = ops.parents;
        if let Some(node) = x_node {
            let gradient = B::conv_same_input_gradient(x.clone(), w.clone(), y_grad.clone(), self.0);
            grads.register::<B>(node.id, gradient);
        }
        if let Some(node) = w_node {
            grads.register::<B>(node.id, B::conv_same_weight_gradient(x, w, y_grad, self.0));
        }
    }
}

impl<B: ConvKernels, C: CheckpointStrategy> ConvBackend for Autodiff<B, C> {
    fn conv_same(x: FloatTensor<Self>, w: FloatTensor<Self>, algorithm: ConvAlgorithm) -> FloatTensor<Self> {
        let values = |x: FloatTensor<Self>, w: FloatTensor<Self>| {
            B::conv_same(x.into_primitive(), w.into_primitive(), algorithm)
        };
        match ConvSame(algorithm).prepare::<C>([x.node(), w.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&x, &w].map(|input| prep.checkpoint(input));
                prep.finish(state, values(x, w))
            }
            OpsKind::UnTracked(prep) => prep.finish(values(x, w)),
        }
    }
}
