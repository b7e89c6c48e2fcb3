//! Random token prediction: L = 1/|M| Σ_{i ∈ M} ‖x_i − x̂_i‖²/P, with x̂ the dense output of the decoder for a crop whose
//! tokens M are masked. Visible tokens do not count.

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use tu_model::EmMamba;

use super::{MaskedView, MicroBatch, ObjectiveContext, token_mse};

/// The dense output of the network as tokens `[B, K, P]` in (0, 1), for an input `[B, 1, D, H, W]`.
pub fn predict(context: &ObjectiveContext, network: &EmMamba, input: Tensor<5>) -> Tensor<3> {
    let [b, ..] = input.dims();
    let tokens = context.grid.gather_tensor(network.forward_logits(input));
    sigmoid(tokens.reshape([b, context.grid.tokens(), context.grid.patch_voxels()]))
}

/// The loss of a masked view.
pub fn loss(
    context: &ObjectiveContext,
    network: &EmMamba,
    batch: &MicroBatch,
    view: &MaskedView,
) -> Tensor<1> {
    let predicted = predict(context, network, context.input(&view.input, batch.size));
    token_mse(predicted, context.targets(batch), context.weights(&view.weights, batch.size))
}
