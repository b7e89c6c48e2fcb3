//! Row normalisation as one node of burn's autodiff graph.

use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;

use super::{NormBackend, NormKernels};
use crate::recompute::{Recompute, recomputes};

/// What the backward pass of a sum needs beside x and the slope: the result, or what to compute it from again.
#[derive(Clone, Debug)]
enum Kept<T> {
    Result(T),
    Shortcut(NodeId),
}

#[derive(Debug)]
struct NormaliseRows;

impl<B: NormKernels> Backward<B, 1> for NormaliseRows {
    type State = (NodeId, Option<FloatTensor<B>>, f32);

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let (x, y, slope) = ops.state;
        let x = checkpointer.retrieve_node_output::<FloatTensor<B>>(x);
        let [x_node] = ops.parents;
        if let Some(node) = x_node {
            let y = y.unwrap_or_else(|| B::normalise_rows(x.clone(), slope));
            grads.register::<B>(node.id, B::normalise_rows_gradients(x, y, y_grad, slope, false).x);
        }
    }
}

#[derive(Debug)]
struct NormaliseRowsAndAdd;

impl<B: NormKernels> Backward<B, 2> for NormaliseRowsAndAdd {
    type State = (NodeId, Kept<FloatTensor<B>>, f32);

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let (x, kept, slope) = ops.state;
        let mut retrieve = |id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id);
        let x = retrieve(x);
        let y = match kept {
            Kept::Result(y) => y,
            Kept::Shortcut(shortcut) => B::normalise_rows_and_add(x.clone(), retrieve(shortcut), slope),
        };
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
        let nodes = [x.node()];
        let again =
            Recompute::new(nodes.each_ref().map(NodeGuard::id), move |[x]| B::normalise_rows(x, slope));
        let prepared = NormaliseRows.prepare::<C>(nodes).memory_bound().retro_forward(again).parents([&x]);
        match prepared.stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept_x = prep.checkpoint(&x);
                let y = B::normalise_rows(x.into_primitive(), slope);
                let kept = (!recomputes::<C>()).then(|| y.clone());
                prep.finish((kept_x, kept, slope), y)
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
        let nodes = [x.node(), shortcut.node()];
        let again = Recompute::new(nodes.each_ref().map(NodeGuard::id), move |[x, shortcut]| {
            B::normalise_rows_and_add(x, shortcut, slope)
        });
        let prepared = NormaliseRowsAndAdd
            .prepare::<C>(nodes)
            .memory_bound()
            .retro_forward(again)
            .parents([&x, &shortcut]);
        match prepared.stateful() {
            OpsKind::Tracked(mut prep) => {
                let kept_x = prep.checkpoint(&x);
                let kept_shortcut = recomputes::<C>().then(|| prep.checkpoint(&shortcut));
                let y = values(x, shortcut);
                let kept = kept_shortcut.map_or_else(|| Kept::Result(y.clone()), Kept::Shortcut);
                prep.finish((kept_x, kept, slope), y)
            }
            OpsKind::UnTracked(prep) => prep.finish(values(x, shortcut)),
        }
    }
}
