//! Crops stacked into what one forward pass of a step consumes: input, affinity targets and per-element weights.
//!
//! Weighting (per sample, over all channels): q = clip(share of positive targets, 0.05, 0.99); if q > ½ positives weigh
//! 1 and negatives q/(1−q), else positives (1−q)/q and negatives 1; a target of one class weighs 1. Ignored elements
//! weigh 0. The loss is Σ w·ℓ divided by `normaliser`.

use tu_segment::{affinities_of_labels, widen_borders};

use super::DataError;
use super::sampler::{Crop, Sampler};
use crate::finetune::LossKind;

/// How labels become targets and weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetConfig {
    /// Decides the weights and the normaliser.
    pub loss: LossKind,
    /// Leaves elements that touch label 0 out.
    pub ignore_unlabelled: bool,
    /// Widens borders in plane first.
    pub widen_borders: bool,
}

/// Targets of one crop, `[3, z, y, x]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// 1 where a voxel and its lower neighbour share a label.
    pub affinities: Vec<f32>,
    /// Weight of each element in the loss.
    pub weights: Vec<f32>,
}

/// Where a sample of a batch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SampleOrigin {
    /// URL of the volume.
    pub volume: String,
    /// First voxel of the source block, zyx.
    pub origin_zyx: [i64; 3],
}

impl std::fmt::Display for SampleOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [z, y, x] = self.origin_zyx;
        write!(f, "{} at z,y,x = {z},{y},{x}", self.volume)
    }
}

/// The samples of one forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// Step it was drawn for.
    pub step: u64,
    /// Number of samples.
    pub size: usize,
    /// Crop shape, zyx.
    pub shape_zyx: [usize; 3],
    /// Values in `[0, 1]`, `[B, 1, z, y, x]`.
    pub input: Vec<f32>,
    /// Targets, `[B, 3, z, y, x]`.
    pub affinities: Vec<f32>,
    /// Weights, `[B, 3, z, y, x]`.
    pub weights: Vec<f32>,
    /// Divisor of the weighted sum.
    pub normaliser: f32,
    /// Origin of each sample.
    pub origins: Vec<SampleOrigin>,
}

impl Target {
    /// Targets and weights of labels `[z, y, x]`.
    #[must_use]
    pub fn of_labels(mut labels: Vec<u64>, shape_zyx: [usize; 3], config: TargetConfig) -> Self {
        // What was unlabelled before widening is ignored; widened borders are background, which is a target of 0.
        let unlabelled: Option<Vec<bool>> =
            config.ignore_unlabelled.then(|| labels.iter().map(|&label| label == 0).collect());
        if config.widen_borders {
            widen_borders(&mut labels, shape_zyx);
        }
        let affinities: Vec<f32> =
            affinities_of_labels(&labels, shape_zyx).into_iter().map(f32::from).collect();
        let mut weights = vec![1.0; affinities.len()];
        if let Some(unlabelled) = unlabelled {
            let strides = [shape_zyx[1] * shape_zyx[2], shape_zyx[2], 1];
            let voxels = labels.len();
            for (channel, &stride) in strides.iter().enumerate() {
                for voxel in 0..voxels {
                    let first = (voxel / stride) % shape_zyx[channel] == 0;
                    if unlabelled[voxel] || (!first && unlabelled[voxel - stride]) {
                        weights[channel * voxels + voxel] = 0.0;
                    }
                }
            }
        }
        if config.loss != LossKind::Mse {
            balance(&affinities, &mut weights);
        }
        Self { affinities, weights }
    }
}

/// Multiplies in the class weights; elements that are ignored do not count for the share of positives.
fn balance(affinities: &[f32], weights: &mut [f32]) {
    let counted = weights.iter().filter(|w| **w > 0.0).count();
    let positive = affinities.iter().zip(weights.iter()).filter(|(a, w)| **a > 0.0 && **w > 0.0).count();
    if positive == 0 || positive == counted {
        return;
    }
    let q = (positive as f64 / counted as f64).clamp(0.05, 0.99);
    let (on_positive, on_negative) = if q > 0.5 { (1.0, q / (1.0 - q)) } else { ((1.0 - q) / q, 1.0) };
    for (a, w) in affinities.iter().zip(weights.iter_mut()) {
        *w *= if *a > 0.0 { on_positive } else { on_negative } as f32;
    }
}

impl Batch {
    /// Draws the batch of `step`.
    ///
    /// # Errors
    /// Storage fails.
    pub fn draw(sampler: &Sampler, step: u64, size: usize, config: TargetConfig) -> Result<Self, DataError> {
        Self::of_samples(sampler, step, 0..size as u64, config)
    }

    /// Draws the batches of the forward passes of `step`, `size` samples each.
    ///
    /// # Errors
    /// Storage fails.
    pub fn draw_passes(
        sampler: &Sampler,
        step: u64,
        size: usize,
        passes: usize,
        config: TargetConfig,
    ) -> Result<Vec<Self>, DataError> {
        let size = size as u64;
        let samples = (0..passes as u64).map(|pass| pass * size..(pass + 1) * size);
        samples.map(|samples| Self::of_samples(sampler, step, samples, config)).collect()
    }

    fn of_samples(
        sampler: &Sampler,
        step: u64,
        samples: std::ops::Range<u64>,
        config: TargetConfig,
    ) -> Result<Self, DataError> {
        let crops = samples.map(|sample| sampler.crop(step, sample)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self::of_crops(crops, step, sampler.shape_zyx(), config))
    }

    /// Stacks crops.
    #[must_use]
    pub fn of_crops(crops: Vec<Crop>, step: u64, shape_zyx: [usize; 3], config: TargetConfig) -> Self {
        let voxels: usize = shape_zyx.iter().product();
        let size = crops.len();
        let mut batch = Self {
            step,
            size,
            shape_zyx,
            input: Vec::with_capacity(size * voxels),
            affinities: Vec::with_capacity(size * 3 * voxels),
            weights: Vec::with_capacity(size * 3 * voxels),
            normaliser: 1.0,
            origins: Vec::with_capacity(size),
        };
        for crop in crops {
            batch.input.extend_from_slice(&crop.raw);
            let target = Target::of_labels(crop.labels, shape_zyx, config);
            batch.affinities.extend_from_slice(&target.affinities);
            batch.weights.extend_from_slice(&target.weights);
            batch.origins.push(SampleOrigin { volume: crop.volume, origin_zyx: crop.origin_zyx });
        }
        let counted = batch.weights.iter().filter(|w| **w > 0.0).count().max(1) as f32;
        batch.normaliser = match config.loss {
            // The method divides by voxels, not by channels: three times a mean.
            LossKind::WeightedMse => counted / 3.0,
            LossKind::Mse | LossKind::Bce => counted,
        };
        batch
    }

    /// The origins as one line, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let lines: Vec<String> = self.origins.iter().map(ToString::to_string).collect();
        lines.join("; ")
    }
}
