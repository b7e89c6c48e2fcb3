//! Next-all-token prediction: L = 1/(K−n) Σ_{j ≥ n} ‖x_π(j) − x̂_j‖²/P, every later token predicted at once from the visible
//! prefix. The cost is that of K queries on M latents; no causal mask is needed, since the suffix is not in the input.

use burn::tensor::Tensor;

use super::{CutView, MicroBatch, ObjectiveContext, token_mse};
use crate::pretrain::heads::{TokenHeads, tokens_of};

/// Every token as the latents `[B, M, W]` tell it, `[B, K, P]`; none if the heads do not predict them.
pub fn predict(context: &ObjectiveContext, heads: &TokenHeads, latents: Tensor<3>) -> Option<Tensor<3>> {
    let output = heads.next_all.as_ref()?;
    Some(tokens_of(heads.ask(latents, context.codes.all(&context.device)), output))
}

/// The loss of a cut view; none if the heads do not predict later tokens.
pub fn loss(
    context: &ObjectiveContext,
    heads: &TokenHeads,
    latents: Tensor<3>,
    batch: &MicroBatch,
    view: &CutView,
) -> Option<Tensor<1>> {
    let predicted = predict(context, heads, latents)?;
    let weights = context.weights(&view.suffix_weights, batch.size);
    Some(token_mse(predicted, context.targets(batch), weights))
}
