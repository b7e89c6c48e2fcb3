//! Perceiver Resampler (Alayrac et al. 2022): a fixed number of learned latents attends to any number of media tokens.
//!
//! ```text
//! layer:  q = W_q LN(l),  [k | v] = [W_k | W_v] concat(LN(m), LN(l))
//!         l ← l + W_o softmax(q kᵀ/√d + hidden) v        per head
//!         l ← l + W₂ GELU(W₁ LN(l))                      width ×4
//! ```
//! Projections have no bias. A hidden media token has −10⁹ added to its scores, whose exponential is 0 in f32: it has no
//! influence at all, not a small one.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::softmax;
use tu_kernels::gelu;
use tu_model::initialiser::Initialiser;
use tu_model::layers::Linear;
use tu_model::layers::norm::LayerNorm;

use super::HeadConfig;

/// Multi-head attention from queries to media, with pre-normalisation and a residual.
#[derive(Module, Debug)]
pub struct CrossAttention {
    /// Over queries.
    pub norm_queries: LayerNorm,
    /// Over media.
    pub norm_media: LayerNorm,
    /// Width to heads × head width.
    pub to_queries: Linear,
    /// Width to heads × head width.
    pub to_keys: Linear,
    /// Width to heads × head width.
    pub to_values: Linear,
    /// Back to the width.
    pub to_out: Linear,
    /// Attention heads.
    #[module(skip)]
    pub heads: usize,
    /// Whether queries attend to themselves as well.
    #[module(skip)]
    pub with_queries: bool,
}

impl CrossAttention {
    /// Attention with random weights.
    pub fn new(config: &HeadConfig, with_queries: bool, init: &mut Initialiser) -> Self {
        let (width, inner) = (config.width, config.heads * config.head_width);
        Self {
            norm_queries: LayerNorm::new(width, init),
            norm_media: LayerNorm::new(width, init),
            to_queries: Linear::new(width, inner, init),
            to_keys: Linear::new(width, inner, init),
            to_values: Linear::new(width, inner, init),
            to_out: Linear::new(inner, width, init),
            heads: config.heads,
            with_queries,
        }
    }

    /// Queries `[B, Q, W]` and media `[B, L, W]` to `[B, Q, W]`; `hidden` is `[B, 1, 1, L]`, 0 for visible media and −10⁹ for
    /// hidden ones.
    pub fn forward(&self, queries: Tensor<3>, media: Tensor<3>, hidden: Option<Tensor<4>>) -> Tensor<3> {
        let [b, count, _] = queries.dims();
        let normed = self.norm_queries.forward(queries.clone());
        let media = self.norm_media.forward(media);
        let keys = if self.with_queries { Tensor::cat(vec![media, normed.clone()], 1) } else { media };
        let q = self.split(self.to_queries.forward(normed));
        let k = self.split(self.to_keys.forward(keys.clone()));
        let v = self.split(self.to_values.forward(keys));
        let [_, _, _, head_width] = q.dims();
        let mut scores = q.matmul(k.transpose()).div_scalar((head_width as f64).sqrt());
        if let Some(mut hidden) = hidden {
            if self.with_queries {
                let visible = Tensor::zeros([b, 1, 1, count], &hidden.device());
                hidden = Tensor::cat(vec![hidden, visible], 3);
            }
            scores = scores + hidden;
        }
        let mixed = softmax(scores, 3).matmul(v).swap_dims(1, 2);
        queries + self.to_out.forward(mixed.reshape([b, count, self.heads * head_width]))
    }

    /// `[B, L, H·d]` to `[B, H, L, d]`.
    fn split(&self, x: Tensor<3>) -> Tensor<4> {
        let [b, l, inner] = x.dims();
        x.reshape([b, l, self.heads, inner / self.heads]).swap_dims(1, 2)
    }
}

/// Two linear maps with a GELU in between, pre-normalisation and a residual.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// Over the input.
    pub norm: LayerNorm,
    /// W → 4W.
    pub expand: Linear,
    /// 4W → W.
    pub contract: Linear,
}

impl FeedForward {
    /// With random weights.
    pub fn new(width: usize, init: &mut Initialiser) -> Self {
        Self {
            norm: LayerNorm::new(width, init),
            expand: Linear::new(width, 4 * width, init),
            contract: Linear::new(4 * width, width, init),
        }
    }

    /// Keeps the shape `[B, L, W]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let y = self.contract.forward(gelu(self.expand.forward(self.norm.forward(x.clone()))));
        x + y
    }
}

/// Any number of media tokens in, a fixed number of latents out.
#[derive(Module, Debug)]
pub struct Resampler {
    /// `[M, W]`.
    pub latents: Param<Tensor<2>>,
    /// One per layer.
    pub attention: Vec<CrossAttention>,
    /// One per layer.
    pub feed_forward: Vec<FeedForward>,
    /// Over the result.
    pub norm: LayerNorm,
}

impl Resampler {
    /// With random weights.
    pub fn new(config: &HeadConfig, init: &mut Initialiser) -> Self {
        Self {
            latents: init.uniform([config.latents, config.width], 1.0),
            attention: (0..config.depth).map(|_| CrossAttention::new(config, true, init)).collect(),
            feed_forward: (0..config.depth).map(|_| FeedForward::new(config.width, init)).collect(),
            norm: LayerNorm::new(config.width, init),
        }
    }

    /// Media `[B, L, W]` to latents `[B, M, W]`; `hidden` as in [`CrossAttention::forward`].
    pub fn forward(&self, media: &Tensor<3>, hidden: &Tensor<4>) -> Tensor<3> {
        let [b, ..] = media.dims();
        let mut latents = self.latents.val().unsqueeze::<3>().repeat_dim(0, b);
        for (attention, feed_forward) in self.attention.iter().zip(&self.feed_forward) {
            latents = attention.forward(latents, media.clone(), Some(hidden.clone()));
            latents = feed_forward.forward(latents);
        }
        self.norm.forward(latents)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};

    const CONFIG: HeadConfig = HeadConfig { width: 6, latents: 3, depth: 2, heads: 2, head_width: 2 };

    fn values(tensor: Tensor<3>) -> Vec<f32> {
        tensor.into_data().try_into_vec::<f32>().unwrap()
    }

    fn ramp(shape: [usize; 3], factor: f32) -> Tensor<3> {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i as f32) * factor).sin()).collect();
        Tensor::from_data(TensorData::new(values, shape), &Device::flex())
    }

    fn weight(linear: &Linear) -> Vec<f32> {
        linear.weight.val().into_data().try_into_vec::<f32>().unwrap()
    }

    /// y = W x for one token.
    fn apply(weight: &[f32], x: &[f32]) -> Vec<f32> {
        weight.chunks_exact(x.len()).map(|row| row.iter().zip(x).map(|(a, b)| a * b).sum()).collect()
    }

    fn normalise(x: &[f32]) -> Vec<f32> {
        let n = x.len() as f32;
        let mean = x.iter().sum::<f32>() / n;
        let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / n;
        x.iter().map(|v| (v - mean) / (variance + 1e-5).sqrt()).collect()
    }

    #[test]
    fn attention_equals_the_formula_written_out_per_head_and_token() {
        let attention = CrossAttention::new(&CONFIG, true, &mut Initialiser::new(&Device::flex(), 1));
        let (queries, media) = (ramp([1, 3, 6], 0.7), ramp([1, 4, 6], 1.3));
        let hidden =
            Tensor::from_data(TensorData::new(vec![0.0f32, -1e9, 0.0, 0.0], [1, 1, 1, 4]), &Device::flex());
        let found = values(attention.forward(queries.clone(), media.clone(), Some(hidden)));
        let rows = |t: Tensor<3>| -> Vec<Vec<f32>> { values(t).chunks_exact(6).map(normalise).collect() };
        let (q, m) = (rows(queries.clone()), rows(media));
        let keys: Vec<&Vec<f32>> = [0usize, 2, 3].iter().map(|i| &m[*i]).chain(&q).collect();
        let [wq, wk, wv, wo] =
            [&attention.to_queries, &attention.to_keys, &attention.to_values, &attention.to_out].map(weight);
        for (i, (query, original)) in q.iter().zip(values(queries).chunks_exact(6)).enumerate() {
            let projected = apply(&wq, query);
            let mut mixed = vec![0.0; 4];
            for head in 0..2 {
                let part = head * 2..head * 2 + 2;
                let scores: Vec<f32> = keys
                    .iter()
                    .map(|key| {
                        let k = apply(&wk, key);
                        let dot: f32 = part.clone().map(|d| projected[d] * k[d]).sum();
                        (dot / 2f32.sqrt()).exp()
                    })
                    .collect();
                let total: f32 = scores.iter().sum();
                for (score, key) in scores.iter().zip(&keys) {
                    let v = apply(&wv, key);
                    part.clone().for_each(|d| mixed[d] += score / total * v[d]);
                }
            }
            for (d, change) in apply(&wo, &mixed).into_iter().enumerate() {
                let expected = original[d] + change;
                assert!((found[i * 6 + d] - expected).abs() < 1e-5, "{} for {expected}", found[i * 6 + d]);
            }
        }
    }

    #[test]
    fn hidden_media_have_no_influence_to_the_last_bit() {
        let resampler = Resampler::new(&CONFIG, &mut Initialiser::new(&Device::flex(), 2));
        let hidden =
            Tensor::from_data(TensorData::new(vec![0.0f32, 0.0, -1e9, -1e9], [1, 1, 1, 4]), &Device::flex());
        let media = values(ramp([1, 4, 6], 1.3));
        let mut changed = media.clone();
        changed[12..].iter_mut().for_each(|v| *v = 5.0 - 3.0 * *v);
        let run = |media: Vec<f32>| {
            let media = Tensor::from_data(TensorData::new(media, [1, 4, 6]), &Device::flex());
            values(resampler.forward(&media, &hidden))
        };
        assert_eq!(run(media.clone()), run(changed.clone()));
        changed[0] += 1.0;
        assert_ne!(run(media), run(changed));
    }
}
