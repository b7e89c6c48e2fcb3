//! blosc, decoded by zarrs after its header has been checked.
//!
//! Header of a blosc 1 buffer, 16 bytes: version, format, flags, item size; then as little-endian u32 the decoded
//! size, the block size and the encoded size (c-blosc `README_CHUNK_FORMAT.rst`).

use super::{Made, limit};
use std::sync::Arc;
use zarrs::{
    array::{
        ArrayBytesRaw, BytesRepresentation, CodecOptions,
        codec::{
            BloscCodec,
            api::{
                BytesToBytesCodecTraits, Codec, CodecError, CodecMetadataOptions, CodecTraits, CodecTraitsV2,
                CodecTraitsV3,
            },
        },
    },
    metadata::{Configuration, v2::MetadataV2, v3::MetadataV3},
    plugin::ZarrVersion,
};

#[derive(Debug)]
struct Blosc(Arc<dyn BytesToBytesCodecTraits>);

fn guarded(made: Codec) -> Codec {
    match made {
        Codec::BytesToBytes(inner) => Codec::BytesToBytes(Arc::new(Blosc(inner))),
        other => other,
    }
}

pub(super) fn from_v3(metadata: &MetadataV3) -> Made {
    <BloscCodec as CodecTraitsV3>::create(metadata).map(guarded)
}

pub(super) fn from_v2(metadata: &MetadataV2) -> Made {
    <BloscCodec as CodecTraitsV2>::create(metadata).map(guarded)
}

impl Blosc {
    fn stored_configuration(
        &self,
        version: ZarrVersion,
        options: &CodecMetadataOptions,
    ) -> Option<Configuration> {
        CodecTraits::configuration(self.0.as_ref(), version, options)
    }

    fn compress<'a>(
        &self,
        decoded: ArrayBytesRaw<'a>,
        options: &CodecOptions,
    ) -> Result<ArrayBytesRaw<'a>, CodecError> {
        self.0.encode(decoded, options)
    }

    fn decompress<'a>(
        &self,
        encoded: ArrayBytesRaw<'a>,
        decoded: &BytesRepresentation,
        options: &CodecOptions,
    ) -> Result<ArrayBytesRaw<'a>, CodecError> {
        check_header(&encoded, limit(decoded)?).map_err(CodecError::Other)?;
        self.0.decode(encoded, decoded, options)
    }
}

fn check_header(encoded: &[u8], limit: u64) -> Result<(), String> {
    let field = |at: usize| -> Option<u64> {
        let bytes: [u8; 4] = encoded.get(at..at + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_le_bytes(bytes)))
    };
    let (Some(decoded), Some(block), Some(size)) = (field(4), field(8), field(12)) else {
        return Err(format!("{} bytes are too few for a blosc header", encoded.len()));
    };
    if size != encoded.len() as u64 {
        return Err(format!("its blosc header says {size} bytes but it has {}", encoded.len()));
    }
    if decoded > limit || block > limit.max(16) {
        return Err(format!("its blosc header claims {decoded} bytes where a chunk has {limit}"));
    }
    Ok(())
}

super::whole_chunk_codec!(Blosc, "blosc");
