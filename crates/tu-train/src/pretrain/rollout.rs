//! How errors add up while tokens are generated: token by token from the network's own predictions, and all at once.
//!
//! From a prefix π(0..n) of a crop, G tokens are predicted in two ways: *rollout* predicts π(n), writes it into the input
//! as if it had been seen, runs the network again for π(n+1), and so on; *next-all* predicts them all from the
//! prefix. With e_i the error of the i-th of them (a vector of its voxels), two sums over i ≤ m are recorded:
//!
//! ```text
//! A(m) = Σ mean |e_i|                 mean over prefixes: grows like m where tokens are equally hard
//! B(m) = ‖Σ e_i‖₂ / √P                root mean square over prefixes: like m where errors agree, like √m where they are
//!                                     independent
//! ```
//! An exponent is the slope of a straight line through log A or log B over log m, fitted at steps that are even in log m.
//! The claim for the method is O(K) for next-token prediction alone and O(√K) with next-all; it is measured here, not
//! assumed.

mod accumulation;
mod plot;

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

pub use accumulation::{Accumulation, PowerLaw};
pub use plot::draw_rollout;

use super::objective::{ObjectiveContext, next, next_all};
use super::train::{restore_heads, sampler_of};
use super::{CutView, PositionTable, PretrainConfig, PretrainingNetwork, TokenHeads, hide};
use crate::checkpoint::CheckpointFolder;
use crate::data::{Sampler, VolumeEntry, sample_rng};
use crate::segment::Progress;
use crate::training::{TrainError, checkpoint_file, load_model};

/// The step whose crops are probed; training draws none of it.
const PROBED_STEP: u64 = u64::MAX - 1;
/// Stream of paths and fills.
const STREAM: u64 = 1;

/// What is probed.
#[derive(Clone, Debug, PartialEq)]
pub struct RolloutConfig {
    /// Seeds of crops, paths and fills.
    pub seeds: Vec<u64>,
    /// Prefixes per seed.
    pub prefixes: usize,
    /// Prefixes that run together; memory grows with them.
    pub batch: usize,
    /// Share of tokens in a prefix.
    pub prefix_share: f64,
    /// Tokens to generate; none for all that follow.
    pub generated: Option<usize>,
}

/// A way of generating.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// One token after the other, each from the predictions before it.
    Rollout,
    /// All tokens from the prefix.
    NextAll,
}

impl Method {
    /// Its name in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rollout => "rollout",
            Self::NextAll => "next-all",
        }
    }
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RolloutReport {
    /// K, tokens of a crop.
    pub tokens: usize,
    /// n, tokens of a prefix.
    pub prefix: usize,
    /// G, generated tokens.
    pub generated: usize,
    /// Prefixes per seed.
    pub prefixes_per_seed: usize,
    /// Steps of the network that was probed.
    pub steps: u64,
    /// One per way of generating that the network has learned.
    pub methods: Vec<MethodReport>,
}

/// What was found for one way of generating.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MethodReport {
    /// Which one.
    pub method: Method,
    /// Mean squared error of all generated voxels.
    pub mse: f64,
    /// A(m) for m = 1..=G.
    pub absolute: Vec<f64>,
    /// B(m) for m = 1..=G.
    pub vector: Vec<f64>,
    /// Of A over all seeds.
    pub absolute_fit: PowerLaw,
    /// Of B over all seeds.
    pub vector_fit: PowerLaw,
    /// Exponents of each seed by itself.
    pub by_seed: Vec<SeedExponents>,
}

/// Exponents of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct SeedExponents {
    /// The seed.
    pub seed: u64,
    /// Of A.
    pub absolute: f64,
    /// Of B.
    pub vector: f64,
}

/// A pretrained network with its heads, ready to be probed.
pub struct RolloutProbe {
    config: PretrainConfig,
    model: PretrainingNetwork,
    context: ObjectiveContext,
    steps: u64,
}

/// Prefixes that are generated from together.
struct Prefixes {
    tokens: Vec<f32>,
    paths: Vec<Vec<usize>>,
    view: CutView,
}

impl RolloutProbe {
    /// The newest checkpoint of the run in the folder `run`. Crops come from `volumes`, or from the run's own where there
    /// are none, and may have another size than in training.
    ///
    /// # Errors
    /// There is no pretraining run with a whole checkpoint, it has learned to predict no later token, or the crop does not
    /// suit it.
    pub fn open(
        run: &Path,
        volumes: Vec<VolumeEntry>,
        crop_zyx: Option<[usize; 3]>,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let mut config = PretrainConfig::from_toml_file(&run.join("config.toml"))?;
        if !volumes.is_empty() {
            config.volumes = volumes;
        }
        config.crop_zyx = crop_zyx.unwrap_or(config.crop_zyx);
        config.check()?;
        let Some(checkpoint) = CheckpointFolder::new(run).latest()? else {
            return Err(TrainError::Config(format!(
                "{} holds no checkpoint; give the folder of a pretraining run",
                run.display()
            )));
        };
        let (network, metadata) =
            load_model(checkpoint_file(&checkpoint, "model.safetensors")?, "checkpoint", device)?;
        metadata
            .architecture
            .check_window(config.crop_zyx)
            .map_err(|e| TrainError::Config(format!("crop_zyx: {e}")))?;
        let model = PretrainingNetwork::new(network, metadata.architecture.features[0], &config, device)?;
        let model = restore_heads(model, &checkpoint)?.valid();
        if model.heads.is_none() {
            return Err(TrainError::Config(format!(
                "{} was pretrained with `{}`, which predicts no later token; probe a run of curriculum, next or next-all",
                run.display(),
                config.objective.name()
            )));
        }
        let grid = config.grid()?;
        let codes = PositionTable::new(&grid, config.heads.width);
        let context = ObjectiveContext { grid, codes, device: device.clone() };
        Ok(Self { config, model, context, steps: checkpoint.step })
    }

    /// Generates tokens from many prefixes.
    ///
    /// # Errors
    /// A setting is out of its range, a volume cannot be read, or the device fails.
    pub fn run(&self, probe: &RolloutConfig, progress: &dyn Progress) -> Result<RolloutReport, TrainError> {
        let (prefix, generated) = self.lengths(probe)?;
        let Some(heads) = &self.model.heads else {
            return Err(TrainError::Config("the network predicts no later token".into()));
        };
        let learned = [(Method::Rollout, heads.next.is_some()), (Method::NextAll, heads.next_all.is_some())];
        let methods: Vec<Method> =
            learned.into_iter().filter_map(|(method, there)| there.then_some(method)).collect();
        let crop: u64 = self.config.crop_zyx.iter().map(|s| *s as u64).product();
        let passes =
            u64::from(heads.next_all.is_some()) + if heads.next.is_some() { generated as u64 } else { 0 };
        progress.begin("rollout", crop * passes * (probe.seeds.len() * probe.prefixes) as u64, 0);
        let mut found: Vec<Vec<Accumulation>> = methods.iter().map(|_| Vec::new()).collect();
        for &seed in &probe.seeds {
            let sampler = sampler_of(&PretrainConfig { seed, ..self.config.clone() })?;
            let mut sums: Vec<Accumulation> = methods.iter().map(|_| Accumulation::new(generated)).collect();
            let mut first = 0;
            while first < probe.prefixes {
                let count = probe.batch.min(probe.prefixes - first);
                let prefixes = self.draw(&sampler, seed, first..first + count, prefix)?;
                for (method, sum) in methods.iter().zip(&mut sums) {
                    let advance = || progress.advance(crop * count as u64);
                    match method {
                        Method::Rollout => self.roll_out(heads, &prefixes, prefix, sum, &advance)?,
                        Method::NextAll => {
                            self.all_at_once(heads, &prefixes, prefix, sum)?;
                            advance();
                        }
                    }
                }
                first += count;
            }
            found.iter_mut().zip(sums).for_each(|(list, sum)| list.push(sum));
        }
        progress.end();
        let methods = methods
            .into_iter()
            .zip(&found)
            .map(|(method, sums)| method_report(method, &probe.seeds, sums))
            .collect();
        Ok(RolloutReport {
            tokens: self.context.grid.tokens(),
            prefix,
            generated,
            prefixes_per_seed: probe.prefixes,
            steps: self.steps,
            methods,
        })
    }

    /// n and G.
    fn lengths(&self, probe: &RolloutConfig) -> Result<(usize, usize), TrainError> {
        let tokens = self.context.grid.tokens();
        let refuse = |text: String| Err(TrainError::Config(text));
        if probe.seeds.is_empty()
            || !(1..=1_000_000).contains(&probe.prefixes)
            || !(1..=4096).contains(&probe.batch)
        {
            return refuse("rollout: at least one seed, prefixes in 1..1000000, batch in 1..4096".into());
        }
        let voxels = self.config.crop_zyx.iter().try_fold(probe.batch, |n, &s| n.checked_mul(s));
        if voxels.is_none_or(|n| n > 1 << 31) {
            return refuse("batch × crop exceeds 2^31 voxels; use a smaller batch".into());
        }
        if !(0.0..1.0).contains(&probe.prefix_share) {
            return refuse(format!("prefix share {} must lie in 0..1", probe.prefix_share));
        }
        let prefix = ((probe.prefix_share * tokens as f64) as usize).clamp(1, tokens - 1);
        let rest = tokens - prefix;
        let generated = probe.generated.unwrap_or(rest);
        if !(2..=rest).contains(&generated) {
            return refuse(format!(
                "{generated} tokens to generate, and {rest} follow a prefix of {prefix}: use 2..{rest}, or larger crops"
            ));
        }
        Ok((prefix, generated))
    }

    fn draw(
        &self,
        sampler: &Sampler,
        seed: u64,
        samples: std::ops::Range<usize>,
        prefix: usize,
    ) -> Result<Prefixes, TrainError> {
        let crops = samples
            .map(|sample| {
                let mut rng = sample_rng(seed, PROBED_STEP, sample as u64);
                rng.set_stream(STREAM);
                Ok((sampler.crop(PROBED_STEP, sample as u64)?.raw, rng))
            })
            .collect::<Result<Vec<_>, TrainError>>()?;
        Ok(self.prefixes(crops, prefix))
    }

    fn prefixes(&self, crops: Vec<(Vec<f32>, ChaCha8Rng)>, prefix: usize) -> Prefixes {
        let grid = &self.context.grid;
        let mut made = Prefixes { tokens: Vec::new(), paths: Vec::new(), view: CutView::default() };
        for (raw, mut rng) in crops {
            let path = grid.path(self.config.path, &mut rng);
            let mut hidden = vec![false; path.len()];
            path[prefix..].iter().for_each(|token| hidden[*token] = true);
            let mut input = raw.clone();
            hide(&mut input, grid, &hidden, self.config.cut.fill, &mut rng);
            made.tokens.extend(grid.gather(&raw));
            made.view.input.extend(input);
            made.view.hidden.extend(hidden);
            made.view.next.push(path[prefix]);
            made.paths.push(path);
        }
        made
    }

    /// Predicts one token after the other, each from the ones predicted before.
    fn roll_out(
        &self,
        heads: &TokenHeads,
        prefixes: &Prefixes,
        prefix: usize,
        sum: &mut Accumulation,
        advance: &dyn Fn(),
    ) -> Result<(), TrainError> {
        let (grid, voxels) = (&self.context.grid, self.context.grid.patch_voxels());
        let (tokens, crop) = (grid.tokens(), grid.crop_zyx().iter().product::<usize>());
        let mut view = prefixes.view.clone();
        let mut errors = sum.begin(prefixes.paths.len(), voxels);
        for position in prefix..prefix + sum.generated() {
            view.next = prefixes.paths.iter().map(|path| path[position]).collect();
            let latents = next::latents(&self.context, &self.model, heads, &view);
            let Some(predicted) = next::predict(&self.context, heads, latents, &view) else { break };
            let predicted = values(predicted)?;
            for (sample, token) in view.next.iter().copied().enumerate() {
                let guess = &predicted[sample * voxels..(sample + 1) * voxels];
                let truth = &prefixes.tokens[(sample * tokens + token) * voxels..][..voxels];
                errors.add(sample, guess, truth);
                view.hidden[sample * tokens + token] = false;
                let mut rows = guess.chunks_exact(grid.patch_zyx()[2]);
                grid.for_each_row(&mut view.input[sample * crop..(sample + 1) * crop], token, |row| {
                    if let Some(values) = rows.next() {
                        row.copy_from_slice(values);
                    }
                });
            }
            sum.record(position - prefix, &errors);
            advance();
        }
        Ok(())
    }

    /// Predicts all tokens from the prefix.
    fn all_at_once(
        &self,
        heads: &TokenHeads,
        prefixes: &Prefixes,
        prefix: usize,
        sum: &mut Accumulation,
    ) -> Result<(), TrainError> {
        let (tokens, voxels) = (self.context.grid.tokens(), self.context.grid.patch_voxels());
        let latents = next::latents(&self.context, &self.model, heads, &prefixes.view);
        let Some(predicted) = next_all::predict(&self.context, heads, latents) else { return Ok(()) };
        let predicted = values(predicted)?;
        let mut errors = sum.begin(prefixes.paths.len(), voxels);
        for position in prefix..prefix + sum.generated() {
            for (sample, path) in prefixes.paths.iter().enumerate() {
                let place = (sample * tokens + path[position]) * voxels;
                errors.add(
                    sample,
                    &predicted[place..place + voxels],
                    &prefixes.tokens[place..place + voxels],
                );
            }
            sum.record(position - prefix, &errors);
        }
        Ok(())
    }
}

fn method_report(method: Method, seeds: &[u64], sums: &[Accumulation]) -> MethodReport {
    let mut all = sums[0].clone();
    sums[1..].iter().for_each(|sum| all.merge(sum));
    let (absolute, vector) = (all.absolute(), all.vector());
    let by_seed = seeds
        .iter()
        .zip(sums)
        .map(|(&seed, sum)| SeedExponents {
            seed,
            absolute: PowerLaw::fit(&sum.absolute()).exponent,
            vector: PowerLaw::fit(&sum.vector()).exponent,
        })
        .collect();
    MethodReport {
        method,
        mse: all.mse(),
        absolute_fit: PowerLaw::fit(&absolute),
        vector_fit: PowerLaw::fit(&vector),
        absolute,
        vector,
        by_seed,
    }
}

fn values(tensor: Tensor<3>) -> Result<Vec<f32>, TrainError> {
    let data = tensor
        .try_into_data()
        .map_err(|e| TrainError::Device(format!("reading generated tokens ({e:?})")))?;
    Ok(data.iter::<f32>().collect())
}

#[cfg(test)]
mod tests;
