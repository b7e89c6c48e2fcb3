//! blosc 1: a container of blocks, each shuffled and compressed by itself.
//!
//! Header, 16 bytes: version, version of the inner format, flags, item size; then as little-endian u32 the decoded size,
//! the block size and the encoded size. Flags: 1 byte shuffle, 2 stored as it is, 4 bit shuffle, 16 blocks are not split;
//! bits 5 to 7 name the inner format. After the header come the offsets of the blocks, which writers with several threads
//! put in any order. A block of `typesize` streams, or of one, has a u32 before each stream with its encoded size; a
//! stream of its decoded size is stored as it is. (c-blosc, `README_CHUNK_FORMAT.rst`.)
//!
//! Bit shuffle touches a block only if its items are a multiple of eight; blosc 2 differs there, and libraries for blosc
//! 2 misread such blocks.

mod blosclz;
mod shuffle;

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

const HEADER_BYTES: usize = 16;
const VERSION: u8 = 2;
const BYTE_SHUFFLE: u8 = 0x01;
const STORED: u8 = 0x02;
const BIT_SHUFFLE: u8 = 0x04;
const NOT_SPLIT: u8 = 0x10;
/// Blocks are split into streams only up to this item size, and down to this number of items.
const MAX_SPLITS: usize = 16;
const MIN_SPLIT_ITEMS: usize = 128;

#[derive(Debug)]
struct Blosc {
    /// As it was read: the header of each chunk has all that decoding needs.
    configuration: Configuration,
}

fn make(configuration: Configuration) -> Codec {
    Codec::BytesToBytes(Arc::new(Blosc { configuration }))
}

pub(super) fn from_v3(metadata: &MetadataV3) -> Made {
    Ok(make(metadata.configuration().cloned().unwrap_or_default()))
}

pub(super) fn from_v2(metadata: &MetadataV2) -> Made {
    Ok(make(metadata.configuration().clone()))
}

impl Blosc {
    fn stored_configuration(&self, _: ZarrVersion, _: &CodecMetadataOptions) -> Option<Configuration> {
        Some(self.configuration.clone())
    }

    fn compress(&self, _: &[u8], _: &CodecOptions) -> Result<ArrayBytesRaw<'static>, CodecError> {
        Err(CodecError::Other("blosc is read only; write gzip or zstd".to_owned()))
    }

    fn decompress(
        &self,
        encoded: &[u8],
        decoded: &BytesRepresentation,
        _: &CodecOptions,
    ) -> Result<ArrayBytesRaw<'static>, CodecError> {
        decode(encoded, limit(decoded)?).map(Cow::Owned).map_err(CodecError::Other)
    }
}

/// A buffer whose header has been checked.
struct Container<'a> {
    bytes: &'a [u8],
    flags: u8,
    item_bytes: usize,
    decoded_bytes: usize,
    block_bytes: usize,
}

/// Decodes a buffer to at most `limit` bytes.
fn decode(encoded: &[u8], limit: u64) -> Result<Vec<u8>, String> {
    let container = Container::open(encoded, limit)?;
    let mut out = Vec::new();
    out.try_reserve_exact(container.decoded_bytes).map_err(|e| e.to_string())?;
    if container.flags & STORED != 0 {
        let stored = encoded.get(HEADER_BYTES..HEADER_BYTES + container.decoded_bytes);
        out.extend_from_slice(stored.ok_or("its blosc buffer is shorter than its header says")?);
        return Ok(out);
    }
    for index in 0..container.decoded_bytes.div_ceil(container.block_bytes) {
        container.block(index, &mut out)?;
    }
    Ok(out)
}

impl<'a> Container<'a> {
    fn open(bytes: &'a [u8], limit: u64) -> Result<Self, String> {
        let Some(&[version, _, flags, item_bytes]) = bytes.first_chunk::<4>() else {
            return Err(format!("{} bytes are too few for a blosc header", bytes.len()));
        };
        let (Some(decoded), Some(block), Some(size)) = (word(bytes, 4), word(bytes, 8), word(bytes, 12))
        else {
            return Err(format!("{} bytes are too few for a blosc header", bytes.len()));
        };
        if version != VERSION {
            return Err(format!("its blosc header has version {version}; version {VERSION} is read"));
        }
        if size != bytes.len() {
            return Err(format!("its blosc header says {size} bytes but it has {}", bytes.len()));
        }
        if decoded as u64 > limit || block as u64 > limit.max(16) {
            return Err(format!("its blosc header claims {decoded} bytes where a chunk has {limit}"));
        }
        if item_bytes == 0 || (block == 0 && decoded > 0 && flags & STORED == 0) {
            return Err("its blosc header has items or blocks of 0 bytes".to_owned());
        }
        let (item_bytes, block_bytes) = (usize::from(item_bytes), block.max(1));
        Ok(Self { bytes, flags, item_bytes, decoded_bytes: decoded, block_bytes })
    }

    /// Appends one decoded block.
    fn block(&self, index: usize, out: &mut Vec<u8>) -> Result<(), String> {
        const CUT: &str = "its blosc buffer ends within a block";
        let length = self.block_bytes.min(self.decoded_bytes - index * self.block_bytes);
        let split = self.flags & NOT_SPLIT == 0
            && length == self.block_bytes
            && self.item_bytes <= MAX_SPLITS
            && self.block_bytes / self.item_bytes >= MIN_SPLIT_ITEMS;
        let streams = if split { self.item_bytes } else { 1 };
        let stream_bytes = length / streams;
        let mut at = word(self.bytes, HEADER_BYTES + 4 * index).ok_or(CUT)?;
        let mut block = Vec::with_capacity(length);
        for _ in 0..streams {
            let size = word(self.bytes, at).ok_or(CUT)?;
            let begin = at.checked_add(4).ok_or(CUT)?;
            let end = begin.checked_add(size).ok_or(CUT)?;
            let stream = self.bytes.get(begin..end).ok_or(CUT)?;
            if size == stream_bytes {
                block.extend_from_slice(stream);
            } else {
                let decoded = self.stream(stream, stream_bytes)?;
                if decoded.len() != stream_bytes {
                    return Err(format!(
                        "a blosc stream has {} bytes in place of {stream_bytes}",
                        decoded.len()
                    ));
                }
                block.extend(decoded);
            }
            at = end;
        }
        if block.len() != length {
            return Err(format!("a blosc block has {} bytes in place of {length}", block.len()));
        }
        if self.flags & BYTE_SHUFFLE != 0 && self.item_bytes > 1 {
            shuffle::undo_bytes(&block, self.item_bytes, out);
        } else if self.flags & BIT_SHUFFLE != 0 && self.block_bytes >= self.item_bytes {
            shuffle::undo_bits(&block, self.item_bytes, out);
        } else {
            out.extend(block);
        }
        Ok(())
    }

    /// Decodes one stream to at most `limit` bytes, in the inner format that the flags name.
    fn stream(&self, stream: &[u8], limit: usize) -> Result<Vec<u8>, String> {
        match self.flags >> 5 {
            0 => blosclz::decode(stream, limit),
            1 => lz4_flex::block::decompress(stream, limit).map_err(|e| format!("lz4 in blosc: {e}")),
            3 => read_bounded(flate2::bufread::ZlibDecoder::new(stream), limit as u64)
                .map_err(|e| format!("zlib in blosc: {e}")),
            4 => super::zstd::decompress(stream, limit as u64).map_err(|e| format!("zstd in blosc: {e}")),
            2 => Err("it is snappy in blosc, which is not read; write it with lz4 or zstd".to_owned()),
            other => Err(format!("its blosc header names the unknown format {other}")),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<usize> {
    let word = bytes.get(at..at.checked_add(4)?)?.first_chunk::<4>()?;
    usize::try_from(u32::from_le_bytes(*word)).ok()
}

super::whole_chunk_codec!(Blosc, "blosc");

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests;
