//! From a folder to an array that can be read: descends through groups, applies OME metadata, judges sizes.

use super::{
    errors,
    layout::Layout,
    node::{self, Node},
    ome::{self, Multiscale},
};
use crate::{
    DataType, UrlFormat, VolumeError, codec,
    description::{Description, is_complete, last_three_f64, last_three_i64, plausible_size},
    limits::{self, checked_product},
    source::MetadataSource,
};
use serde_json::{Map, Value};
use std::sync::Arc;
use zarrs::array::{Array, ArrayMetadata};

/// Groups within groups that a bare URL is followed through.
const MAX_DEPTH: usize = 4;
/// Children that are listed in a message or looked into.
const MAX_CHILDREN: usize = 64;

/// An array whose metadata has been judged.
pub(crate) struct OpenedZarr<S> {
    pub(crate) description: Description,
    pub(crate) layout: Layout,
    pub(crate) source: S,
    pub(crate) metadata: ArrayMetadata,
    /// No stored object of it may be larger.
    pub(crate) object_limit: u64,
    /// Whether the array is a scale of an image, one folder below it.
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "writers alone read it, and browsers do not write")
    )]
    pub(crate) within_image: bool,
}

/// Opens what is at the root of `source`; `None` if that is no zarr hierarchy of the format asked for.
pub(crate) async fn open<S: MetadataSource>(
    source: &S,
    url: &str,
    format: UrlFormat,
    scale: usize,
) -> Result<Option<OpenedZarr<S>>, VolumeError> {
    let mut source = source.clone();
    let Some(mut node) = node::read(&source, format).await? else { return Ok(None) };
    let mut attributes = Map::new();
    let mut image = None;
    for _ in 0..MAX_DEPTH {
        match node {
            Node::Array { version, document } => {
                if image.is_none() && scale > 0 {
                    return Err(VolumeError::NotFound {
                        input: url.to_owned(),
                        cause: format!("scale {scale}: it is a single array"),
                        remedy: "ask for scale 0, or give the OME group that holds the scales".to_owned(),
                    });
                }
                return judge(source, url, version, &document, attributes, image.as_ref()).map(Some);
            }
            Node::Group { attributes: of_group, known_children } => {
                let here = source.describe("");
                let child = match ome::find(&of_group) {
                    Some(entry) => {
                        let found = ome::parse(&here, entry, scale)?;
                        let path = found.path.clone();
                        image = Some(found);
                        path
                    }
                    None => only_child(&source, url, format, known_children).await?,
                };
                source = source.child(&child);
                // The attributes of the group that is the image count; those of groups above it do not.
                attributes = of_group;
                node = node::read(&source, format).await?.ok_or_else(|| {
                    VolumeError::metadata(&here, format!("it lists {child:?}, but no such array is there"))
                })?;
            }
        }
    }
    Err(VolumeError::metadata(url, format!("groups are nested deeper than {MAX_DEPTH} levels")))
}

/// The only array or group inside a group; several are listed in the error.
async fn only_child<S: MetadataSource>(
    source: &S,
    url: &str,
    format: UrlFormat,
    known: Vec<String>,
) -> Result<String, VolumeError> {
    let mut names = Vec::new();
    let listing = if known.is_empty() { source.folders().unwrap_or_default() } else { known };
    for name in listing.into_iter().take(MAX_CHILDREN) {
        if node::read(&source.child(&name), format).await?.is_some() {
            names.push(name);
        }
    }
    let not_found =
        |cause: String, remedy: String| VolumeError::NotFound { input: url.to_owned(), cause, remedy };
    match names.as_slice() {
        [only] => Ok(only.clone()),
        [] => Err(not_found(
            "it is a zarr group, and no array could be found in it".to_owned(),
            "append the path of the array, as in x.zarr/raw or x.zarr|zarr3:raw".to_owned(),
        )),
        [first, ..] => Err(not_found(
            format!("it is a zarr group that holds {}", names.join(", ")),
            format!(
                "name one of them, as in {}/{first}",
                url.split('|').next().unwrap_or(url).trim_end_matches('/')
            ),
        )),
    }
}

/// Checks everything that an array's metadata claims before any of it is used.
fn judge<S: MetadataSource>(
    source: S,
    url: &str,
    version: u8,
    document: &Value,
    group_attributes: Map<String, Value>,
    image: Option<&Multiscale>,
) -> Result<OpenedZarr<S>, VolumeError> {
    let input = source.describe(if version == 3 { "zarr.json" } else { ".zarray" });
    let own: Map<String, Value> =
        document.get("attributes").and_then(Value::as_object).cloned().unwrap_or_default();
    let complete = is_complete(&group_attributes) && is_complete(&own);
    let mut attributes = group_attributes;
    attributes.extend(own);

    let shape = extents(&input, document, "/shape")?;
    let chunk_pointer = if version == 3 { "/chunk_grid/configuration/chunk_shape" } else { "/chunks" };
    if version == 3 && document.pointer("/chunk_grid/name").and_then(Value::as_str) != Some("regular") {
        return Err(VolumeError::unsupported(
            &input,
            "a chunk grid that is not regular",
            "rewrite it with equal chunks",
        ));
    }
    let chunk = extents(&input, document, chunk_pointer)?;
    if chunk.len() != shape.len() || chunk.contains(&0) {
        return Err(VolumeError::metadata(
            &input,
            format!("chunks {chunk:?} do not fit the shape {shape:?}"),
        ));
    }
    let names = axis_names(version, document, &attributes, image);
    let layout = Layout::new(&input, &shape, names.as_deref())?;
    let data_type = data_type(&input, version, document)?;
    let object_limit = check_sizes(&input, document, &shape, &chunk, data_type)?;

    let voxel_nm_zyx = plausible_size(
        image
            .and_then(Multiscale::voxel_nm_zyx)
            .or_else(|| last_three_f64(attributes.get("resolution")))
            .or_else(|| last_three_f64(attributes.get("voxel_size_nm"))),
    );
    let voxel_offset_zyx = last_three_i64(attributes.get("voxel_offset"))
        .or_else(|| image.map(Multiscale::voxel_offset_zyx))
        .unwrap_or([0; 3]);

    codec::install();
    let metadata: ArrayMetadata =
        serde_json::from_value(document.clone()).map_err(|e| VolumeError::metadata(&input, e))?;
    // Made here once for its checks of codecs and fill value; the readers make theirs over their own storage.
    Array::new_with_metadata(Arc::new(()), "/", metadata.clone())
        .map_err(|e| errors::from_create(&input, &e))?;

    let spatial = chunk.len() - 3;
    Ok(OpenedZarr {
        description: Description {
            url: url.to_owned(),
            format: if version == 3 { "zarr3" } else { "zarr2" },
            data_type,
            shape_zyx: layout.shape_zyx,
            chunk_zyx: [chunk[spatial], chunk[spatial + 1], chunk[spatial + 2]],
            channels: layout.channels,
            voxel_nm_zyx,
            voxel_offset_zyx,
            scales: image.map_or(1, |m| m.scales),
            attributes,
            complete,
        },
        layout,
        source,
        metadata,
        object_limit,
        within_image: image.is_some(),
    })
}

fn extents(input: &str, document: &Value, pointer: &str) -> Result<Vec<u64>, VolumeError> {
    document
        .pointer(pointer)
        .and_then(Value::as_array)
        .and_then(|list| list.iter().map(Value::as_u64).collect())
        .ok_or_else(|| VolumeError::metadata(input, format!("{pointer} is no list of natural numbers")))
}

/// Names of the axes: from the image, from zarr 3, or from the attribute that xarray writes into zarr 2.
fn axis_names(
    version: u8,
    document: &Value,
    attributes: &Map<String, Value>,
    image: Option<&Multiscale>,
) -> Option<Vec<String>> {
    if let Some(image) = image {
        return Some(image.axes.iter().map(|axis| axis.name.clone()).collect());
    }
    let list =
        if version == 3 { document.get("dimension_names") } else { attributes.get("_ARRAY_DIMENSIONS") }?;
    let names = list.as_array()?.iter().map(|name| name.as_str().unwrap_or_default().to_owned());
    Some(names.collect())
}

fn data_type(input: &str, version: u8, document: &Value) -> Result<DataType, VolumeError> {
    let stored = document.get(if version == 3 { "data_type" } else { "dtype" });
    let name = stored.and_then(Value::as_str);
    name.and_then(if version == 3 { DataType::from_name } else { DataType::from_v2 }).ok_or_else(|| {
        VolumeError::unsupported(
            input,
            format!("the data type {}", stored.unwrap_or(&Value::Null)),
            "convert it to unsigned integers, float32 or float64",
        )
    })
}

/// Bounds the chunks and, of shards, the inner chunks and the index; returns the limit for stored objects.
fn check_sizes(
    input: &str,
    document: &Value,
    shape: &[u64],
    chunk: &[u64],
    data_type: DataType,
) -> Result<u64, VolumeError> {
    let item = data_type.bytes() as u64;
    let bytes = |extents: &[u64]| checked_product(extents.iter().copied()).and_then(|n| n.checked_mul(item));
    let too_much = |what: &str, extents: &[u64]| {
        VolumeError::metadata(input, format!("{what} {extents:?} of {data_type} is too large"))
    };
    let chunk_bytes = bytes(chunk).ok_or_else(|| too_much("a chunk", chunk))?;
    bytes(shape).ok_or_else(|| too_much("the shape", shape))?;
    let mut decoded_at_once = chunk.to_vec();
    let mut codecs = document.get("codecs");
    // Shards may hold shards.
    while let Some(configuration) = codecs.and_then(sharding) {
        let inner = extents(input, configuration, "/chunk_shape")?;
        if inner.len() != chunk.len() || inner.contains(&0) {
            return Err(VolumeError::metadata(input, format!("inner chunks {inner:?} do not fit {chunk:?}")));
        }
        let count =
            checked_product(decoded_at_once.iter().zip(&inner).map(|(outer, inner)| outer.div_ceil(*inner)));
        if count.is_none_or(|count| count > limits::MAX_CHUNKS_PER_SHARD) {
            return Err(too_much("the index of a shard", &decoded_at_once));
        }
        decoded_at_once = inner;
        codecs = configuration.get("codecs");
    }
    if bytes(&decoded_at_once).is_none_or(|n| n > limits::MAX_CHUNK_BYTES) {
        return Err(too_much("a chunk", &decoded_at_once));
    }
    // The index of a shard counts 16 bytes for each inner chunk, padded well.
    Ok(limits::encoded_limit(chunk_bytes).saturating_add(32 * limits::MAX_CHUNKS_PER_SHARD))
}

fn sharding(codecs: &Value) -> Option<&Value> {
    codecs
        .as_array()?
        .iter()
        .find(|codec| codec.get("name").and_then(Value::as_str) == Some("sharding_indexed"))?
        .get("configuration")
}
