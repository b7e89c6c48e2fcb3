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
        let inputs = inputs.map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        let found = B::scan_gradients(inputs, y_grad, chunk);
        let found = [found.u, found.projected, found.step_weight, found.step_bias, found.a_log, found.d];
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
        projected: FloatTensor<Self>,
        step_weight: FloatTensor<Self>,
        step_bias: FloatTensor<Self>,
        a_log: FloatTensor<Self>,
        d: FloatTensor<Self>,
        chunk: Option<usize>,
    ) -> FloatTensor<Self> {
        let inputs = [u, projected, step_weight, step_bias, a_log, d];
        let values = |inputs: [FloatTensor<Self>; 6]| {
            let [u, projected, step_weight, step_bias, a_log, d] =
                inputs.map(FloatTensor::<Self>::into_primitive);
            B::scan(u, projected, step_weight, step_bias, a_log, d, chunk)
        };
        let nodes = inputs.each_ref().map(FloatTensor::<Self>::node);
        match SelectiveScan.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = inputs.each_ref().map(|input| prep.checkpoint(input));
                prep.finish((state, chunk), values(inputs))
            }
            OpsKind::UnTracked(prep) => prep.finish(values(inputs)),
        }
    }
}
