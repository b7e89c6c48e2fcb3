//! Writing zarr 3: an OME-NGFF 0.5 image of one scale, so that Neuroglancer shows it in nanometres.
//!
//! `V.zarr/zarr.json` is the image, `V.zarr/0` its array. The attributes `resolution` (nm) and `voxel_offset`
//! (voxels), both in the order of the array's axes, say the same to readers that do not know OME.

use super::{OpenedZarr, errors, open, store::SourceStore};
use crate::{
    NewVolume, UrlFormat, VolumeError,
    description::{Description, STATE_KEY},
    region::Frame,
    source::{MetadataSource, Source, file::FileSource, now, parse_json},
};
use serde_json::{Map, Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use zarrs::array::{Array, ArrayBytes, ArrayError};

/// The name of the array inside the image.
const FINEST: &str = "0";
const ZSTD_LEVEL: i32 = 3;

/// A volume that can be written.
pub(crate) struct ZarrWriter {
    array: Array<SourceStore>,
    description: Description,
    leading: usize,
    documents: Mutex<Vec<(FileSource, Value)>>,
}

impl ZarrWriter {
    /// Writes the metadata of a new volume at `files`, and of the groups above it that do not exist yet.
    pub(crate) fn create(
        files: &FileSource,
        groups: &[FileSource],
        url: &str,
        spec: &NewVolume,
    ) -> Result<Self, VolumeError> {
        let source = Source::File(files.clone());
        if now(super::node::read(&source, UrlFormat::Zarr))?.is_some() {
            return Err(VolumeError::Exists { input: url.to_owned() });
        }
        for group in groups {
            if now(Source::File(group.clone()).document("zarr.json"))?.is_none() {
                store_document(group, &group_document(&Map::new()))?;
            }
        }
        let (image, array) = documents_of(spec);
        store_document(&files.child(FINEST), &array)?;
        store_document(files, &image)?;
        Self::open(files, url)
    }

    /// Continues a volume that [`create`](Self::create) made.
    pub(crate) fn open(files: &FileSource, url: &str) -> Result<Self, VolumeError> {
        let source = Source::File(files.clone());
        let opened =
            now(open::open(&source, url, UrlFormat::Zarr3, 0))?.ok_or_else(|| VolumeError::NotFound {
                input: url.to_owned(),
                cause: "there is no zarr.json".to_owned(),
                remedy: "check the path; only zarr version 3 can be written".to_owned(),
            })?;
        let OpenedZarr { description, layout, source, metadata, object_limit, within_image } = opened;
        let Source::File(array_files) = &source else {
            return Err(VolumeError::unsupported(url, "writing over HTTP", "write to a folder"));
        };
        let mut folders = vec![array_files.clone()];
        if within_image && let Some(above) = array_files.root().parent() {
            folders.push(FileSource::new(above.to_owned()));
        }
        let documents = folders
            .into_iter()
            .map(|folder| {
                let source = Source::File(folder.clone());
                let input = source.describe("zarr.json");
                let bytes = now(source.document("zarr.json"))?
                    .ok_or_else(|| VolumeError::metadata(&input, "the document is missing"))?;
                Ok((folder, parse_json(&input, &bytes)?))
            })
            .collect::<Result<_, VolumeError>>()?;
        let store = Arc::new(SourceStore { source, object_limit });
        let array =
            Array::new_with_metadata(store, "/", metadata).map_err(|e| errors::from_create(url, &e))?;
        Ok(Self { array, description, leading: layout.leading, documents: Mutex::new(documents) })
    }

    pub(crate) fn description(&self) -> &Description {
        &self.description
    }

    /// How a chunk's bytes lie in the volume: chunks at the border reach over it.
    pub(crate) fn frame(&self, index: [u64; 3]) -> Frame {
        let chunk = self.description.chunk_zyx;
        Frame { origin: std::array::from_fn(|d| index[d] * chunk[d]), shape: chunk.map(|n| n as usize) }
    }

    fn indices(&self, index: [u64; 3]) -> Vec<u64> {
        [vec![0; self.leading], index.to_vec()].concat()
    }

    pub(crate) fn read_chunk(&self, index: [u64; 3]) -> Result<Option<Vec<u8>>, VolumeError> {
        let indices = self.indices(index);
        let bytes: Option<ArrayBytes<'_>> =
            self.array.retrieve_chunk_if_exists(&indices).map_err(|e| self.failure(&indices, &e))?;
        bytes
            .map(|bytes| Ok(bytes.into_fixed().map_err(|e| self.failure(&indices, &e.into()))?.into_owned()))
            .transpose()
    }

    pub(crate) fn write_chunk(&self, index: [u64; 3], bytes: Vec<u8>) -> Result<(), VolumeError> {
        let indices = self.indices(index);
        self.array.store_chunk(&indices, ArrayBytes::from(bytes)).map_err(|e| self.failure(&indices, &e))
    }

    fn failure(&self, indices: &[u64], error: &ArrayError) -> VolumeError {
        errors::from_source(error).unwrap_or_else(|| VolumeError::Chunk {
            input: self.description.url.clone(),
            chunk: self.array.chunk_key(indices).to_string(),
            cause: error.to_string(),
        })
    }

    /// Stores the attributes in the array and, last, in the image.
    pub(crate) fn update(&self, attributes: &Map<String, Value>, complete: bool) -> Result<(), VolumeError> {
        let mut documents = self.documents.lock().unwrap_or_else(PoisonError::into_inner);
        for (folder, document) in documents.iter_mut() {
            if let Some(fields) = document.as_object_mut() {
                let stored = fields.entry("attributes").or_insert_with(|| json!({}));
                if let Some(stored) = stored.as_object_mut() {
                    stored.extend(
                        attributes.iter().filter(|(k, _)| *k != "ome").map(|(k, v)| (k.clone(), v.clone())),
                    );
                    stored.insert(STATE_KEY.to_owned(), json!({ "complete": complete }));
                }
            }
            store_document(folder, document)?;
        }
        Ok(())
    }
}

fn store_document(folder: &FileSource, document: &Value) -> Result<(), VolumeError> {
    folder.write("zarr.json", format!("{document:#}\n").as_bytes())
}

fn group_document(attributes: &Map<String, Value>) -> Value {
    json!({ "zarr_format": 3, "node_type": "group", "attributes": attributes })
}

/// One value per axis of the array: `leading` for the channel axis, if there is one, then the three of space.
fn per_axis<T: Into<Value>>(spec: &NewVolume, leading: T, zyx: [T; 3]) -> Vec<Value> {
    let leading = spec.channels.map(|_| leading.into());
    leading.into_iter().chain(zyx.into_iter().map(Into::into)).collect()
}

/// The metadata of the image and of its array.
fn documents_of(spec: &NewVolume) -> (Value, Value) {
    let mut attributes = spec.attributes.clone();
    if let Some(nm) = spec.voxel_nm_zyx {
        attributes.insert("resolution".to_owned(), per_axis(spec, 1.0, nm).into());
    }
    attributes.insert("voxel_offset".to_owned(), per_axis(spec, 0, spec.voxel_offset_zyx).into());
    attributes.insert(STATE_KEY.to_owned(), json!({ "complete": false }));

    let mut axes = Vec::new();
    if spec.channels.is_some() {
        axes.push(json!({ "name": "c", "type": "channel" }));
    }
    for name in ["z", "y", "x"] {
        axes.push(match spec.voxel_nm_zyx {
            Some(_) => json!({ "name": name, "type": "space", "unit": "nanometer" }),
            None => json!({ "name": name, "type": "space" }),
        });
    }
    let nm = spec.voxel_nm_zyx.unwrap_or([1.0; 3]);
    let mut transformations = vec![json!({ "type": "scale", "scale": per_axis(spec, 1.0, nm) })];
    if spec.voxel_offset_zyx != [0; 3] {
        let at: [f64; 3] = std::array::from_fn(|d| spec.voxel_offset_zyx[d] as f64 * nm[d]);
        transformations.push(json!({ "type": "translation", "translation": per_axis(spec, 0.0, at) }));
    }
    let mut of_image = attributes.clone();
    of_image.insert(
        "ome".to_owned(),
        json!({
            "version": "0.5",
            "multiscales": [{
                "axes": axes,
                "datasets": [{ "path": FINEST, "coordinateTransformations": transformations }],
            }],
        }),
    );
    let channels = spec.channels.unwrap_or(1) as u64;
    let chunk = spec.chunk_zyx.map(|n| n as u64);
    let fill_value = if spec.data_type.is_float() { json!(0.0) } else { json!(0) };
    let array = json!({
        "zarr_format": 3,
        "node_type": "array",
        "shape": per_axis(spec, channels, spec.shape_zyx),
        "data_type": spec.data_type.name(),
        "chunk_grid": { "name": "regular", "configuration": { "chunk_shape": per_axis(spec, channels, chunk) } },
        "chunk_key_encoding": { "name": "default", "configuration": { "separator": "/" } },
        "fill_value": fill_value,
        "codecs": [
            { "name": "bytes", "configuration": { "endian": "little" } },
            { "name": "zstd", "configuration": { "level": ZSTD_LEVEL, "checksum": false } },
        ],
        "attributes": attributes,
        "dimension_names": per_axis(spec, "c", ["z", "y", "x"]),
    });
    (group_document(&of_image), array)
}
