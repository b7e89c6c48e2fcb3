//! Decompressors that stop at the size of the chunk.
//!
//! A few kilobytes of gzip or zstd can claim gigabytes. The size of a decoded chunk is known from the metadata,
//! so the decoders here take it as their limit: they stop one byte later with an error instead of filling the
//! memory. They take the places of the zarrs codecs of the same names, so inner chunks of shards are covered too.

mod blosc;
mod gzip;
mod zstd;

use std::{
    io::{self, Read},
    sync::Once,
};
use zarrs::{
    array::{
        BytesRepresentation,
        codec::api::{
            CodecError, CodecRuntimePluginV2, CodecRuntimePluginV3, register_codec_v2, register_codec_v3,
        },
    },
    metadata::{v2::MetadataV2, v3::MetadataV3},
    plugin::PluginCreateError,
};

/// Puts the bounded codecs in place. Called before any array is made.
pub(crate) fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        register("gzip", gzip::from_v3, gzip::from_v2);
        register("zstd", zstd::from_v3, zstd::from_v2);
        register("blosc", blosc::from_v3, blosc::from_v2);
    });
}

type Made = Result<zarrs::array::codec::api::Codec, PluginCreateError>;

fn register(name: &'static str, v3: fn(&MetadataV3) -> Made, v2: fn(&MetadataV2) -> Made) {
    // The handles exist to undo a registration, which never happens.
    let _ = register_codec_v3(CodecRuntimePluginV3::new(
        move |asked| asked == name || asked.strip_prefix("numcodecs.") == Some(name),
        v3,
    ));
    let _ = register_codec_v2(CodecRuntimePluginV2::new(move |asked| asked == name, v2));
}

/// The most bytes that a decoder may produce for this chunk.
fn limit(representation: &BytesRepresentation) -> Result<u64, CodecError> {
    let size = representation.size().unwrap_or(crate::limits::MAX_CHUNK_BYTES);
    if size > crate::limits::MAX_CHUNK_BYTES {
        return Err(CodecError::Other(format!("the chunk would take {size} bytes when decoded")));
    }
    Ok(size)
}

/// Reads a decompressed stream to its end, but never more than `limit` bytes.
fn read_bounded(stream: impl Read, limit: u64) -> Result<Vec<u8>, CodecError> {
    let mut out = Vec::new();
    out.try_reserve_exact(limit as usize).map_err(io::Error::other)?;
    stream.take(limit + 1).read_to_end(&mut out)?;
    if out.len() as u64 > limit {
        return Err(CodecError::Other(format!("it decompresses to more than the {limit} bytes of a chunk")));
    }
    Ok(out)
}

/// The codec traits that gzip and zstd share: whole chunks only, one thread, metadata from a stored configuration.
macro_rules! whole_chunk_codec {
    ($type:ty, $name:literal) => {
        impl zarrs::plugin::ExtensionName for $type {
            fn name(&self, _version: zarrs::plugin::ZarrVersion) -> Option<std::borrow::Cow<'static, str>> {
                Some(std::borrow::Cow::Borrowed($name))
            }
        }

        impl zarrs::array::codec::api::CodecTraits for $type {
            fn as_any(&self) -> &dyn std::any::Any {
                self
            }

            fn configuration(
                &self,
                version: zarrs::plugin::ZarrVersion,
                options: &zarrs::array::codec::api::CodecMetadataOptions,
            ) -> Option<zarrs::metadata::Configuration> {
                self.stored_configuration(version, options)
            }

            fn partial_decoder_capability(&self) -> zarrs::array::codec::api::PartialDecoderCapability {
                zarrs::array::codec::api::PartialDecoderCapability {
                    partial_read: false,
                    partial_decode: false,
                }
            }

            fn partial_encoder_capability(&self) -> zarrs::array::codec::api::PartialEncoderCapability {
                zarrs::array::codec::api::PartialEncoderCapability { partial_encode: false }
            }
        }

        #[cfg_attr(target_arch = "wasm32", async_trait::async_trait(?Send))]
        impl zarrs::array::codec::api::BytesToBytesCodecTraits for $type {
            fn into_dyn(
                self: std::sync::Arc<Self>,
            ) -> std::sync::Arc<dyn zarrs::array::codec::api::BytesToBytesCodecTraits> {
                self
            }

            fn recommended_concurrency(
                &self,
                _decoded: &BytesRepresentation,
            ) -> Result<zarrs::array::codec::api::RecommendedConcurrency, CodecError> {
                Ok(zarrs::array::codec::api::RecommendedConcurrency::new_maximum(1))
            }

            fn encoded_representation(&self, decoded: &BytesRepresentation) -> BytesRepresentation {
                match decoded.size() {
                    Some(size) => BytesRepresentation::BoundedSize(crate::limits::encoded_limit(size)),
                    None => BytesRepresentation::UnboundedSize,
                }
            }

            fn encode<'a>(
                &self,
                decoded: zarrs::array::ArrayBytesRaw<'a>,
                options: &zarrs::array::CodecOptions,
            ) -> Result<zarrs::array::ArrayBytesRaw<'a>, CodecError> {
                self.compress(&decoded, options)
            }

            fn decode<'a>(
                &self,
                encoded: zarrs::array::ArrayBytesRaw<'a>,
                decoded: &BytesRepresentation,
                options: &zarrs::array::CodecOptions,
            ) -> Result<zarrs::array::ArrayBytesRaw<'a>, CodecError> {
                self.decompress(&encoded, decoded, options)
            }
        }
    };
}
use whole_chunk_codec;
