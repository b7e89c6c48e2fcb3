//! The Gaussian error linear unit as a node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{GeluBackend, GeluKernels};
use crate::recompute::Recompute;

#[derive(Debug)]
struct Gelu;

impl<B: GeluKernels> Backward<B, 1> for Gelu {
    /// `x`.
    type State = NodeId;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let [x_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::gelu_exact_gradient(x, y_grad));
        }
    }
}

impl<B: GeluKernels, C: CheckpointStrategy> GeluBackend for Autodiff<B, C> {
    fn gelu_exact(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let nodes = [x.node()];
        let again = Recompute::new(nodes.each_ref().map(NodeGuard::id), |[x]| B::gelu_exact(x));
        match Gelu.prepare::<C>(nodes).memory_bound().retro_forward(again).parents([&x]).stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::gelu_exact(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::gelu_exact(x.into_primitive())),
        }
    }
}
