//! zstd: the reference library natively, a decoder written in Rust in the browser (which writes nothing).

use super::{Made, limit, read_bounded};
use std::{borrow::Cow, sync::Arc};
use zarrs::{
    array::{
        ArrayBytesRaw, BytesRepresentation, CodecOptions,
        codec::api::{Codec, CodecError, CodecMetadataOptions},
    },
    metadata::{Configuration, v2::MetadataV2, v3::MetadataV3},
    plugin::ZarrVersion,
};

#[derive(Debug)]
struct Zstd {
    level: i32,
    checksum: bool,
}

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default)]
    level: i32,
    #[serde(default)]
    checksum: bool,
}

fn make(settings: &Settings) -> Codec {
    Codec::BytesToBytes(Arc::new(Zstd {
        level: settings.level.clamp(-131_072, 22),
        checksum: settings.checksum,
    }))
}

pub(super) fn from_v3(metadata: &MetadataV3) -> Made {
    Ok(make(&metadata.to_typed_configuration()?))
}

pub(super) fn from_v2(metadata: &MetadataV2) -> Made {
    Ok(make(&metadata.to_typed_configuration()?))
}

impl Zstd {
    fn stored_configuration(&self, _: ZarrVersion, _: &CodecMetadataOptions) -> Option<Configuration> {
        serde_json::from_value(serde_json::json!({ "level": self.level, "checksum": self.checksum })).ok()
    }

    #[cfg(not(target_arch = "wasm32"))]
    fn compress(&self, decoded: &[u8], _: &CodecOptions) -> Result<ArrayBytesRaw<'static>, CodecError> {
        // The bulk interface writes the content size into the header, which other readers rely on.
        let mut compressor = zstd::bulk::Compressor::new(self.level)?;
        compressor.include_checksum(self.checksum)?;
        Ok(Cow::Owned(compressor.compress(decoded)?))
    }

    #[cfg(target_arch = "wasm32")]
    fn compress(&self, _: &[u8], _: &CodecOptions) -> Result<ArrayBytesRaw<'static>, CodecError> {
        Err(CodecError::Other("volumes are not written in the browser".to_owned()))
    }

    fn decompress(
        &self,
        encoded: &[u8],
        decoded: &BytesRepresentation,
        _: &CodecOptions,
    ) -> Result<ArrayBytesRaw<'static>, CodecError> {
        decompress(encoded, limit(decoded)?).map(Cow::Owned)
    }
}

/// A window larger than the largest chunk is a lie; the decoder refuses it before allocating.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn decompress(encoded: &[u8], limit: u64) -> Result<Vec<u8>, CodecError> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(encoded)?;
    decoder.window_log_max(31.min(limit.next_power_of_two().ilog2().max(27)))?;
    read_bounded(decoder, limit)
}

#[cfg(target_arch = "wasm32")]
pub(super) fn decompress(mut encoded: &[u8], limit: u64) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    while !encoded.is_empty() {
        let decoder = ruzstd::decoding::StreamingDecoder::new(&mut encoded)
            .map_err(|e| CodecError::Other(e.to_string()))?;
        out.extend(read_bounded(decoder, limit - out.len() as u64)?);
    }
    Ok(out)
}

super::whole_chunk_codec!(Zstd, "zstd");
