//! PyTorch checkpoints of the published EMmamba, imported as model files.
//!
//! ```text
//! archive ─► pickle machine ─► state_dict ─► architecture ─► mapping ─► values ─► model file
//!   zip        no code runs      names         shapes         report     f32
//! ```
//! The result is a `compat` network (z strided by 2, five slices, no residual), whose outputs are those of the PyTorch
//! network. A file is hostile until it has been read: what is allocated is bounded by constants or by the file's size.

mod architecture;
mod archive;
mod checkpoint;
mod error;
#[cfg(test)]
mod forge;
mod mapping;
mod pickle;
mod report;
mod state_dict;
mod tensor;

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};

use sha2::{Digest, Sha256};
use tu_model::{EmMambaConfig, ModelMetadata, StoredFloat, save_tensors};
use tu_segment::{EdgeStatistic, FragmentMethod};

pub use error::ImportError;
pub use report::{CheckpointKind, ImportReport, LoneTensor, Mismatch};

use checkpoint::Checkpoint;
use mapping::Mapping;
use pickle::{Pickle, Value};
use state_dict::StateDict;

/// Voxel size of the published training volumes (mouse medial entorhinal cortex), nanometres z, y, x.
pub const PUBLISHED_VOXEL_NM_ZYX: [f64; 3] = [35.0, 8.0, 8.0];
/// Licence of weights that come without one.
pub const UNKNOWN_LICENCE: &str =
    "unknown: the checkpoint states no licence; ask its authors before you use or pass on the weights";
/// Tile of an imported model. With the halo it makes the window that the published network was trained on,
/// 16 × 160 × 160, which can be halved four times along each axis and has 5 × 20 tokens at the coarsest stage.
const TILE_ZYX: [usize; 3] = [8, 128, 128];
const HALO_ZYX: [usize; 3] = [4, 16, 16];

/// What a checkpoint does not say about itself.
#[derive(Clone, Debug)]
pub struct Origin {
    /// Name of the file, for the model's provenance.
    pub name: String,
    /// Voxel size of the training data in nanometres (z, y, x).
    pub voxel_nm_zyx: [f64; 3],
    /// Licence of the weights (SPDX or a sentence).
    pub licence: String,
    /// Remarks for the model's provenance.
    pub notes: String,
}

/// What came out of an import.
#[derive(Debug)]
pub struct Imported {
    /// What was found and what became of it.
    pub report: ImportReport,
    /// SHA-256 of the checkpoint.
    pub sha256: String,
    /// Bytes of the model file; `None` when tensors are missing or unfit, as the report says.
    pub model: Option<Vec<u8>>,
}

/// Imports a checkpoint.
///
/// # Errors
/// [`ImportError`] when it cannot be read or holds no EMmamba. Tensors that are missing or unfit are no error here: the
/// report names them, and there is no model.
pub fn import<R: Read + Seek>(mut reader: R, origin: &Origin) -> Result<Imported, ImportError> {
    let sha256 = sha256_of(&mut reader)?;
    let (mut checkpoint, pickle) = Checkpoint::open(reader)?;
    let state = StateDict::find(&pickle)?;
    let architecture = architecture::infer(&state)?;
    let mapping = Mapping::new(&architecture, &state);
    // Tensors that share a storage could claim many times its size.
    if mapping.bytes().is_none_or(|bytes| bytes > checkpoint.bytes()) {
        return Err(ImportError::Weights("the tensors claim more bytes than the file has".to_owned()));
    }
    let mut report = describe(&pickle, &state, architecture);
    let mut values = HashMap::new();
    if mapping.missing.is_empty() && mapping.mismatched.is_empty() {
        // In the order of storages, so that each is read once.
        let mut by_storage: Vec<_> = mapping.mapped.iter().collect();
        by_storage.sort_by_key(|(_, tensor)| &tensor.storage().key);
        for (name, tensor) in by_storage {
            let read = checkpoint.values(tensor)?;
            if read.iter().all(|value| value.is_finite()) {
                values.insert(name.as_str(), read);
            } else {
                let cause = "holds values that are not finite".to_owned();
                report.mismatched.push(Mismatch { name: name.clone(), cause });
            }
        }
    }
    report.missing = mapping.missing;
    report.mismatched.extend(mapping.mismatched);
    report.unexpected = mapping.unexpected;
    let unfit = |name: &String| report.mismatched.iter().any(|m| m.name == *name);
    report.mapped = mapping.mapped.iter().map(|(name, _)| name.clone()).filter(|name| !unfit(name)).collect();
    let model = if report.is_complete() {
        let metadata = metadata(&report, origin, &sha256);
        let tensors = mapping.mapped.iter().map(|(name, tensor)| {
            (name.clone(), tensor.shape().to_vec(), values.remove(name.as_str()).unwrap_or_default())
        });
        Some(save_tensors(tensors, &metadata, StoredFloat::F32)?)
    } else {
        None
    };
    Ok(Imported { report, sha256, model })
}

/// SHA-256 of all of a reader, in lower-case hexadecimal.
fn sha256_of<R: Read + Seek>(reader: &mut R) -> Result<String, ImportError> {
    let mut hash = Sha256::new();
    let mut block = vec![0; 1 << 20];
    reader.seek(SeekFrom::Start(0))?;
    loop {
        match reader.read(&mut block)? {
            0 => break,
            read => hash.update(&block[..read]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The report before anything is mapped.
fn describe(pickle: &Pickle, state: &StateDict<'_>, architecture: EmMambaConfig) -> ImportReport {
    let kind = match architecture.out_channels {
        _ if !state.next_token_head.is_empty() => CheckpointKind::Autoregressive,
        3 => CheckpointKind::Affinities,
        1 => CheckpointKind::Reconstruction,
        _ => CheckpointKind::Other,
    };
    let mut warnings = Vec::new();
    if architecture.out_channels != 3 {
        warnings.push(
            "the network does not give affinities: fine-tune it before segmenting (tu-train finetune --init)"
                .to_owned(),
        );
    }
    if architecture.z_stride != 2 {
        warnings.push(
            "the network keeps z, which the published one does not: its number of slices (5) and its lack of residuals are assumed"
                .to_owned(),
        );
    }
    let epoch = pickle.dict(pickle.root()).and_then(|entries| match entries.get("epoch") {
        Some(Value::Int(epoch)) => Some(*epoch),
        _ => None,
    });
    ImportReport {
        kind,
        weights_under: state.location.clone(),
        epoch,
        preset: architecture::preset(&architecture).map(tu_model::Preset::name),
        parameters: architecture.parameter_count(),
        architecture,
        mapped: Vec::new(),
        missing: Vec::new(),
        unexpected: Vec::new(),
        mismatched: Vec::new(),
        ignored: state.counters.iter().chain(&state.next_token_head).cloned().collect(),
        ignored_objects: pickle.ignored().iter().cloned().collect(),
        warnings,
    }
}

/// Metadata of the model; fragments and agglomeration as in the published evaluation.
fn metadata(report: &ImportReport, origin: &Origin, sha256: &str) -> ModelMetadata {
    let mut metadata = ModelMetadata::for_affinities(report.architecture.clone(), origin.voxel_nm_zyx);
    metadata.preset = report.preset.map(str::to_owned);
    metadata.tile_zyx = TILE_ZYX;
    metadata.halo_zyx = HALO_ZYX;
    match report.architecture.out_channels {
        3 => {}
        channels => {
            metadata.channels = match channels {
                1 => vec!["intensity".to_owned()],
                _ => (0..channels).map(|channel| format!("output_{channel}")).collect(),
            };
            metadata.offsets_zyx = Vec::new();
        }
    }
    metadata.fragment_method = FragmentMethod::Slice(Default::default());
    metadata.scoring = EdgeStatistic::Quantile(50).into();
    metadata.threshold = 0.5;
    metadata.licence.clone_from(&origin.licence);
    metadata.provenance.objective =
        format!("{}, imported from {} (sha256 {sha256})", report.kind.description(), origin.name);
    let epoch = report.epoch.map(|epoch| format!("epoch {epoch}"));
    let notes = epoch.into_iter().chain(Some(origin.notes.clone()).filter(|notes| !notes.is_empty()));
    metadata.provenance.notes = notes.collect::<Vec<_>>().join("; ");
    metadata
}

#[cfg(test)]
mod tests;
