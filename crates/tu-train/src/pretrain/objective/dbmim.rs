//! Random token prediction on masks that a policy chose, and the loss that the policy learns from ([`super::super::decision`]).

use burn::tensor::Tensor;
use burn::tensor::activation::sigmoid;
use tu_model::EmMamba;

use super::{MaskedView, MicroBatch, ObjectiveContext, random, token_errors};
use crate::pretrain::PretrainConfig;
use crate::pretrain::decision::{MaskPolicy, Opinion, Undecided, policy_loss, rewards};
use crate::training::TrainError;

/// Losses of one forward pass; nothing of the second reaches the network, nothing of the first the policy.
pub struct Losses {
    /// Of the reconstruction.
    pub reconstruction: Tensor<1>,
    /// Of the policy, without its weight.
    pub policy: Tensor<1>,
    /// Share of tokens that was masked.
    pub masked_share: f64,
}

/// Asks the policy about the tokens of a batch and masks them.
///
/// # Errors
/// The device fails.
pub fn decide(
    context: &ObjectiveContext,
    policy: &MaskPolicy,
    tokens: Tensor<3>,
    undecided: &Undecided,
    config: &PretrainConfig,
) -> Result<(Opinion, MaskedView), TrainError> {
    let opinion = policy.forward(tokens);
    let probabilities = host(sigmoid(opinion.logits.clone()))?;
    Ok((opinion, undecided.decide(&probabilities, &context.grid, config)))
}

/// The losses of a batch.
///
/// # Errors
/// The device fails.
pub fn losses(
    context: &ObjectiveContext,
    network: &EmMamba,
    policy: &MaskPolicy,
    batch: &MicroBatch,
    undecided: &Undecided,
    config: &PretrainConfig,
) -> Result<Losses, TrainError> {
    let targets = context.targets(batch);
    let (opinion, view) = decide(context, policy, targets.clone(), undecided, config)?;
    let predicted = random::predict(context, network, context.input(&view.input, batch.size));
    let errors = token_errors(predicted, targets);
    let rewards = rewards(&host(errors.clone())?, &view.weights, context.grid.tokens());
    let actions: Vec<f32> = view.weights.iter().map(|w| f32::from(u8::from(*w > 0.0))).collect();
    let masked_share = f64::from(actions.iter().sum::<f32>()) / actions.len().max(1) as f64;
    Ok(Losses {
        reconstruction: (errors * context.weights(&view.weights, batch.size)).sum(),
        policy: policy_loss(opinion, actions, rewards, config.mask_ratio(), &config.decision_config()),
        masked_share,
    })
}

fn host(tensor: Tensor<2>) -> Result<Vec<f32>, TrainError> {
    let data = tensor
        .try_into_data()
        .map_err(|e| TrainError::Device(format!("reading what the mask policy needs ({e:?})")))?;
    Ok(data.iter::<f32>().collect())
}
