//! Linear maps as nodes of burn's autodiff graph.

use burn::backend::TensorMetadata;
use burn::backend::autodiff::checkpoint::{base::Checkpointer, strategy::CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::autodiff::{Autodiff, NodeId};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;

use super::{Layout, ProjectionBackend, ProjectionKernels};

/// A map without bias, N = 2, or with one, N = 3.
#[derive(Debug)]
struct Project {
    from: Layout,
    to: Layout,
}

impl Project {
    /// Registers the gradients of x and w.
    fn differentiate<B: ProjectionKernels>(
        &self,
        [x, w]: [NodeId; 2],
        [x_id, w_id]: [Option<NodeId>; 2],
        y_grad: &FloatTensor<B>,
        grads: &mut Gradients,
        checkpointer: &mut Checkpointer,
    ) {
        let [x, w] = [x, w].map(|id| checkpointer.retrieve_node_output::<FloatTensor<B>>(id));
        if let Some(id) = x_id {
            let transposed = B::float_swap_dims(w, 0, 1);
            grads.register::<B>(id, B::project(y_grad.clone(), transposed, self.to, self.from));
        }
        if let Some(id) = w_id {
            let found = B::project_weight_gradient(x, y_grad.clone(), self.from, self.to);
            grads.register::<B>(id, found);
        }
    }
}

/// The most positions that are added one after the other: as many for 300,000 positions as there are such sums.
const ADDED_AT_A_TIME: usize = 512;

/// Σ over batch and positions, of as many elements as there are channels.
///
/// In two rounds, where the number of positions is a multiple of a power of two: a few channels alone would leave most of a
/// GPU idle, and a software driver stops a loop after 65,535 rounds.
fn sums_over_positions<B: ProjectionKernels>(y: FloatTensor<B>, layout: Layout) -> FloatTensor<B> {
    let [batch, channels, positions] = layout.sizes(y.shape().dims());
    let together = 1 << positions.trailing_zeros().min(ADDED_AT_A_TIME.trailing_zeros());
    let groups = positions / together;
    let (shape, axis) = match layout {
        Layout::Volume => ([batch, channels, groups, together], 3),
        Layout::Tokens => ([batch, groups, together, channels], 2),
    };
    let parts = B::float_sum_dim(B::float_reshape(y, Shape::from(shape)), axis);
    let parts = B::float_reshape(parts, Shape::from(layout.shape([batch, channels, groups])));
    let axis = if layout == Layout::Volume { 2 } else { 1 };
    B::float_sum_dim(B::float_sum_dim(parts, axis), 0)
}

impl<B: ProjectionKernels> Backward<B, 2> for Project {
    /// `x` and `w`.
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let parents = ops.parents.map(|parent| parent.map(|node| node.id));
        self.differentiate::<B>(ops.state, parents, &y_grad, grads, checkpointer);
    }
}

impl<B: ProjectionKernels> Backward<B, 3> for Project {
    /// `x` and `w`.
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let y_grad = grads.consume::<B>(&ops.node);
        let [x, w, b] = ops.parents.map(|parent| parent.map(|node| node.id));
        self.differentiate::<B>(ops.state, [x, w], &y_grad, grads, checkpointer);
        if let Some(id) = b {
            let [_, output, _] = self.to.sizes(y_grad.shape().dims());
            let sums = sums_over_positions::<B>(y_grad, self.to);
            grads.register::<B>(id, B::float_reshape(sums, Shape::from([output])));
        }
    }
}

impl<B: ProjectionKernels, C: CheckpointStrategy> ProjectionBackend for Autodiff<B, C> {
    fn project(x: FloatTensor<Self>, w: FloatTensor<Self>, from: Layout, to: Layout) -> FloatTensor<Self> {
        let values = |x: FloatTensor<Self>, w: FloatTensor<Self>| {
            B::project(x.into_primitive(), w.into_primitive(), from, to)
        };
        let nodes = [x.node(), w.node()];
        match Backward::<B, 2>::prepare::<C>(Project { from, to }, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&x, &w].map(|input| prep.checkpoint(input));
                prep.finish(state, values(x, w))
            }
            OpsKind::UnTracked(prep) => prep.finish(values(x, w)),
        }
    }

    fn project_and_add(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        b: FloatTensor<Self>,
        from: Layout,
        to: Layout,
    ) -> FloatTensor<Self> {
        let values = |inputs: [FloatTensor<Self>; 3]| {
            let [x, w, b] = inputs.map(FloatTensor::<Self>::into_primitive);
            B::project_and_add(x, w, b, from, to)
        };
        let nodes = [x.node(), w.node(), b.node()];
        match Backward::<B, 3>::prepare::<C>(Project { from, to }, nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut prep) => {
                let state = [&x, &w].map(|input| prep.checkpoint(input));
                prep.finish(state, values([x, w, b]))
            }
            OpsKind::UnTracked(prep) => prep.finish(values([x, w, b])),
        }
    }
}
