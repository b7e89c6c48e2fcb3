//! Row normalisation as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{NormBackend, NormKernels};

/// What the backward pass needs: the input, the output, the slope.
type Kept<B> = (NodeId, FloatTensor<B>, f32);

#[derive(Debug)]
struct NormaliseRows;

impl<B: NormKernels> Backward<B, 1> for NormaliseRows {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let (x, y, slope) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let [x_node] = ops.parents;
        if let Some(node) = x_node {
            grads.register::<B>(node.id, B::normalise_rows_gradients(x, y, y_grad, slope, false).x);
        }
    }
}

#[derive(Debug)]
struct NormaliseRowsAndAdd;

impl<B: NormKernels> Backward<B, 2> for NormaliseRowsAndAdd {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let (x, y, slope) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let [x_node, shortcut_node] = ops.parents;
        let found = B::normalise_rows_gradients(x, y, y_grad, slope, shortcut_node.is_some());
        if let Some(node) = x_node {
            grads.register::<B>(node.id, found.x);
        }
        if let (Some(node), Some(gradient)) = (shortcut_node, found.shortcut) {
            grads.register::<B>(node.id, gradient);
        }
    }
}

impl<B: NormKernels, C: CheckpointStrategy> NormBackend for Autodiff<B, C> {
    fn normalise_rows(x: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        match NormaliseRows.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept = prep.checkpoint(&x);
                let y = B::normalise_rows(x.into_primitive(), slope);
                prep.finish((kept, y.clone(), slope), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(B::normalise_rows(x.into_primitive(), slope)),
        }
    }

    fn normalise_rows_and_add(
        x: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        slope: f32,
    ) -> FloatTensor<Self> {
        let values = |x: FloatTensor<Self>, shortcut: FloatTensor<Self>| {
            B::normalise_rows_and_add(x.into_primitive(), shortcut.into_primitive(), slope)
        };
        match NormaliseRowsAndAdd.prepare::<C>([x.node(), shortcut.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept = prep.checkpoint(&x);
                let y = values(x, shortcut);
                prep.finish((kept, y.clone(), slope), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(values(x, shortcut)),
        }
    }
}
