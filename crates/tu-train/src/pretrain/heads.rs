//! From the features of visible tokens to tokens behind the cut.
//!
//! ```text
//! media   = W_c f_t + code(t)                  f_t: decoder features, mean over the token; visible t only
//! latents = Resampler(media)
//! x̂_j     = σ(W LN(block(code(j) + q, latents)))
//! ```
//! The block (cross-attention and feed-forward) and the query vector q are shared; next and next-all prediction have an
//! output map W each.

use burn::module::{Module, Param};
use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};
use tu_model::initialiser::Initialiser;
use tu_model::layers::Linear;
use tu_model::layers::norm::LayerNorm;

use super::{CrossAttention, FeedForward, HeadConfig, Resampler};

/// Added to the scores of hidden tokens.
const HIDDEN: f32 = -1e9;

/// The part of a pretrained network that is left behind when it is fine-tuned.
#[derive(Module, Debug)]
pub struct TokenHeads {
    /// Features to the width of the heads.
    pub context: Linear,
    /// Visible tokens to latents.
    pub resampler: Resampler,
    /// `[W]`, added to the code of the token that is asked for.
    pub query: Param<Tensor<1>>,
    /// Queries to latents.
    pub attention: CrossAttention,
    /// Behind it.
    pub feed_forward: FeedForward,
    /// Before the output maps.
    pub norm: LayerNorm,
    /// To the voxels of the next token, where that is an objective.
    pub next: Option<Linear>,
    /// To the voxels of any later token, where that is an objective.
    pub next_all: Option<Linear>,
}

impl TokenHeads {
    /// Heads on `features` channels for patches of `patch_voxels`, for next and next-all prediction as `predicts` says.
    pub fn new(
        config: &HeadConfig,
        features: usize,
        patch_voxels: usize,
        predicts: (bool, bool),
        init: &mut Initialiser,
    ) -> Self {
        let map = |input: usize, output: usize, init: &mut Initialiser| Linear {
            weight: init.kaiming([output, input], input),
            bias: Some(init.kaiming([output], input)),
        };
        Self {
            context: map(features, config.width, init),
            resampler: Resampler::new(config, init),
            query: init.uniform([config.width], 0.02),
            attention: CrossAttention::new(config, false, init),
            feed_forward: FeedForward::new(config.width, init),
            norm: LayerNorm::new(config.width, init),
            next: predicts.0.then(|| map(config.width, patch_voxels, init)),
            next_all: predicts.1.then(|| map(config.width, patch_voxels, init)),
        }
    }

    /// Latents `[B, M, W]` of the visible tokens: features `[B, K, F]`, codes `[1, K, W]`, hidden `[B, 1, 1, K]` as in
    /// [`Resampler::forward`].
    pub fn summarise(&self, features: Tensor<3>, codes: Tensor<3>, hidden: &Tensor<4>) -> Tensor<3> {
        self.resampler.forward(&(self.context.forward(features) + codes), hidden)
    }

    /// What the latents `[B, M, W]` tell of tokens with the codes `[B or 1, Q, W]`: `[B, Q, W]`.
    pub fn ask(&self, latents: Tensor<3>, codes: Tensor<3>) -> Tensor<3> {
        let ([b, ..], [asked, _, width]) = (latents.dims(), codes.dims());
        let queries = codes + self.query.val().reshape([1, 1, width]);
        let queries = if asked == b { queries } else { queries.repeat_dim(0, b) };
        self.norm.forward(self.feed_forward.forward(self.attention.forward(queries, latents, None)))
    }
}

/// Tokens `[B, Q, P]` in (0, 1) of what was learned about them.
pub(super) fn tokens_of(answers: Tensor<3>, output: &Linear) -> Tensor<3> {
    sigmoid(output.forward(answers))
}

/// What is added to attention scores, `[B, 1, 1, K]`.
#[must_use]
pub(super) fn hidden_scores(hidden: &[bool], samples: usize, device: &Device) -> Tensor<4> {
    let scores: Vec<f32> = hidden.iter().map(|hidden| if *hidden { HIDDEN } else { 0.0 }).collect();
    let tokens = scores.len() / samples.max(1);
    Tensor::from_data(TensorData::new(scores, [samples, 1, 1, tokens]), device)
}
