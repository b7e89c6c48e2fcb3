//! The `info` document: which volume it describes, and whether we can read it.

use crate::{
    DataType, VolumeError,
    description::{Description, STATE_KEY, is_complete, plausible_size},
    limits::{self, checked_product},
    region::{self, Frame, Region, Span},
    source::{MetadataSource, parse_json},
    url::check_relative,
};
use serde_json::{Map, Value};

/// One scale of a volume, judged.
#[derive(Clone)]
pub(crate) struct OpenedPrecomputed<S> {
    pub(crate) description: Description,
    /// The folder that holds `info`.
    pub(crate) source: S,
    /// The folder of the scale, relative to it.
    pub(crate) key: String,
    #[cfg_attr(
        target_arch = "wasm32",
        expect(dead_code, reason = "writers alone read it, and browsers do not write")
    )]
    pub(crate) info: Value,
}

/// Opens the volume at the root of `source`; `None` if there is no `info`.
pub(crate) async fn open<S: MetadataSource>(
    source: &S,
    url: &str,
    scale: usize,
) -> Result<Option<OpenedPrecomputed<S>>, VolumeError> {
    let Some(bytes) = source.document("info").await? else { return Ok(None) };
    let input = source.describe("info");
    let info: Map<String, Value> = parse_json(&input, &bytes)?;
    let bad = |cause: String| VolumeError::metadata(&input, cause);
    let kind = info.get("@type").and_then(Value::as_str).unwrap_or("neuroglancer_multiscale_volume");
    if kind != "neuroglancer_multiscale_volume" {
        return Err(VolumeError::unsupported(&input, kind, "give an image or segmentation volume"));
    }
    let name = info.get("data_type").and_then(Value::as_str).unwrap_or_default();
    let data_type =
        DataType::from_name(&name.to_lowercase()).ok_or_else(|| bad(format!("the data type {name:?}")))?;
    let channels = info.get("num_channels").and_then(Value::as_u64).unwrap_or(1);
    if channels == 0 || channels > 4096 {
        return Err(bad(format!("{channels} channels")));
    }
    let scales = info
        .get("scales")
        .and_then(Value::as_array)
        .filter(|list| !list.is_empty())
        .ok_or_else(|| bad("it lists no scales".to_owned()))?;
    let chosen = scales.get(scale).ok_or_else(|| VolumeError::NotFound {
        input: url.to_owned(),
        cause: format!("scale {scale} of {}", scales.len()),
        remedy: "ask for one of the scales counted from 0, the finest".to_owned(),
    })?;
    check_encoding(&input, chosen)?;
    let key =
        chosen.get("key").and_then(Value::as_str).ok_or_else(|| bad("a scale has no key".to_owned()))?;
    check_relative(&input, key)?;
    let shape_zyx =
        zyx_u64(chosen.get("size")).ok_or_else(|| bad("size is not three positive numbers".to_owned()))?;
    let chunk_zyx = zyx_u64(chosen.pointer("/chunk_sizes/0"))
        .ok_or_else(|| bad("chunk_sizes holds no three positive numbers".to_owned()))?;
    let item = data_type.bytes() as u64;
    let bytes = |extents: [u64; 3]| checked_product(extents.into_iter().chain([channels, item]));
    if bytes(shape_zyx).is_none() || bytes(chunk_zyx).is_none_or(|n| n > limits::MAX_CHUNK_BYTES) {
        return Err(bad(format!(
            "size {shape_zyx:?} or chunk {chunk_zyx:?} (zyx) of {data_type} is too large"
        )));
    }
    let voxel_offset_zyx = match chosen.get("voxel_offset") {
        Some(offset) => {
            zyx_i64(Some(offset)).ok_or_else(|| bad("voxel_offset is not three integers".to_owned()))?
        }
        None => [0; 3],
    };
    let state = info.get(STATE_KEY);
    let attributes = state.and_then(|s| s.get("attributes")).and_then(Value::as_object).cloned();
    let description = Description {
        url: url.to_owned(),
        format: "precomputed",
        data_type,
        shape_zyx,
        chunk_zyx,
        channels: channels as usize,
        voxel_nm_zyx: plausible_size(zyx_f64(chosen.get("resolution"))),
        voxel_offset_zyx,
        scales: scales.len(),
        attributes: attributes.unwrap_or_default(),
        complete: is_complete(&info),
    };
    let key = key.trim_matches('/').to_owned();
    Ok(Some(OpenedPrecomputed { description, source: source.clone(), key, info: Value::Object(info) }))
}

fn check_encoding(input: &str, scale: &Value) -> Result<(), VolumeError> {
    let remedy = "rewrite it unsharded with encoding \"raw\" (igneous and tensorstore do it), or as zarr v3";
    if scale.get("sharding").is_some_and(|sharding| !sharding.is_null()) {
        return Err(VolumeError::unsupported(input, "a sharded precomputed volume", remedy));
    }
    match scale.get("encoding").and_then(Value::as_str) {
        Some("raw") => Ok(()),
        other => {
            let cause = format!("the encoding {:?}", other.unwrap_or("(none)"));
            Err(VolumeError::unsupported(input, cause, remedy))
        }
    }
}

impl<S> OpenedPrecomputed<S> {
    /// How a chunk's bytes lie in the volume.
    pub(crate) fn frame(&self, span: &Span) -> Frame {
        Frame { origin: span.begin, shape: span.shape() }
    }

    /// The object that holds a chunk.
    pub(crate) fn object(&self, span: &Span) -> String {
        let offset = self.description.voxel_offset_zyx;
        let range = |a: usize| {
            let at = |v: u64| i128::from(v) + i128::from(offset[a]);
            format!("{}-{}", at(span.begin[a]), at(span.end[a]))
        };
        let name = format!("{}_{}_{}", range(2), range(1), range(0));
        if self.key.is_empty() { name } else { format!("{}/{name}", self.key) }
    }

    /// The exact number of bytes of a chunk.
    pub(crate) fn bytes(&self, span: &Span) -> usize {
        span.shape().iter().product::<usize>()
            * self.description.channels
            * self.description.data_type.bytes()
    }

    /// Copies what a region needs of a chunk into the region's buffer `[c, z, y, x]`.
    pub(crate) fn place(
        &self,
        span: &Span,
        chunk: &[u8],
        region: &Region,
        channels: std::ops::Range<u64>,
        out: &mut [u8],
    ) {
        let Some(part) = span.intersection(&Span::of(region)) else { return };
        let item = self.description.data_type.bytes();
        let first = span.shape().iter().product::<usize>() * channels.start as usize * item;
        let count = (channels.end - channels.start) as usize;
        region::copy((&chunk[first..], self.frame(span)), (out, Frame::of(region)), &part, count, item);
    }

    /// Refuses chunks of the wrong length.
    pub(crate) fn check(&self, span: &Span, bytes: &[u8]) -> Result<(), VolumeError> {
        let expected = self.bytes(span);
        if bytes.len() == expected {
            return Ok(());
        }
        Err(VolumeError::Chunk {
            input: self.description.url.clone(),
            chunk: self.object(span),
            cause: format!("it has {} bytes instead of {expected}", bytes.len()),
        })
    }
}

fn three<T: Copy>(value: Option<&Value>, read: impl Fn(&Value) -> Option<T>) -> Option<[T; 3]> {
    let list = value?.as_array()?;
    let [x, y, z] = list.as_slice() else { return None };
    Some([read(z)?, read(y)?, read(x)?])
}

/// Integers are written as floats by some tools.
fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_f64().filter(|v| v.fract() == 0.0 && v.abs() < 9.0e15).map(|v| v as i64))
}

fn zyx_u64(value: Option<&Value>) -> Option<[u64; 3]> {
    three(value, |v| integer(v).filter(|&v| v > 0).map(|v| v as u64))
}

fn zyx_i64(value: Option<&Value>) -> Option<[i64; 3]> {
    three(value, integer)
}

fn zyx_f64(value: Option<&Value>) -> Option<[f64; 3]> {
    three(value, Value::as_f64)
}
