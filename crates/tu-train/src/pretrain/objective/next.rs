//! Next-token prediction: L = ‖x_π(n) − x̂‖²/P, with x̂ predicted from the visible prefix π(0..n) alone.

use burn::tensor::Tensor;

use super::{CutView, MicroBatch, ObjectiveContext, token_mse};
use crate::pretrain::heads::{TokenHeads, hidden_scores, tokens_of};
use crate::pretrain::network::PretrainingNetwork;

/// Latents `[B, M, W]` of the visible tokens of a cut view.
pub fn latents(
    context: &ObjectiveContext,
    model: &PretrainingNetwork,
    heads: &TokenHeads,
    view: &CutView,
) -> Tensor<3> {
    let samples = view.next.len();
    let features = model.network.forward_features(context.input(&view.input, samples));
    let hidden = hidden_scores(&view.hidden, samples, &context.device);
    heads.summarise(context.grid.pool_tensor(features), context.codes.all(&context.device), &hidden)
}

/// The token right behind the cut of each sample, `[B, 1, P]`; none if the heads do not predict it.
pub fn predict(
    context: &ObjectiveContext,
    heads: &TokenHeads,
    latents: Tensor<3>,
    view: &CutView,
) -> Option<Tensor<3>> {
    let output = heads.next.as_ref()?;
    Some(tokens_of(heads.ask(latents, context.codes.one_each(&view.next, &context.device)), output))
}

/// The loss of a cut view; none if the heads do not predict the next token.
pub fn loss(
    context: &ObjectiveContext,
    heads: &TokenHeads,
    latents: Tensor<3>,
    batch: &MicroBatch,
    view: &CutView,
) -> Option<Tensor<1>> {
    let predicted = predict(context, heads, latents, view)?;
    let weights = Tensor::full([batch.size, 1], 1.0 / batch.size as f64, &context.device);
    Some(token_mse(predicted, context.target_of(batch, &view.next), weights))
}
