//! Decision-based masking (dbMIM; Chen et al., IJCAI 2023, arXiv:2310.04148): which tokens are masked is learned, by one
//! agent per token with a policy that all share.
//!
//! ```text
//! h_t = GELU(LN(W x_t)),  s_t = GELU(h_t + W_c mean_u h_u)           an agent sees its token and the mean of all
//! p_t = σ(w·s_t + b),  v_t = u·s_t                                   actor and critic
//! a_t = 1 (masked) with probability p_t, between the least and the largest share
//! r_t = a_t (e_t − ē)/σ_e                                            e_t: squared error of a masked token's reconstruction
//! L   = L_mask + λ [−mean log π(a_t)(r_t − v_t) + c_v mean (v_t − r_t)² − c_H mean H(p_t) + c_ρ (mean p_t − ρ)²]
//! ```
//! A token that is harder to reconstruct than the others is rewarded for having been masked, so masks move from empty
//! cytoplasm to membranes and texture; L_mask is the loss of random token prediction on the mask that was chosen. The
//! paper reconstructs histograms of gradients too and finds its share by an advantage actor-critic with asynchronous
//! workers; here one synchronous update per step serves, and voxels alone are reconstructed.

use burn::module::{Module, ParamId};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Tensor, TensorData};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use tu_kernels::gelu;
use tu_model::initialiser::Initialiser;
use tu_model::layers::Linear;
use tu_model::layers::norm::LayerNorm;

use super::batch::finish;
use super::{MaskedView, PretrainConfig, TokenGrid, hide};
use crate::training::{NamedModule, TrainError, module_paths};

/// The policy's size, bounds and coefficients.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecisionConfig {
    /// Least share of tokens that is masked. Default: 0.35.
    pub least: f64,
    /// Largest share. Default: 0.9.
    pub largest: f64,
    /// Width of the policy. Default: 128.
    pub hidden: usize,
    /// λ, weight of the policy's loss. Default: 0.05.
    pub weight: f64,
    /// c_v, of the critic. Default: 0.5.
    pub value: f64,
    /// c_H, of the entropy. Default: 0.01.
    pub entropy: f64,
    /// c_ρ, that keeps the mean probability near `mask.ratio`. Default: 1.
    pub share: f64,
}

impl Default for DecisionConfig {
    fn default() -> Self {
        Self { least: 0.35, largest: 0.9, hidden: 128, weight: 0.05, value: 0.5, entropy: 0.01, share: 1.0 }
    }
}

impl DecisionConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        let coefficients = [self.weight, self.value, self.entropy, self.share];
        if 0.0 <= self.least
            && self.least <= self.largest
            && self.largest <= 1.0
            && (1..=8192).contains(&self.hidden)
            && coefficients.iter().all(|c| c.is_finite() && *c >= 0.0)
        {
            return Ok(());
        }
        Err(TrainError::Config(
            "decision: 0 <= least <= largest <= 1, hidden in 1..8192, and no coefficient below 0".into(),
        ))
    }
}

/// The policy that all agents share.
#[derive(Module, Debug)]
pub struct MaskPolicy {
    /// W.
    pub embed: Linear,
    /// LN.
    pub norm: LayerNorm,
    /// W_c.
    pub context: Linear,
    /// w and b.
    pub actor: Linear,
    /// u.
    pub critic: Linear,
}

impl NamedModule for MaskPolicy {
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        module_paths(self, "policy")
    }
}

/// What the policy says about tokens, `[B, K]` each.
pub struct Opinion {
    /// Logits of p.
    pub logits: Tensor<2>,
    /// v.
    pub values: Tensor<2>,
}

impl MaskPolicy {
    /// A policy on tokens of `patch_voxels` that masks about `ratio` of them.
    pub fn new(config: &DecisionConfig, patch_voxels: usize, ratio: f64, init: &mut Initialiser) -> Self {
        let hidden = config.hidden;
        let logit = (ratio / (1.0 - ratio)).clamp(1e-3, 1e3).ln() as f32;
        Self {
            embed: Linear::new(patch_voxels, hidden, init),
            norm: LayerNorm::new(hidden, init),
            context: Linear::new(hidden, hidden, init),
            actor: Linear { bias: Some(init.constant([1], logit)), ..Linear::new(hidden, 1, init) },
            critic: Linear::new(hidden, 1, init),
        }
    }

    /// For tokens `[B, K, P]` in [0, 1].
    pub fn forward(&self, tokens: Tensor<3>) -> Opinion {
        let [b, k, _] = tokens.dims();
        let own = gelu(self.norm.forward(self.embed.forward(tokens.sub_scalar(0.5))));
        let all = self.context.forward(own.clone().mean_dim(1));
        let state = gelu(own + all);
        Opinion {
            logits: self.actor.forward(state.clone()).reshape([b, k]),
            values: self.critic.forward(state).reshape([b, k]),
        }
    }
}

/// What deciding needs of the crops of a forward pass: the dice, cast before the policy is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Undecided {
    /// Crops, `[B, z, y, x]`.
    pub crops: Vec<f32>,
    /// Uniform draws, `[B, K]`.
    pub uniform: Vec<f32>,
    /// For what replaces masked tokens, one per sample.
    pub generators: Vec<ChaCha8Rng>,
}

impl Undecided {
    /// Casts the dice for crops, each with its own generator.
    pub fn draw<'c>(
        crops: impl Iterator<Item = (&'c [f32], ChaCha8Rng)>,
        grid: &TokenGrid,
        stream: u64,
    ) -> Self {
        let mut undecided = Self { crops: Vec::new(), uniform: Vec::new(), generators: Vec::new() };
        for (crop, mut rng) in crops {
            rng.set_stream(stream);
            undecided.crops.extend_from_slice(crop);
            undecided.uniform.extend((0..grid.tokens()).map(|_| rng.random::<f32>()));
            undecided.generators.push(rng);
        }
        undecided
    }

    /// Masks tokens as probabilities `[B, K]` and dice say.
    #[must_use]
    pub fn decide(&self, probabilities: &[f32], grid: &TokenGrid, config: &PretrainConfig) -> MaskedView {
        let decision = config.decision_config();
        let (tokens, voxels) = (grid.tokens(), grid.crop_zyx().iter().product::<usize>());
        let samples = self.generators.len();
        let mut view = MaskedView::default();
        for (sample, rng) in self.generators.iter().enumerate() {
            let part = sample * tokens..(sample + 1) * tokens;
            let masked = choose(&probabilities[part.clone()], &self.uniform[part], &decision);
            let count = masked.iter().filter(|masked| **masked).count();
            let mut input = self.crops[sample * voxels..(sample + 1) * voxels].to_vec();
            let mut rng = rng.clone();
            hide(&mut input, grid, &masked, config.mask_fill(), &mut rng);
            finish(&mut input, grid, config, &mut rng);
            view.input.extend(input);
            let weight = 1.0 / (samples * count) as f32;
            view.weights.extend(masked.into_iter().map(|masked| if masked { weight } else { 0.0 }));
        }
        view
    }
}

/// Masks token t where its draw lies below its probability; where that gives fewer or more tokens than are allowed, those
/// nearest to the other choice change sides. At least one is masked and one visible.
fn choose(probabilities: &[f32], uniform: &[f32], config: &DecisionConfig) -> Vec<bool> {
    let tokens = probabilities.len();
    let mut order: Vec<usize> = (0..tokens).collect();
    let margin = |t: usize| probabilities[t] - uniform[t];
    order.sort_by(|a, b| margin(*b).total_cmp(&margin(*a)).then(a.cmp(b)));
    let wanted = (0..tokens).filter(|t| margin(*t) > 0.0).count();
    let least = ((config.least * tokens as f64).ceil() as usize).clamp(1, tokens.saturating_sub(1).max(1));
    let largest =
        ((config.largest * tokens as f64).floor() as usize).clamp(least, tokens.saturating_sub(1).max(1));
    let mut masked = vec![false; tokens];
    order[..wanted.clamp(least, largest)].iter().for_each(|t| masked[*t] = true);
    masked
}

/// r: how much harder than the mean each masked token was, in standard deviations of its sample; 0 for visible tokens.
/// Errors and weights are `[B, K]`; a weight above 0 marks a masked token.
#[must_use]
pub fn rewards(errors: &[f32], weights: &[f32], tokens: usize) -> Vec<f32> {
    let mut rewards = Vec::with_capacity(errors.len());
    for (errors, weights) in errors.chunks(tokens.max(1)).zip(weights.chunks(tokens.max(1))) {
        let masked = || errors.iter().zip(weights).filter(|(_, w)| **w > 0.0).map(|(e, _)| f64::from(*e));
        let count = masked().count().max(1) as f64;
        let mean = masked().sum::<f64>() / count;
        let deviation = (masked().map(|e| (e - mean).powi(2)).sum::<f64>() / count).sqrt().max(1e-8);
        let reward = |e: f32| ((f64::from(e) - mean) / deviation).clamp(-5.0, 5.0) as f32;
        rewards.extend(errors.iter().zip(weights).map(|(e, w)| if *w > 0.0 { reward(*e) } else { 0.0 }));
    }
    rewards
}

/// The policy's loss without λ, for actions and rewards `[B, K]`.
pub fn policy_loss(
    opinion: Opinion,
    actions: Vec<f32>,
    rewards: Vec<f32>,
    ratio: f64,
    config: &DecisionConfig,
) -> Tensor<1> {
    let (shape, device) = (opinion.logits.dims(), opinion.logits.device());
    let constant = |values: Vec<f32>| Tensor::<2>::from_data(TensorData::new(values, shape), &device);
    let (actions, rewards) = (constant(actions), constant(rewards));
    let x = opinion.logits;
    // −log π(a) = softplus(x) − a x, in the form that does not overflow.
    let softplus = x.clone().clamp_min(0.0) + x.clone().abs().neg().exp().add_scalar(1.0).log();
    let surprise = softplus.clone() - actions * x.clone();
    let advantage = rewards.clone() - opinion.values.clone().detach();
    let p = sigmoid(x.clone());
    let entropy = softplus - p.clone() * x;
    let share = p.mean().sub_scalar(ratio).square();
    (surprise * advantage).mean() + (opinion.values - rewards).square().mean().mul_scalar(config.value)
        - entropy.mean().mul_scalar(config.entropy)
        + share.mul_scalar(config.share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn config() -> DecisionConfig {
        DecisionConfig::default()
    }

    #[test]
    fn the_share_of_masked_tokens_stays_between_its_bounds() {
        let uniform: Vec<f32> = (0..20).map(|i| (i as f32 + 0.5) / 20.0).collect();
        for (probability, expected) in [(0.0, 7), (0.5, 10), (0.75, 15), (1.0, 18)] {
            let masked = choose(&[probability; 20], &uniform, &config());
            assert_eq!(masked.iter().filter(|m| **m).count(), expected, "p = {probability}");
        }
        let bold = DecisionConfig { least: 0.0, largest: 1.0, ..config() };
        assert_eq!(choose(&[0.0; 4], &[0.5; 4], &bold).iter().filter(|m| **m).count(), 1);
        assert_eq!(choose(&[1.0; 4], &[0.5; 4], &bold).iter().filter(|m| !**m).count(), 1);
    }

    #[test]
    fn harder_masked_tokens_are_rewarded_and_visible_ones_are_not() {
        let found = rewards(&[1.0, 3.0, 100.0, 2.0], &[0.5, 0.5, 0.0, 0.5], 4);
        let step = 1.5f32.sqrt();
        for (found, expected) in found.iter().zip([-step, step, 0.0, 0.0]) {
            assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
        }
    }

    #[test]
    fn the_policys_loss_is_the_formula() {
        let device = Device::flex();
        let tensor = |v: &[f32]| Tensor::<2>::from_data(TensorData::new(v.to_vec(), [1, 2]), &device);
        let (x, v, a, r) = ([0.4f32, -1.2], [0.3f32, 0.1], [1.0f32, 0.0], [0.8f32, 0.0]);
        let opinion = Opinion { logits: tensor(&x), values: tensor(&v) };
        let found = policy_loss(opinion, a.to_vec(), r.to_vec(), 0.7, &config()).into_scalar::<f32>();
        let p = x.map(|x| 1.0 / (1.0 + (-x).exp()));
        let each = |f: &dyn Fn(usize) -> f32| (f(0) + f(1)) / 2.0;
        let policy = each(&|i| {
            let chance = if a[i] > 0.5 { p[i] } else { 1.0 - p[i] };
            -chance.ln() * (r[i] - v[i])
        });
        let critic = each(&|i| (v[i] - r[i]).powi(2));
        let entropy = each(&|i| -p[i] * p[i].ln() - (1.0 - p[i]) * (1.0 - p[i]).ln());
        let share = ((p[0] + p[1]) / 2.0 - 0.7).powi(2);
        let expected = policy + 0.5 * critic - 0.01 * entropy + share;
        assert!((found - expected).abs() < 1e-5, "{found} for {expected}");
    }

    #[test]
    fn a_fresh_policy_masks_about_the_share_that_is_wanted() {
        let device = Device::flex();
        let policy = MaskPolicy::new(&config(), 8, 0.75, &mut Initialiser::new(&device, 1));
        let tokens: Vec<f32> = (0..320).map(|i| (i as f32 * 0.7).sin().abs()).collect();
        let opinion = policy.forward(Tensor::from_data(TensorData::new(tokens, [1, 40, 8]), &device));
        let mean = sigmoid(opinion.logits).mean().into_scalar::<f32>();
        assert!((mean - 0.75).abs() < 0.12, "{mean}");
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        let bad = DecisionConfig { least: 0.95, ..config() };
        assert!(bad.check().unwrap_err().to_string().contains("least <= largest"));
        assert!(config().check().is_ok());
    }
}
