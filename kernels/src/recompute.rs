//! Values of an operation computed again in the backward pass, for burn's gradient checkpointing.
//!
//! Where a device asks for it, the result of an operation that moves more bytes than it computes is let go after
//! the forward pass and made again from the results before it, down to those of a convolution, product or scan,
//! which are kept.

use std::any::TypeId;
use std::fmt;
use std::marker::PhantomData;

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{CheckpointStrategy, NoCheckpointing};

/// Whether results of a strategy's operations are let go.
pub(crate) fn recomputes<C: CheckpointStrategy>() -> bool {
    TypeId::of::<C>() != TypeId::of::<NoCheckpointing>()
}

/// How a node's value follows from those of its parents.
pub(crate) struct Recompute<T, F, const N: usize> {
    parents: [NodeId; N],
    values: F,
    tensor: PhantomData<fn() -> T>,
}

impl<T, F: Fn([T; N]) -> T, const N: usize> Recompute<T, F, N> {
    pub(crate) fn new(parents: [NodeId; N], values: F) -> Self {
        Self { parents, values, tensor: PhantomData }
    }
}

impl<T, F, const N: usize> fmt::Debug for Recompute<T, F, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recompute").field("parents", &self.parents).finish_non_exhaustive()
    }
}

impl<T, F, const N: usize> RetroForward for Recompute<T, F, N>
where
    T: Clone + Send + 'static,
    F: Fn([T; N]) -> T + Send + 'static,
{
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let inputs = self.parents.map(|id| states.get_state::<T>(&id));
        states.save(out_node, (self.values)(inputs));
    }
}
