//! The network that a new run begins with.

use std::path::Path;

use burn::tensor::Device;
use tu_model::{EmMamba, ModelMetadata};

use super::super::PretrainConfig;
use crate::data::Sampler;
use crate::training::{TrainError, load_model, transfer};

/// Random weights, or those of `init` with a fresh head where its channel count differs.
pub(super) fn initial_network(
    config: &PretrainConfig,
    device: &Device,
    sampler: &Sampler,
) -> Result<(EmMamba, ModelMetadata, Option<String>), TrainError> {
    let mut architecture = config.resolved_architecture()?;
    let mut preset = config.architecture.is_none().then(|| config.preset.clone());
    let mut start = "random weights".to_string();
    let mut load_report = None;
    let network = match &config.init {
        None => {
            architecture.check().map_err(|e| TrainError::Config(e.to_string()))?;
            architecture.init_seeded(device, config.seed)
        }
        Some(path) => {
            let bytes = std::fs::read(path).map_err(|e| TrainError::io("read", Path::new(path), e))?;
            let (source, metadata) = load_model(&bytes, path, device)?;
            preset = metadata.preset;
            architecture = metadata.architecture;
            architecture.out_channels = 1;
            let (network, report) =
                transfer(&source, architecture.init_seeded(device, config.seed), |_| true);
            report.check(path)?;
            load_report = Some(format!("{path}: {report}"));
            start = format!("{path} (sha256 {})", tu_model::sha256_hex(&bytes));
            network
        }
    };
    if architecture.in_channels != 1 {
        return Err(TrainError::Config("architecture: pretraining takes one input channel".into()));
    }
    let voxel_nm = config.voxel_nm_zyx.unwrap_or_else(|| sampler.volumes()[0].voxel_nm_zyx());
    let mut metadata = ModelMetadata::for_reconstruction(architecture, voxel_nm, config.crop_zyx);
    metadata.preset = preset;
    metadata.intensity = config.intensity;
    metadata.licence = config.licence.clone();
    metadata.provenance.training_data = sampler
        .volumes()
        .iter()
        .map(|v| format!("{} {:?}+{:?}", v.name(), v.begin_zyx(), v.shape_zyx()))
        .collect();
    let weights = config.weights.map_or_else(String::new, |weights| format!(", weights {weights:?}"));
    metadata.provenance.objective = format!(
        "token prediction ({}{weights}), tokens of {:?} voxels, from {start}",
        config.objective.name(),
        config.patch_zyx
    );
    metadata.provenance.seed = config.seed;
    metadata.provenance.notes = config.notes.clone();
    Ok((network, metadata, load_report))
}
