//! Every setting of a pretraining run, with the defaults that a run starts from. What is left open is decided by
//! [`PretrainConfig::resolved`], and the result is stored in the run folder as `config.toml`.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tu_model::{EmMambaConfig, IntensityRule, Precision};

use super::objective::Objective;
use super::{
    ByolConfig, CurriculumConfig, DecisionConfig, Fill, ObjectiveWeights, PathKind, TokenGrid, mask_count,
};
use crate::data::VolumeEntry;
use crate::training::{
    OptimiserConfig, RunSettings, TrainError, check_crops, check_momentum, is_f32, named_architecture,
    read_settings, settings_toml,
};

/// Settings of a pretraining run: unlabelled volumes in, a network to fine-tune out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PretrainConfig {
    /// Model file to start from; its architecture overrides `preset` and `architecture`. Default: random weights.
    pub init: Option<String>,
    /// Architecture preset by name. Default: `tiny`.
    pub preset: String,
    /// What is minimised. Default: `curriculum`.
    pub objective: Objective,
    /// Fixed weights of random, next and next-all prediction in place of those of `objective`. Default: none.
    pub weights: Option<[f64; 3]>,
    /// Shape of a crop in voxels, zyx; y and x are multiples of 16. Default: 16, 160, 160.
    pub crop_zyx: [usize; 3],
    /// Shape of a token in voxels, zyx. Default: 4, 16, 16.
    pub patch_zyx: [usize; 3],
    /// Order in which tokens follow each other. Default: `raster`.
    pub path: PathKind,
    /// Crops per forward pass. Default: 1.
    pub batch: usize,
    /// Forward passes whose gradients are averaged in one step. Default: 1.
    pub accumulate: usize,
    /// Optimiser steps of the whole run. Default: 1000.
    pub steps: u64,
    /// Seed of the weights, the crops, the masks and the cuts. Default: 1.
    pub seed: u64,
    /// Reflects crops along each axis and exchanges y and x at random. Default: true.
    pub flip: bool,
    /// Probability that an input (never its target) gets noise, blur or a blank box. Default: 0.5; 0 for `mae` and `dbmim`.
    pub perturbation: Option<f64>,
    /// Steps between checkpoints; 0 writes one at the end only. Default: 200.
    pub checkpoint_every: u64,
    /// Checkpoints kept on disk, newest first. Default: 3.
    pub keep_checkpoints: usize,
    /// Steps between pictures of reconstructions; 0 draws one at the end only. Default: 500.
    pub panels_every: u64,
    /// Volumes up to this many MiB in total are held in memory; larger ones are read crop by crop, and
    /// the memory left keeps their chunks used last. Default: 4096.
    pub memory_mib: u64,
    /// How raw values become network input. Default: the full range of the data type to `[0, 1]`.
    pub intensity: IntensityRule,
    /// Voxel size written to the model file in nm, zyx. Default: that of the first volume.
    pub voxel_nm_zyx: Option<[f64; 3]>,
    /// Licence written to the model file. Default: empty.
    pub licence: String,
    /// Free text written to the model file's provenance. Default: empty.
    pub notes: String,
    /// Sets the peak learning rate to this times crops per step over 256. Default: none, and `optimiser.lr` holds.
    pub base_lr: Option<f64>,
    /// Momentum of the moving average that model.safetensors is written from. Default: none, and it has the last weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Type of volumes within the network: f32, or bf16 where the device offers it. Default: f32.
    #[serde(skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// Computes cheap results (normalisations, activations, gates) again in the backward pass and does not keep them: the
    /// same numbers in less memory. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub checkpoint_activations: bool,
    /// Random masks.
    pub mask: MaskConfig,
    /// Cuts of the token path.
    pub cut: CutConfig,
    /// Weights over time, for `curriculum`.
    pub curriculum: CurriculumConfig,
    /// The part that predicts tokens behind a cut.
    pub heads: HeadConfig,
    /// Sizes and momentum, for `byol`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byol: Option<ByolConfig>,
    /// The policy that chooses masks, for `dbmim`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionConfig>,
    /// Optimiser and learning-rate schedule.
    pub optimiser: OptimiserConfig,
    /// Architecture in full; overrides `preset`. Default: none.
    pub architecture: Option<EmMambaConfig>,
    /// Volumes to train on, at least one; labels are not looked at.
    pub volumes: Vec<VolumeEntry>,
}

impl Default for PretrainConfig {
    fn default() -> Self {
        Self {
            init: None,
            preset: "tiny".into(),
            objective: Objective::Curriculum,
            weights: None,
            crop_zyx: [16, 160, 160],
            patch_zyx: [4, 16, 16],
            path: PathKind::Raster,
            batch: 1,
            accumulate: 1,
            steps: 1000,
            seed: 1,
            flip: true,
            perturbation: None,
            checkpoint_every: 200,
            keep_checkpoints: 3,
            panels_every: 500,
            memory_mib: 4096,
            intensity: IntensityRule::FullRange,
            voxel_nm_zyx: None,
            licence: String::new(),
            notes: String::new(),
            base_lr: None,
            ema: None,
            precision: Precision::F32,
            checkpoint_activations: false,
            mask: MaskConfig::default(),
            cut: CutConfig::default(),
            curriculum: CurriculumConfig::default(),
            heads: HeadConfig::default(),
            byol: None,
            decision: None,
            optimiser: OptimiserConfig { min_lr: 0.0, ..OptimiserConfig::default() },
            architecture: None,
            volumes: Vec::new(),
        }
    }
}

/// Random masks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskConfig {
    /// ρ, the share of tokens that is masked. Default: 0.4; 0.75 for `mae` and, as a mean to begin with, for `dbmim`.
    pub ratio: Option<f64>,
    /// What masked tokens are replaced by. Default: `noise`; `zero` for `mae` and `dbmim`.
    pub fill: Option<Fill>,
}

/// Cuts of the token path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CutConfig {
    /// What the suffix is replaced by. Default: `noise`.
    pub fill: Fill,
    /// Cuts per crop and step, each with a forward pass of its own. Default: 1.
    pub cuts: usize,
    /// Weighs a next-all sample by the length of its suffix, so that every pair of a prefix and a later token counts alike;
    /// without it every sample does. Default: false.
    pub pair_weighting: bool,
}

impl Default for CutConfig {
    fn default() -> Self {
        Self { fill: Fill::Noise, cuts: 1, pair_weighting: false }
    }
}

/// The Perceiver Resampler and what reads from it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HeadConfig {
    /// Width of tokens, latents and queries. Default: 256.
    pub width: usize,
    /// Learned latents that the visible tokens are summarised in. Default: 64.
    pub latents: usize,
    /// Layers of cross-attention that do so. Default: 2.
    pub depth: usize,
    /// Attention heads. Default: 8.
    pub heads: usize,
    /// Width of a head. Default: 64.
    pub head_width: usize,
}

impl Default for HeadConfig {
    fn default() -> Self {
        Self { width: 256, latents: 64, depth: 2, heads: 8, head_width: 64 }
    }
}

impl RunSettings for PretrainConfig {
    fn steps(&self) -> u64 {
        self.steps
    }

    fn seed(&self) -> u64 {
        self.seed
    }

    /// Leaves out the run's length, its housekeeping and its texts, which may change when a run is resumed. From then on
    /// curriculum and learning rate follow the new length.
    fn fingerprint(&self) -> String {
        let neutral = Self::default();
        let config = Self {
            steps: neutral.steps,
            checkpoint_every: neutral.checkpoint_every,
            keep_checkpoints: neutral.keep_checkpoints,
            panels_every: neutral.panels_every,
            memory_mib: neutral.memory_mib,
            checkpoint_activations: neutral.checkpoint_activations,
            licence: neutral.licence,
            notes: neutral.notes,
            ..self.resolved()
        };
        tu_model::sha256_hex(serde_json::to_string(&config).unwrap_or_default().as_bytes())
    }

    fn to_toml(&self) -> Result<String, TrainError> {
        PretrainConfig::to_toml(self)
    }

    fn checkpoints(&self) -> (u64, usize) {
        (self.checkpoint_every, self.keep_checkpoints)
    }
}

impl PretrainConfig {
    /// Reads settings from a TOML file; fields that are absent take their defaults.
    ///
    /// # Errors
    /// The file cannot be read, is no TOML, or names an unknown field.
    pub fn from_toml_file(path: &Path) -> Result<Self, TrainError> {
        read_settings(path)
    }

    /// All settings as TOML.
    ///
    /// # Errors
    /// A value has no TOML form (not reached by settings that were read from TOML).
    pub fn to_toml(&self) -> Result<String, TrainError> {
        settings_toml(self)
    }

    /// The same settings with everything decided that the objective decides where nothing is said.
    #[must_use]
    pub fn resolved(&self) -> Self {
        let mut config = self.clone();
        config.mask = MaskConfig { ratio: Some(self.mask_ratio()), fill: Some(self.mask_fill()) };
        config.perturbation = Some(self.perturbation_probability());
        config.byol = (self.objective == Objective::Byol).then(|| self.byol_config());
        config.decision = (self.objective == Objective::DbMim).then(|| self.decision_config());
        if let Some(base) = config.base_lr.take() {
            config.optimiser.lr = base * (self.batch * self.accumulate) as f64 / 256.0;
        }
        config
    }

    /// What holds for an objective where nothing is said: masked autoencoding, also with chosen masks, has settings of its
    /// own.
    fn by_objective<T>(&self, setting: Option<T>, mae: T, otherwise: T) -> T {
        let autoencodes = matches!(self.objective, Objective::Mae | Objective::DbMim);
        setting.unwrap_or(if autoencodes { mae } else { otherwise })
    }

    /// Sizes and momentum for `byol`.
    #[must_use]
    pub fn byol_config(&self) -> ByolConfig {
        self.byol.clone().unwrap_or_default()
    }

    /// The policy's settings for `dbmim`.
    #[must_use]
    pub fn decision_config(&self) -> DecisionConfig {
        self.decision.clone().unwrap_or_default()
    }

    /// ρ, the share of tokens that is masked.
    #[must_use]
    pub fn mask_ratio(&self) -> f64 {
        self.by_objective(self.mask.ratio, 0.75, 0.4)
    }

    /// What masked tokens are replaced by.
    #[must_use]
    pub fn mask_fill(&self) -> Fill {
        self.by_objective(self.mask.fill, Fill::Zero, Fill::Noise)
    }

    /// Probability that an input is perturbed.
    #[must_use]
    pub fn perturbation_probability(&self) -> f64 {
        self.by_objective(self.perturbation, 0.0, 0.5)
    }

    /// Weights of the objectives in `step`, counted from 0.
    #[must_use]
    pub fn weights_at(&self, step: u64) -> ObjectiveWeights {
        match self.weights.or(self.objective.fixed_weights()) {
            Some([random, next, next_all]) => ObjectiveWeights { random, next, next_all },
            None => self.curriculum.weights(step as f64 / self.steps.max(1) as f64),
        }
    }

    /// Whether next and next-all prediction take part at any time: those that do not have no parameters.
    #[must_use]
    pub fn predicts(&self) -> (bool, bool) {
        self.weights
            .or(self.objective.fixed_weights())
            .map_or((true, true), |[_, next, next_all]| (next > 0.0, next_all > 0.0))
    }

    /// The token grid of a crop.
    ///
    /// # Errors
    /// Crop and patch do not go together.
    pub fn grid(&self) -> Result<TokenGrid, TrainError> {
        TokenGrid::new(self.crop_zyx, self.patch_zyx)
    }

    /// The architecture that `architecture` or else `preset` names, with one output channel.
    ///
    /// # Errors
    /// `preset` is unknown.
    pub fn resolved_architecture(&self) -> Result<EmMambaConfig, TrainError> {
        let architecture = named_architecture(self.architecture.as_ref(), &self.preset)?;
        Ok(EmMambaConfig { out_channels: 1, ..architecture })
    }

    /// Checks what can be checked before any data is opened.
    ///
    /// # Errors
    /// A field is out of its range; the message names it.
    pub fn check(&self) -> Result<(), TrainError> {
        let refuse = |text: &str| Err(TrainError::Config(text.to_string()));
        if self.volumes.is_empty() {
            return refuse("no volume to train on: give --data, or `volumes` at least one entry with raw");
        }
        if self.steps == 0 {
            return refuse("steps must be at least 1");
        }
        let views = self.cut.cuts.max(1);
        check_crops(self.crop_zyx, self.batch.saturating_mul(self.accumulate).saturating_mul(views))?;
        let grid = self.grid()?;
        let ratio = self.mask_ratio();
        if !(0.0..1.0).contains(&ratio) || mask_count(ratio, grid.tokens()) == 0 {
            return Err(TrainError::Config(format!(
                "mask.ratio {ratio} masks none or all of {} tokens; use a share between 0 and 1, or larger crops",
                grid.tokens()
            )));
        }
        if self.perturbation.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
            return refuse("perturbation is a probability; use 0..1");
        }
        if let Some(weights) = self.weights
            && (weights.iter().any(|w| !w.is_finite() || *w < 0.0) || weights.iter().sum::<f64>() <= 0.0)
        {
            return refuse("weights: three numbers of at least 0, one of them above 0");
        }
        if self.weights.is_some() && !self.objective.is_weighted() {
            return Err(TrainError::Config(format!(
                "weights are those of random, next and next-all prediction, and `{}` has none of its own; leave them out",
                self.objective.name()
            )));
        }
        self.ema.map_or(Ok(()), |momentum| check_momentum("ema", momentum))?;
        self.byol_config().check()?;
        self.decision_config().check()?;
        if self.base_lr.is_some_and(|lr| !lr.is_finite() || lr <= 0.0) {
            return refuse("base_lr must be positive");
        }
        if !(1..=64).contains(&self.cut.cuts) {
            return refuse("cut.cuts must lie in 1..64");
        }
        let h = &self.heads;
        if !(6..=8192).contains(&h.width)
            || !(1..=4096).contains(&h.latents)
            || !(1..=32).contains(&h.depth)
            || !(1..=128).contains(&h.heads)
            || !(1..=1024).contains(&h.head_width)
        {
            return refuse(
                "heads: width in 6..8192, latents in 1..4096, depth in 1..32, heads in 1..128, head_width in 1..1024",
            );
        }
        self.curriculum.check()?;
        self.optimiser.check()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> PretrainConfig {
        let volume = VolumeEntry { raw: Some("em.zarr".into()), ..VolumeEntry::default() };
        PretrainConfig { volumes: vec![volume], ..PretrainConfig::default() }
    }

    #[test]
    fn resolved_settings_survive_being_written_and_read_and_leave_the_run_the_same() {
        for objective in Objective::ALL {
            let config = PretrainConfig { objective, base_lr: Some(1e-3), ..sound() };
            config.check().unwrap();
            let read: PretrainConfig = toml::from_str(&config.resolved().to_toml().unwrap()).unwrap();
            assert_eq!(read, config.resolved());
            assert_eq!(read.fingerprint(), config.fingerprint());
            assert_eq!(objective.name().parse::<Objective>().unwrap(), objective);
        }
        assert!("simclr".parse::<Objective>().unwrap_err().to_string().contains("random+next-all"));
    }

    #[test]
    fn the_settings_in_the_documentation_are_the_defaults_but_for_the_size_of_the_run() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/pretraining.md");
        let text = std::fs::read_to_string(path).unwrap();
        let block = text.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        let read: PretrainConfig = toml::from_str(block).unwrap();
        read.check().unwrap();
        let expected = PretrainConfig {
            preset: "small".into(),
            batch: 4,
            accumulate: 2,
            steps: 20_000,
            base_lr: Some(1e-3),
            volumes: read.volumes.clone(),
            ..PretrainConfig::default()
        };
        assert_eq!(read.resolved(), expected.resolved());
    }

    #[test]
    fn every_row_of_the_ablation_is_one_objective() {
        let at = |objective| {
            let w = PretrainConfig { objective, ..sound() }.weights_at(500);
            [w.random, w.next, w.next_all].map(|v| v > 0.0)
        };
        assert_eq!(at(Objective::Random), [true, false, false]);
        assert_eq!(at(Objective::Next), [false, true, false]);
        assert_eq!(at(Objective::RandomNext), [true, true, false]);
        assert_eq!(at(Objective::RandomNextAll), [true, false, true]);
        assert_eq!(at(Objective::Curriculum), [true; 3]);
        let fixed = PretrainConfig { weights: Some([0.2, 0.3, 0.5]), ..sound() };
        assert_eq!(fixed.weights_at(0), fixed.weights_at(999));
    }

    #[test]
    fn masked_autoencoding_blanks_three_quarters_unless_told_otherwise() {
        let mae = PretrainConfig { objective: Objective::Mae, ..sound() }.resolved();
        assert_eq!(
            (mae.mask.ratio, mae.mask.fill, mae.perturbation),
            (Some(0.75), Some(Fill::Zero), Some(0.0))
        );
        let told = MaskConfig { ratio: Some(0.5), fill: None };
        let other = PretrainConfig { objective: Objective::Mae, mask: told, ..sound() };
        assert!((other.mask_ratio() - 0.5).abs() < 1e-12);
        assert!((sound().mask_ratio() - 0.4).abs() < 1e-12);
    }

    #[test]
    fn the_base_learning_rate_scales_with_the_crops_of_a_step() {
        let config = PretrainConfig { base_lr: Some(1e-3), batch: 40, accumulate: 8, ..sound() };
        assert!((config.resolved().optimiser.lr - 1.25e-3).abs() < 1e-15);
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let cases = [
            (PretrainConfig { volumes: vec![], ..sound() }, "volumes"),
            (PretrainConfig { accumulate: 0, ..sound() }, "accumulate"),
            (PretrainConfig { crop_zyx: [16, 160, 168], ..sound() }, "crop_zyx"),
            (PretrainConfig { crop_zyx: [16, 8, 8], patch_zyx: [4, 8, 8], ..sound() }, "multiples of 16"),
            (PretrainConfig { batch: usize::MAX, ..sound() }, "2^31"),
            (PretrainConfig { mask: MaskConfig { ratio: Some(0.001), fill: None }, ..sound() }, "mask.ratio"),
            (PretrainConfig { mask: MaskConfig { ratio: Some(1.0), fill: None }, ..sound() }, "mask.ratio"),
            (PretrainConfig { weights: Some([0.0; 3]), ..sound() }, "weights"),
            (PretrainConfig { perturbation: Some(2.0), ..sound() }, "perturbation"),
            (PretrainConfig { ema: Some(1.0), ..sound() }, "ema"),
            (
                PretrainConfig { byol: Some(ByolConfig { width: 0, ..ByolConfig::default() }), ..sound() },
                "byol",
            ),
            (
                PretrainConfig { objective: Objective::Mae, weights: Some([1.0, 0.0, 0.0]), ..sound() },
                "`mae` has none",
            ),
            (PretrainConfig { heads: HeadConfig { width: 4, ..HeadConfig::default() }, ..sound() }, "width"),
            (PretrainConfig { cut: CutConfig { cuts: 0, ..CutConfig::default() }, ..sound() }, "cuts"),
        ];
        for (config, name) in cases {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn on_resume_the_length_and_the_housekeeping_may_differ_and_nothing_else() {
        let base = sound();
        let same = PretrainConfig { steps: 7, panels_every: 7, keep_checkpoints: 9, ..base.clone() };
        assert_eq!(base.fingerprint(), same.fingerprint());
        for other in [
            PretrainConfig { objective: Objective::Random, ..base.clone() },
            PretrainConfig { accumulate: 2, ..base.clone() },
        ] {
            assert_ne!(base.fingerprint(), other.fingerprint());
        }
    }
}
