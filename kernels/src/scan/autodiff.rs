//! The scan as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{ScanBackend, ScanKernels};

#[derive(Debug)]
struct SelectiveScan;

impl<B: ScanKernels> Backward<B, 6> for SelectiveScan {
    /// The inputs, and the tokens of a chunk.
    type State = ([NodeId; 6], Option<usize>);

    fn backward(self, ops: Ops<Self::State, 6>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let (inputs, chunk) = ops.state;
        let [u, delta, a, b, c, d] = inputs.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let found = B::scan_gradients(u, delta, a, b, c, d, y_grad, chunk);
        let found = [found.u, found.delta, found.a, found.b, found.c, found.d];
        for (parent, gradient) in ops.parents.into_iter().zip(found) {
            if let Some(node) = parent {
                grads.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: ScanKernels, C: CheckpointStrategy> ScanBackend for Autodiff<B, C> {
    fn scan(
        u: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        c: FloatTensor<Self>,
        d: FloatTensor<Self>,
        chunk: Option<usize>,
    ) -> FloatTensor<Self> {
        let nodes = [u.node(), delta.node(), a.node(), b.node(), c.node(), d.node()];
        match SelectiveScan.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&u, &delta, &a, &b, &c, &d].map(|input| prep.checkpoint(input));
                let [u, delta, a, b, c, d] = [u, delta, a, b, c, d].map(FloatTensor::<Self>::into_primitive);
                prep.finish((state, chunk), B::scan(u, delta, a, b, c, d, chunk))
            }
            OpsKind::UnTracked(prep) => {
                let [u, delta, a, b, c, d] = [u, delta, a, b, c, d].map(FloatTensor::<Self>::into_primitive);
                prep.finish(B::scan(u, delta, a, b, c, d, chunk))
            }
        }
    }
}
