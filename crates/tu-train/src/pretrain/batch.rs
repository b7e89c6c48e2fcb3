//! What one optimiser step consumes: crops as tokens (the targets), masked and cut versions of them (the inputs), and the
//! weight of each token in each loss. Everything depends on (seed, step, sample) alone: crops, masks and cuts have a
//! stream each of the sample's generator.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::decision::Undecided;
use super::{Cut, Objective, PretrainConfig, TokenGrid, ViewPair, draw_mask, hide, mask_count, perturb};
use crate::data::{Crop, DataError, SampleOrigin, Sampler, sample_rng};
use crate::training::TrainError;

/// Stream of the masks; crops use stream 0, the i-th cut the stream behind it plus i.
const MASK_STREAM: u64 = 1;

/// A step's worth of samples.
#[derive(Clone, Debug, PartialEq)]
pub struct PretrainBatch {
    /// Step it was drawn for.
    pub step: u64,
    /// One per forward pass.
    pub micro_batches: Vec<MicroBatch>,
    /// Origin of each sample.
    pub origins: Vec<SampleOrigin>,
}

/// The samples of one forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct MicroBatch {
    /// B, the number of samples.
    pub size: usize,
    /// Tokens of the crops, the targets of every objective: `[B, K, P]`.
    pub tokens: Vec<f32>,
    /// For random token prediction, where it has a weight.
    pub masked: Option<MaskedView>,
    /// For next and next-all prediction, where they have a weight.
    pub cuts: Vec<CutView>,
    /// For a policy that chooses the masks, where that is the objective.
    pub undecided: Option<Undecided>,
    /// For two views described alike, where that is the objective.
    pub views: Option<ViewPair>,
}

/// Crops with masked tokens.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskedView {
    /// Network input, `[B, 1, z, y, x]`.
    pub input: Vec<f32>,
    /// Weight of each token in the loss, `[B, K]`: 1/(B·masked) on masked tokens, else 0.
    pub weights: Vec<f32>,
}

/// Crops whose tokens behind the cut are hidden.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CutView {
    /// Network input, `[B, 1, z, y, x]`.
    pub input: Vec<f32>,
    /// Whether each token is hidden, `[B, K]`.
    pub hidden: Vec<bool>,
    /// The token right behind the cut, one per sample.
    pub next: Vec<usize>,
    /// Weight of each token in the next-all loss, `[B, K]`: 1/(B·suffix) on the suffix, else 0.
    pub suffix_weights: Vec<f32>,
}

impl MaskedView {
    /// Masks crops, each with its own generator.
    ///
    /// # Errors
    /// Crop and patch do not go together.
    pub fn draw<'c>(
        crops: impl ExactSizeIterator<Item = (&'c [f32], ChaCha8Rng)>,
        config: &PretrainConfig,
    ) -> Result<Self, TrainError> {
        let grid = config.grid()?;
        let count = mask_count(config.mask_ratio(), grid.tokens());
        let weight = 1.0 / (crops.len() * count) as f32;
        let mut view = Self::default();
        for (crop, mut rng) in crops {
            rng.set_stream(MASK_STREAM);
            let mut input = crop.to_vec();
            let masked = draw_mask(&mut rng, grid.tokens(), count);
            hide(&mut input, &grid, &masked, config.mask_fill(), &mut rng);
            finish(&mut input, &grid, config, &mut rng);
            view.input.extend(input);
            view.weights.extend(masked.into_iter().map(|masked| if masked { weight } else { 0.0 }));
        }
        Ok(view)
    }
}

impl CutView {
    /// Cuts crops for the `index`-th time, each with its own generator.
    ///
    /// # Errors
    /// Crop and patch do not go together.
    pub fn draw<'c>(
        crops: impl ExactSizeIterator<Item = (&'c [f32], ChaCha8Rng)>,
        config: &PretrainConfig,
        index: usize,
    ) -> Result<Self, TrainError> {
        let grid = config.grid()?;
        let mut view = Self::default();
        let samples = crops.len();
        for (crop, mut rng) in crops {
            rng.set_stream(MASK_STREAM + 1 + index as u64);
            let cut = Cut::draw(&mut rng, &grid, config.path);
            view.push(crop, &cut, samples, &grid, config, &mut rng);
        }
        Ok(view)
    }

    /// Adds a crop with a given cut; `samples` is how many there will be.
    pub(super) fn push(
        &mut self,
        crop: &[f32],
        cut: &Cut,
        samples: usize,
        grid: &TokenGrid,
        config: &PretrainConfig,
        rng: &mut ChaCha8Rng,
    ) {
        let mut input = crop.to_vec();
        let hidden = cut.hidden();
        hide(&mut input, grid, &hidden, config.cut.fill, rng);
        finish(&mut input, grid, config, rng);
        let suffix = cut.suffix().len();
        // Half the tokens lie behind a cut on average: pairs keep the scale of samples.
        let counted = if config.cut.pair_weighting { grid.tokens() as f32 / 2.0 } else { suffix as f32 };
        let weight = 1.0 / (samples as f32 * counted);
        self.input.extend(input);
        self.suffix_weights.extend(hidden.iter().map(|hidden| if *hidden { weight } else { 0.0 }));
        self.hidden.extend(hidden);
        self.next.push(cut.next());
    }
}

/// Perturbs an input as often as is asked for.
pub(super) fn finish(input: &mut [f32], grid: &TokenGrid, config: &PretrainConfig, rng: &mut ChaCha8Rng) {
    if rng.random_bool(config.perturbation_probability().clamp(0.0, 1.0)) {
        perturb(rng, input, grid.crop_zyx());
    }
}

impl MicroBatch {
    /// Views of crops for the losses that have a weight in `step`; the first crop is sample `first` of the step.
    ///
    /// # Errors
    /// Crop and patch do not go together.
    pub fn of_crops(
        crops: &[Crop],
        config: &PretrainConfig,
        step: u64,
        first: u64,
    ) -> Result<Self, TrainError> {
        let grid = config.grid()?;
        let weights = config.weights_at(step);
        let samples = || {
            crops
                .iter()
                .enumerate()
                .map(|(i, crop)| (crop.raw.as_slice(), sample_rng(config.seed, step, first + i as u64)))
        };
        let by_policy = config.objective == Objective::DbMim;
        let masked = if weights.random > 0.0 && !by_policy {
            Some(MaskedView::draw(samples(), config)?)
        } else {
            None
        };
        let views = config.objective == Objective::Byol;
        let cuts = if weights.next > 0.0 || weights.next_all > 0.0 { config.cut.cuts } else { 0 };
        Ok(Self {
            size: crops.len(),
            tokens: crops.iter().flat_map(|crop| grid.gather(&crop.raw)).collect(),
            masked,
            cuts: (0..cuts).map(|index| CutView::draw(samples(), config, index)).collect::<Result<_, _>>()?,
            undecided: by_policy.then(|| Undecided::draw(samples(), &grid, MASK_STREAM)),
            views: views.then(|| ViewPair::draw(samples(), &grid, MASK_STREAM)),
        })
    }
}

impl PretrainBatch {
    /// Draws the batch of `step`.
    ///
    /// # Errors
    /// Storage fails.
    pub fn draw(sampler: &Sampler, config: &PretrainConfig, step: u64) -> Result<Self, DataError> {
        let mut batch = Self { step, micro_batches: Vec::new(), origins: Vec::new() };
        for pass in 0..config.accumulate as u64 {
            let first = pass * config.batch as u64;
            let crops = (first..first + config.batch as u64)
                .map(|sample| sampler.crop(step, sample))
                .collect::<Result<Vec<_>, _>>()?;
            let micro = MicroBatch::of_crops(&crops, config, step, first);
            // Settings have been checked; the message is for callers that have not.
            batch
                .micro_batches
                .push(micro.map_err(|e| DataError::Unusable { name: "crops".into(), cause: e.to_string() })?);
            batch.origins.extend(
                crops.into_iter().map(|c| SampleOrigin { volume: c.volume, origin_zyx: c.origin_zyx }),
            );
        }
        Ok(batch)
    }

    /// The origins as one line, for messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let lines: Vec<String> = self.origins.iter().map(ToString::to_string).collect();
        lines.join("; ")
    }
}
