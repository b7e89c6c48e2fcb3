//! Every setting of a fine-tuning run, with the defaults that a run starts from. The resolved settings are stored
//! in the run folder as `config.toml`, so that a run can be repeated and resumed from that file alone.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tu_model::{EmMambaConfig, IntensityRule, Precision};
use tu_segment::{EdgeStatistic, FragmentMethod, Scoring};

use super::TrainError;
use crate::data::{AugmentationConfig, VolumeEntry};
use crate::training::{
    OptimiserConfig, check_crops, check_momentum, is_f32, named_architecture, read_settings, settings_toml,
};

/// Settings of a fine-tuning run: labelled volumes in, an affinity network out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FinetuneConfig {
    /// Model file to start from; its architecture overrides `preset` and `architecture`. Default: random weights.
    pub init: Option<String>,
    /// Architecture preset by name. Default: `tiny`.
    pub preset: String,
    /// Shape of a training crop in voxels, axes z, y, x; y and x are multiples of 16. Default: 16, 96, 96.
    pub crop_zyx: [usize; 3],
    /// Crops per step. Default: 1.
    pub batch: usize,
    /// Optimiser steps of the whole run. Default: 1000.
    pub steps: u64,
    /// Seed of the weights, the crops and the augmentation. Default: 1.
    pub seed: u64,
    /// Parameters that are trained; the output layer always is. Default: `all`.
    pub modules: Modules,
    /// What the network minimises. Default: `weighted_mse`.
    pub loss: LossKind,
    /// Leaves voxels with label 0 out of the loss, and affinities that touch one. Default: false (background pairs are 0).
    pub ignore_unlabelled: bool,
    /// Forward passes per step, `batch` crops each; several devices share them. Default: 1.
    #[serde(skip_serializing_if = "is_one")]
    pub accumulate: usize,
    /// Momentum of the moving average of the weights that is validated and written. Default: none, and the last weights are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Type of volumes within the network: f32, or bf16 where the device offers it. Default: f32.
    #[serde(skip_serializing_if = "is_f32")]
    pub precision: Precision,
    /// Computes cheap results (normalisations, activations, gates) again in the backward pass and does not keep them: the
    /// same numbers in less memory. Default: false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub checkpoint_activations: bool,
    /// Widens the borders between labels by a voxel in plane before affinities are computed. Default: false.
    pub widen_borders: bool,
    /// Halve z, and convolve over it, where the voxel size asks for it ([`tu_model::ZPlan`]): for voxels that are not much
    /// longer along z than in the plane.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plan_z: bool,
    /// Steps between validations; 0 validates at the end only. Default: 500.
    pub validate_every: u64,
    /// Steps between checkpoints; 0 writes one at the end only. Default: 200.
    pub checkpoint_every: u64,
    /// Checkpoints kept on disk, newest first. Default: 3.
    pub keep_checkpoints: usize,
    /// Volumes up to this many MiB in total (5 bytes per u8 voxel with labels) are held in memory; larger ones are
    /// read crop by crop, and the memory left keeps their chunks used last. Default: 4096.
    pub memory_mib: u64,
    /// How raw values become network input. Default: the full range of the data type to `[0, 1]`.
    pub intensity: IntensityRule,
    /// Tile that the model file asks inference to use, in voxels zyx. Default: 16, 64, 64.
    pub tile_zyx: [usize; 3],
    /// Halo around that tile, in voxels zyx. Default: 4, 16, 16.
    pub halo_zyx: [usize; 3],
    /// Voxel size written to the model file in nm, zyx. Default: that of the first training volume.
    pub voxel_nm_zyx: Option<[f64; 3]>,
    /// Licence written to the model file. Default: empty.
    pub licence: String,
    /// Free text written to the model file's provenance. Default: empty.
    pub notes: String,
    /// Optimiser and learning-rate schedule.
    pub optimiser: OptimiserConfig,
    /// Random changes to the crops.
    pub augmentation: AugmentationConfig,
    /// Architecture in full; overrides `preset`. Default: none.
    pub architecture: Option<EmMambaConfig>,
    /// Labelled volumes to train on, at least one.
    pub volumes: Vec<VolumeEntry>,
    /// Labelled volume to choose the best model by. Default: none, and the last model is kept.
    pub validation: Option<ValidationConfig>,
}

impl Default for FinetuneConfig {
    fn default() -> Self {
        Self {
            init: None,
            preset: "tiny".into(),
            crop_zyx: [16, 96, 96],
            batch: 1,
            steps: 1000,
            seed: 1,
            modules: Modules::All,
            loss: LossKind::WeightedMse,
            ignore_unlabelled: false,
            accumulate: 1,
            ema: None,
            precision: Precision::F32,
            checkpoint_activations: false,
            widen_borders: false,
            plan_z: false,
            validate_every: 500,
            checkpoint_every: 200,
            keep_checkpoints: 3,
            memory_mib: 4096,
            intensity: IntensityRule::FullRange,
            tile_zyx: [16, 64, 64],
            halo_zyx: [4, 16, 16],
            voxel_nm_zyx: None,
            licence: String::new(),
            notes: String::new(),
            optimiser: OptimiserConfig::default(),
            augmentation: AugmentationConfig::default(),
            architecture: None,
            volumes: Vec::new(),
            validation: None,
        }
    }
}

/// The volume, the region and the grid of post-processing settings that the best model is chosen by.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ValidationConfig {
    /// Raw and label volumes and the region of them that is segmented.
    #[serde(flatten)]
    pub volume: VolumeEntry,
    /// Fragment methods tried. Default: `affinity` and `seeded`, each with its own defaults.
    #[serde(default = "default_methods")]
    pub methods: Vec<FragmentMethod>,
    /// Scorings tried, with or without a size weight (`mean,size:0.06`). Default: `quantile:50` and `mean`.
    #[serde(default = "default_scorings")]
    pub scorings: Vec<Scoring>,
    /// Agglomeration thresholds tried, in (0, 1). Default: 0.1, 0.2 … 0.9.
    #[serde(default = "default_thresholds")]
    pub thresholds: Vec<f32>,
}

fn is_one(count: &usize) -> bool {
    *count == 1
}

fn default_methods() -> Vec<FragmentMethod> {
    vec![FragmentMethod::Affinity(Default::default()), FragmentMethod::Seeded(Default::default())]
}

fn default_scorings() -> Vec<Scoring> {
    [EdgeStatistic::Quantile(50), EdgeStatistic::Mean].map(Scoring::from).to_vec()
}

fn default_thresholds() -> Vec<f32> {
    (1..10).map(|i| i as f32 / 10.0).collect()
}

impl ValidationConfig {
    /// Validation on `volume` with the default grid of post-processing settings.
    #[must_use]
    pub fn new(volume: VolumeEntry) -> Self {
        Self {
            volume,
            methods: default_methods(),
            scorings: default_scorings(),
            thresholds: default_thresholds(),
        }
    }
}

/// The objective between predicted affinities and targets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// Mean squared error.
    Mse,
    /// Squared error with the rarer class weighted up per sample, summed over channels and averaged over voxels.
    WeightedMse,
    /// Binary cross-entropy on logits with the same weights, averaged over voxels and channels.
    Bce,
}

/// Groups of parameters by the prefix of their official name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Modules {
    /// The whole network.
    #[serde(rename = "all")]
    All,
    /// The Mamba encoder, `vit.*`.
    #[serde(rename = "mamba")]
    Mamba,
    /// The convolutional skip encoders, `encoder1..5`.
    #[serde(rename = "encoder")]
    Encoder,
    /// The decoder, `decoder1..5`.
    #[serde(rename = "decoder")]
    Decoder,
    /// `mamba` and `encoder` together.
    #[serde(rename = "mamba+encoder")]
    MambaEncoder,
}

impl std::str::FromStr for Modules {
    type Err = TrainError;

    fn from_str(text: &str) -> Result<Self, TrainError> {
        match text {
            "all" => Ok(Self::All),
            "mamba" => Ok(Self::Mamba),
            "encoder" => Ok(Self::Encoder),
            "decoder" => Ok(Self::Decoder),
            "mamba+encoder" => Ok(Self::MambaEncoder),
            other => Err(TrainError::Config(format!(
                "modules `{other}` is none of all, mamba, encoder, decoder, mamba+encoder"
            ))),
        }
    }
}

impl Modules {
    /// Whether the parameter with this official name is trained.
    #[must_use]
    pub fn trains(self, official_name: &str) -> bool {
        let has = |prefix: &str| official_name.starts_with(prefix);
        has("out.")
            || match self {
                Self::All => true,
                Self::Mamba => has("vit."),
                Self::Encoder => has("encoder"),
                Self::Decoder => has("decoder"),
                Self::MambaEncoder => has("vit.") || has("encoder"),
            }
    }
}

impl FinetuneConfig {
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

    /// The architecture that `architecture` or else `preset` names (`init` is looked at when the network is built).
    ///
    /// # Errors
    /// `preset` is unknown.
    pub fn resolved_architecture(&self) -> Result<EmMambaConfig, TrainError> {
        named_architecture(self.architecture.as_ref(), &self.preset)
    }

    /// Checks what can be checked before any data is opened.
    ///
    /// # Errors
    /// A field is out of its range; the message names it.
    pub fn check(&self) -> Result<(), TrainError> {
        let refuse = |text: &str| Err(TrainError::Config(text.to_string()));
        if self.volumes.is_empty() {
            return refuse("no training volume: give `volumes` at least one entry with raw and labels");
        }
        if self.steps == 0 {
            return refuse("steps must be at least 1");
        }
        check_crops(self.crop_zyx, self.batch.saturating_mul(self.accumulate))?;
        let sound = |i: usize| (1..=4096).contains(&self.tile_zyx[i]) && self.halo_zyx[i] <= 4096;
        let whole = |i: usize| (self.tile_zyx[i] + 2 * self.halo_zyx[i]).is_multiple_of(16);
        if !((0..3).all(sound) && whole(1) && whole(2)) {
            return refuse("tile_zyx + 2 × halo_zyx must be multiples of 16 in y and x, and none above 4096");
        }
        if self.plan_z && (self.init.is_some() || self.architecture.is_some()) {
            return refuse(
                "plan_z: `init` and `architecture` say by themselves where z is halved and convolved over; leave plan_z out",
            );
        }
        self.ema.map_or(Ok(()), |momentum| check_momentum("ema", momentum))?;
        self.optimiser.check()?;
        self.augmentation.check().map_err(TrainError::Config)?;
        if let Some(validation) = &self.validation {
            if validation.methods.is_empty()
                || validation.scorings.is_empty()
                || validation.thresholds.is_empty()
            {
                return refuse("validation: methods, scorings and thresholds need at least one entry each");
            }
            if validation.thresholds.iter().any(|t| !(0.0..=1.0).contains(t)) {
                return refuse("validation.thresholds must lie in 0..1");
            }
        }
        Ok(())
    }

    /// The settings that decide every number of the run, as one hash; its length, how often it is validated or saved and
    /// how much memory it may take are left out, so that they can change when a run is resumed. From then on the
    /// learning rate follows the curve of the new length.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let neutral = FinetuneConfig::default();
        let mut config = self.clone();
        config.steps = neutral.steps;
        config.validate_every = neutral.validate_every;
        config.checkpoint_every = neutral.checkpoint_every;
        config.keep_checkpoints = neutral.keep_checkpoints;
        config.memory_mib = neutral.memory_mib;
        config.checkpoint_activations = neutral.checkpoint_activations;
        config.validation = None;
        config.licence.clear();
        config.notes.clear();
        tu_model::sha256_hex(serde_json::to_string(&config).unwrap_or_default().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tu_model::Preset;

    #[test]
    fn settings_survive_being_written_and_read() {
        let phantom = crate::phantom::PhantomConfig::default();
        let entry = VolumeEntry { phantom: Some(phantom), weight: Some(0.3), ..VolumeEntry::default() };
        let config = FinetuneConfig {
            volumes: vec![VolumeEntry::labelled("a.zarr/raw", "a.zarr/labels"), entry.clone()],
            validation: Some(ValidationConfig::new(entry)),
            architecture: Some(EmMambaConfig::preset(Preset::Small)),
            voxel_nm_zyx: Some([30.0, 8.0, 8.0]),
            intensity: IntensityRule::Range { low: 10.0, high: 200.5 },
            modules: Modules::MambaEncoder,
            ..FinetuneConfig::default()
        };
        let text = config.to_toml().unwrap();
        let read: FinetuneConfig = toml::from_str(&text).unwrap();
        assert_eq!(read, config);
        assert_eq!(read.fingerprint(), config.fingerprint());
    }

    #[test]
    fn the_settings_of_the_shipped_model_are_read_and_pass_the_checks() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models/tiny-fib25.toml");
        let config = FinetuneConfig::from_toml_file(&path).unwrap();
        config.check().unwrap();
        assert!(
            config
                .validation
                .is_some_and(|v| v.volume.begin_zyx == Some([180, 0, 0]) && !v.methods.is_empty())
        );
    }

    #[test]
    fn a_misspelt_setting_is_named() {
        let error = toml::from_str::<FinetuneConfig>("learning_rate = 1.0").unwrap_err().to_string();
        assert!(error.contains("learning_rate"), "{error}");
        let error = toml::from_str::<FinetuneConfig>("[[volumes]]\nrow = \"x\"").unwrap_err().to_string();
        assert!(error.contains("row"), "{error}");
    }

    #[test]
    fn on_resume_the_length_and_the_housekeeping_may_differ_and_nothing_else() {
        let base = FinetuneConfig::default();
        let same = FinetuneConfig {
            steps: 7,
            validate_every: 7,
            keep_checkpoints: 9,
            checkpoint_activations: true,
            ..base.clone()
        };
        assert_eq!(base.fingerprint(), same.fingerprint());
        for other in [FinetuneConfig { seed: 7, ..base.clone() }, FinetuneConfig { batch: 2, ..base.clone() }]
        {
            assert_ne!(base.fingerprint(), other.fingerprint());
        }
    }

    #[test]
    fn settings_out_of_range_are_refused_by_name() {
        let sound =
            FinetuneConfig { volumes: vec![VolumeEntry::labelled("r", "l")], ..FinetuneConfig::default() };
        sound.check().unwrap();
        let cases = [
            (FinetuneConfig { volumes: vec![], ..sound.clone() }, "volumes"),
            (FinetuneConfig { batch: 0, ..sound.clone() }, "batch"),
            (FinetuneConfig { crop_zyx: [16, 100, 96], ..sound.clone() }, "crop_zyx"),
            (FinetuneConfig { crop_zyx: [usize::MAX, 16, 16], ..sound.clone() }, "crop_zyx"),
            (FinetuneConfig { halo_zyx: [4, 1, 1], ..sound.clone() }, "halo_zyx"),
            (FinetuneConfig { tile_zyx: [1, usize::MAX - 1, 16], ..sound.clone() }, "halo_zyx"),
        ];
        for (config, name) in cases {
            let error = config.check().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
