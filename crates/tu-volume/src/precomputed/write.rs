//! Writing volumes that stock Neuroglancer opens.

use super::{
    PrecomputedReader,
    info::{self, OpenedPrecomputed},
};
use crate::{
    DataType, NewVolume, VolumeError,
    description::STATE_KEY,
    region::Span,
    source::{MetadataSource, Source, now},
};
use serde_json::{Map, Value, json};
use std::sync::{Mutex, PoisonError};

/// A volume that can be written.
pub(crate) struct PrecomputedWriter {
    reader: PrecomputedReader,
    info: Mutex<Value>,
}

impl PrecomputedWriter {
    /// Writes the `info` of a new volume.
    pub(crate) fn create(source: &Source, url: &str, spec: &NewVolume) -> Result<Self, VolumeError> {
        if now(source.document("info"))?.is_some() {
            return Err(VolumeError::Exists { input: url.to_owned() });
        }
        let info = info_of(url, spec)?;
        source.write("info", pretty(&info).as_bytes())?;
        Self::open(source, url)
    }

    /// Continues a volume.
    pub(crate) fn open(source: &Source, url: &str) -> Result<Self, VolumeError> {
        let opened = now(info::open(source, url, 0))?.ok_or_else(|| VolumeError::NotFound {
            input: url.to_owned(),
            cause: "there is no info".to_owned(),
            remedy: "check the path".to_owned(),
        })?;
        let info = Mutex::new(opened.info.clone());
        Ok(Self { reader: PrecomputedReader(opened), info })
    }

    pub(crate) fn opened(&self) -> &OpenedPrecomputed<Source> {
        &self.reader.0
    }

    pub(crate) fn read_chunk(&self, span: &Span) -> Result<Option<Vec<u8>>, VolumeError> {
        self.reader.chunk(span)
    }

    pub(crate) fn write_chunk(&self, span: &Span, bytes: &[u8]) -> Result<(), VolumeError> {
        let opened = self.opened();
        opened.source.write(&opened.object(span), bytes)
    }

    /// Changes our own part of the `info` and stores it.
    pub(crate) fn update(&self, attributes: &Map<String, Value>, complete: bool) -> Result<(), VolumeError> {
        let mut info = self.info.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fields) = info.as_object_mut() {
            fields.insert(STATE_KEY.to_owned(), json!({ "complete": complete, "attributes": attributes }));
        }
        self.opened().source.write("info", pretty(&info).as_bytes())
    }
}

fn pretty(info: &Value) -> String {
    format!("{info:#}\n")
}

fn info_of(url: &str, spec: &NewVolume) -> Result<Value, VolumeError> {
    let kind = match spec.data_type {
        DataType::U8 | DataType::U16 | DataType::F32 => "image",
        DataType::U32 | DataType::U64 => "segmentation",
        other => {
            return Err(VolumeError::unsupported(
                url,
                format!("{other} in a precomputed volume"),
                "write it as zarr, or as u8, u16, u32, u64 or f32",
            ));
        }
    };
    let resolution = spec.voxel_nm_zyx.ok_or_else(|| VolumeError::Metadata {
        input: url.to_owned(),
        cause: "a precomputed volume needs a voxel size, and none is known".to_owned(),
        remedy: "state the voxel size in nanometres, or write zarr (a name that ends in .zarr)".to_owned(),
    })?;
    let xyz = |[z, y, x]: [f64; 3]| [x, y, z];
    let [x, y, z] = xyz(resolution);
    let [oz, oy, ox] = spec.voxel_offset_zyx;
    let [sz, sy, sx] = spec.shape_zyx;
    let [cz, cy, cx] = spec.chunk_zyx;
    Ok(json!({
        "@type": "neuroglancer_multiscale_volume",
        "type": kind,
        "data_type": spec.data_type.name(),
        "num_channels": spec.channels.unwrap_or(1),
        "scales": [{
            "key": format!("{x}_{y}_{z}"),
            "size": [sx, sy, sz],
            "resolution": [x, y, z],
            "voxel_offset": [ox, oy, oz],
            "chunk_sizes": [[cx, cy, cz]],
            "encoding": "raw",
        }],
        STATE_KEY: { "complete": false, "attributes": spec.attributes },
    }))
}
