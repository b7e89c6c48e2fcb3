//! `model.safetensors`: the one model file of both hosts.
//!
//! Tensors carry the published parameter names and shapes, as f32 or f16; `__metadata__["tokenunify"]` holds
//! [`ModelMetadata`] as JSON.  Bytes are hostile: the header is bounded, the architecture is checked before
//! anything is allocated, and a file whose tensors are not exactly those of its architecture is refused.

use std::collections::{BTreeMap, HashMap};

use burn::tensor::{Device, TensorData};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use sha2::{Digest, Sha256};

use crate::initialiser::Initialiser;
use crate::metadata::ModelMetadata;
use crate::names::{named_tensors, parameter_names, replace_parameters};
use crate::network::EmMamba;

/// Key of the metadata inside the safetensors header.
const METADATA_KEY: &str = "tokenunify";
/// The largest header that is read: names and shapes of the largest preset need under 100 kB.
const MAX_HEADER_BYTES: u64 = 8 << 20;

/// Storage type of the weights in a file; in memory they are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoredFloat {
    /// 32 bits.
    F32,
    /// 16 bits, IEEE half.
    F16,
}

/// Why a model file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// Not a safetensors file, or a damaged one.
    #[error("not a readable model file ({0}); download it again, or convert it with `tu-train import`")]
    Container(String),
    /// A safetensors file without, or with unreadable, `tokenunify` metadata.
    #[error("the model file has no usable `tokenunify` metadata ({0}); it was not written by tu-train")]
    Metadata(String),
    /// Tensors do not fit the architecture that the file itself declares.
    #[error("the model file contradicts its own architecture: {0}; it is damaged or was edited")]
    Mismatch(String),
}

/// Writes a model as bytes of a safetensors file.
///
/// # Errors
/// [`ModelFileError::Metadata`] when the metadata do not describe a runnable model.
pub fn save(
    model: &EmMamba,
    metadata: &ModelMetadata,
    stored: StoredFloat,
) -> Result<Vec<u8>, ModelFileError> {
    let tensors = named_tensors(model).into_iter().map(|t| (t.name, t.shape, t.values));
    save_tensors(tensors, metadata, stored)
}

/// As [`save`], for parameters (published name, shape, values in C order) that are not in a network.
///
/// They are to be those of [`published_shapes`](crate::shapes::published_shapes); [`load`] refuses any others.
///
/// # Errors
/// As [`save`]; [`ModelFileError::Container`] when values do not fill their shape.
pub fn save_tensors(
    tensors: impl IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>,
    metadata: &ModelMetadata,
    stored: StoredFloat,
) -> Result<Vec<u8>, ModelFileError> {
    if let Some(defect) = metadata.defect() {
        return Err(ModelFileError::Metadata(defect));
    }
    let json = serde_json::to_string(metadata).map_err(|e| ModelFileError::Metadata(e.to_string()))?;
    let mut encoded: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for (name, shape, values) in tensors {
        let bytes = match stored {
            StoredFloat::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            StoredFloat::F16 => values.iter().flat_map(|v| f16::from_f32(*v).to_le_bytes()).collect(),
        };
        encoded.insert(name, (shape, bytes));
    }
    let dtype = match stored {
        StoredFloat::F32 => Dtype::F32,
        StoredFloat::F16 => Dtype::F16,
    };
    let views: Result<BTreeMap<&str, TensorView<'_>>, _> = encoded
        .iter()
        .map(|(name, (shape, bytes))| Ok((name.as_str(), TensorView::new(dtype, shape.clone(), bytes)?)))
        .collect();
    let container = |e: safetensors::SafeTensorError| ModelFileError::Container(e.to_string());
    let header = HashMap::from([(METADATA_KEY.to_owned(), json)]);
    safetensors::serialize(views.map_err(container)?, Some(header)).map_err(container)
}

/// The same file with other metadata; its tensors keep their bytes.
///
/// # Errors
/// [`ModelFileError::Container`] when `bytes` are no safetensors file, [`ModelFileError::Metadata`] as in [`save`].
pub fn replace_metadata(bytes: &[u8], metadata: &ModelMetadata) -> Result<Vec<u8>, ModelFileError> {
    if let Some(defect) = metadata.defect() {
        return Err(ModelFileError::Metadata(defect));
    }
    let container = |e: safetensors::SafeTensorError| ModelFileError::Container(e.to_string());
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(container)?;
    let mut entries = header.metadata().clone().unwrap_or_default();
    let json = serde_json::to_string(metadata).map_err(|e| ModelFileError::Metadata(e.to_string()))?;
    entries.insert(METADATA_KEY.to_owned(), json);
    let tensors = SafeTensors::deserialize(bytes).map_err(container)?;
    safetensors::serialize(tensors.tensors(), Some(entries)).map_err(container)
}

/// Reads the metadata alone, without building the network.
///
/// # Errors
/// As [`load`], except for tensors.
pub fn read_metadata(bytes: &[u8]) -> Result<ModelMetadata, ModelFileError> {
    let header_bytes = bytes
        .first_chunk::<8>()
        .map(|b| u64::from_le_bytes(*b))
        .ok_or_else(|| ModelFileError::Container(format!("{} bytes are too few", bytes.len())))?;
    if header_bytes > MAX_HEADER_BYTES {
        return Err(ModelFileError::Container(format!("its header claims {header_bytes} bytes")));
    }
    let (_, header) =
        SafeTensors::read_metadata(bytes).map_err(|e| ModelFileError::Container(e.to_string()))?;
    let json = header
        .metadata()
        .as_ref()
        .and_then(|m| m.get(METADATA_KEY))
        .ok_or_else(|| ModelFileError::Metadata("the key is missing".to_owned()))?;
    let metadata: ModelMetadata =
        serde_json::from_str(json).map_err(|e| ModelFileError::Metadata(e.to_string()))?;
    match metadata.defect() {
        Some(defect) => Err(ModelFileError::Metadata(defect)),
        None => Ok(metadata),
    }
}

/// Reads a model onto a device.
///
/// # Errors
/// [`ModelFileError`] when the bytes are not a model file, or when tensors are missing, unexpected or of
/// another shape than the declared architecture has; nothing larger than the file is allocated before that.
pub fn load(bytes: &[u8], device: &Device) -> Result<(EmMamba, ModelMetadata), ModelFileError> {
    let metadata = read_metadata(bytes)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| ModelFileError::Container(e.to_string()))?;
    let expected = metadata.architecture.parameter_count();
    let stored: usize = tensors.tensors().iter().map(|(_, t)| t.shape().iter().product::<usize>()).sum();
    if stored != expected {
        return Err(ModelFileError::Mismatch(format!("{stored} values where {expected} are needed")));
    }
    let blank = EmMamba::new(&metadata.architecture, &mut Initialiser::blank(device));
    let mut unused: Vec<String> = tensors.names().iter().map(|n| (*n).to_owned()).collect();
    for (name, shape, _) in parameter_names(&blank) {
        let view = tensors
            .tensor(&name)
            .map_err(|_| ModelFileError::Mismatch(format!("tensor {name} {shape:?} is missing")))?;
        if view.shape() != shape {
            let found = view.shape();
            return Err(ModelFileError::Mismatch(format!("{name} is {found:?} instead of {shape:?}")));
        }
        if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16) {
            return Err(ModelFileError::Mismatch(format!("{name} is stored as {:?}", view.dtype())));
        }
        unused.retain(|n| *n != name);
    }
    if let Some(name) = unused.first() {
        return Err(ModelFileError::Mismatch(format!("tensor {name} is not a part of the network")));
    }
    let mut not_finite = None;
    let model = replace_parameters(blank, |name, shape| {
        let view = tensors.tensor(name).ok()?;
        let values = decode(&view);
        if not_finite.is_none() && values.iter().any(|v| !v.is_finite()) {
            not_finite = Some(name.to_owned());
        }
        Some(TensorData::new(values, shape.to_vec()))
    });
    match not_finite {
        Some(name) => Err(ModelFileError::Mismatch(format!("{name} holds values that are not finite"))),
        None => Ok((model, metadata)),
    }
}

fn decode(view: &TensorView<'_>) -> Vec<f32> {
    let halves = |f: fn([u8; 2]) -> f32| view.data().as_chunks::<2>().0.iter().map(|b| f(*b)).collect();
    match view.dtype() {
        Dtype::F16 => halves(|b| f16::from_le_bytes(b).to_f32()),
        Dtype::BF16 => halves(|b| half::bf16::from_le_bytes(b).to_f32()),
        _ => view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    }
}

/// SHA-256 of `bytes` in lower-case hexadecimal, as manifests and checkpoints state it.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EmMambaConfig, Preset};

    fn micro() -> (EmMamba, ModelMetadata) {
        let config = EmMambaConfig {
            features: [4, 4, 8, 8],
            hidden: 8,
            depths: [1; 4],
            ..EmMambaConfig::preset(Preset::Tiny)
        };
        let model = config.init_seeded(&Device::flex(), 3);
        (model, ModelMetadata::for_affinities(config, [10.0; 3]))
    }

    #[test]
    fn a_model_comes_back_as_it_was_saved() {
        let (model, metadata) = micro();
        let bytes = save(&model, &metadata, StoredFloat::F32).unwrap();
        let (again, read) = load(&bytes, &Device::flex()).unwrap();
        assert_eq!(read.architecture, metadata.architecture);
        let (a, b) = (named_tensors(&model), named_tensors(&again));
        assert_eq!(a.len(), b.len());
        for (x, y) in a.iter().zip(&b) {
            assert_eq!((&x.name, &x.shape, &x.values), (&y.name, &y.shape, &y.values));
        }
        assert_eq!(save(&again, &read, StoredFloat::F32).unwrap(), bytes);
    }

    #[test]
    fn half_precision_storage_keeps_weights_to_one_part_in_a_thousand() {
        let (model, metadata) = micro();
        let bytes = save(&model, &metadata, StoredFloat::F16).unwrap();
        let (again, _) = load(&bytes, &Device::flex()).unwrap();
        for (x, y) in named_tensors(&model).iter().zip(&named_tensors(&again)) {
            for (p, q) in x.values.iter().zip(&y.values) {
                assert!((p - q).abs() <= 1e-3 * p.abs() + 1e-6, "{}: {p} {q}", x.name);
            }
        }
    }

    #[test]
    fn damaged_and_contradicting_files_are_refused() {
        let (model, metadata) = micro();
        let bytes = save(&model, &metadata, StoredFloat::F32).unwrap();
        let device = Device::flex();
        assert!(matches!(load(&[], &device), Err(ModelFileError::Container(_))));
        assert!(matches!(load(&bytes[..bytes.len() - 1], &device), Err(ModelFileError::Container(_))));
        let mut huge_header = bytes.clone();
        huge_header[..8].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(load(&huge_header, &device), Err(ModelFileError::Container(_))));

        let mut wider = metadata.clone();
        wider.architecture.features[0] = 6;
        let mut edited = save(&model, &wider, StoredFloat::F32).unwrap();
        assert!(matches!(load(&edited, &device), Err(ModelFileError::Mismatch(_))));

        let last = edited.len();
        edited = bytes;
        edited[last - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        assert!(matches!(load(&edited, &device), Err(ModelFileError::Mismatch(m)) if m.contains("finite")));

        let mut unfit = metadata;
        unfit.halo_zyx = [4, 15, 16];
        assert!(matches!(save(&model, &unfit, StoredFloat::F32), Err(ModelFileError::Metadata(_))));
    }

    #[test]
    fn the_published_network_has_its_291_tensors() {
        let config =
            EmMambaConfig { features: [4, 6, 8, 10], hidden: 12, ..EmMambaConfig::default().compat() };
        let names = parameter_names(&config.init(&Device::flex()));
        assert_eq!(names.len(), 291);
        let values: usize = names.iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum();
        assert_eq!(values, config.parameter_count());
        for expected in [
            "vit.downsample_layers.0.0.weight",
            "vit.downsample_layers.3.1.bias",
            "vit.stages.2.1.mamba.A_s_log",
            "vit.stages.0.0.mamba.D",
            "vit.stages.0.0.mamba.conv1d_b.weight",
            "vit.stages.0.0.mamba.dt_proj_s.bias",
            "vit.stages.0.0.mamba.x_proj.weight",
            "vit.gscs.1.proj4.bias",
            "vit.mlps.3.fc2.weight",
            "encoder1.layer.conv3.conv.weight",
            "decoder5.transp_conv.conv.weight",
            "decoder2.conv_block.conv2.conv.weight",
            "decoder1.layer.conv1.conv.weight",
            "out.conv.conv.bias",
        ] {
            assert!(names.iter().any(|(name, ..)| name == expected), "{expected} is missing");
        }
    }
}
