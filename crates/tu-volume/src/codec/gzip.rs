//! gzip. Several members in a row count as one stream, as in RFC 1952.

use super::{Made, limit, read_bounded};
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use std::{borrow::Cow, io::Write, sync::Arc};
use zarrs::{
    array::{
        ArrayBytesRaw, BytesRepresentation, CodecOptions,
        codec::api::{Codec, CodecError, CodecMetadataOptions},
    },
    metadata::{Configuration, v2::MetadataV2, v3::MetadataV3},
    plugin::ZarrVersion,
};

#[derive(Debug)]
struct Gzip {
    level: u32,
}

#[derive(serde::Deserialize)]
struct Settings {
    #[serde(default = "default_level")]
    level: i64,
}

fn default_level() -> i64 {
    5
}

fn make(settings: &Settings) -> Codec {
    Codec::BytesToBytes(Arc::new(Gzip { level: settings.level.clamp(0, 9) as u32 }))
}

pub(super) fn from_v3(metadata: &MetadataV3) -> Made {
    Ok(make(&metadata.to_typed_configuration()?))
}

pub(super) fn from_v2(metadata: &MetadataV2) -> Made {
    Ok(make(&metadata.to_typed_configuration()?))
}

impl Gzip {
    fn stored_configuration(&self, _: ZarrVersion, _: &CodecMetadataOptions) -> Option<Configuration> {
        serde_json::from_value(serde_json::json!({ "level": self.level })).ok()
    }

    fn compress(&self, decoded: &[u8], _: &CodecOptions) -> Result<ArrayBytesRaw<'static>, CodecError> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(self.level));
        encoder.write_all(decoded)?;
        Ok(Cow::Owned(encoder.finish()?))
    }

    fn decompress(
        &self,
        encoded: &[u8],
        decoded: &BytesRepresentation,
        _: &CodecOptions,
    ) -> Result<ArrayBytesRaw<'static>, CodecError> {
        read_bounded(MultiGzDecoder::new(encoded), limit(decoded)?).map(Cow::Owned)
    }
}

super::whole_chunk_codec!(Gzip, "gzip");
