//! Row normalisation as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{NormBackend, NormKernels};

#[derive(Debug)]
struct NormaliseRows;

impl<B: NormKernels> Backward<B, 1> for NormaliseRows {
    type State = NodeId;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(ops.state);
        let [parent] = ops.parents;
        if let Some(node) = parent {
            grads.register::<B>(node.id, B::normalise_rows_gradient(x, y_grad));
        }
    }
}

impl<B: NormKernels, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn normalise_rows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        match NormaliseRows.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = prep.checkpoint(&x);
                prep.finish(state, B::normalise_rows(x.into_primitive()))
            }
            OpsKind::UnTracked(prep) => prep.finish(B::normalise_rows(x.into_primitive())),
        }
    }
}
