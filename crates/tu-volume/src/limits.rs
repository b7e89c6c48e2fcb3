//! The sizes beyond which a volume is refused, checked before anything is allocated.

/// Largest metadata document in bytes.
pub const MAX_METADATA_BYTES: u64 = 8 << 20;
/// Largest decoded chunk (of a shard: inner chunk) in bytes.
pub const MAX_CHUNK_BYTES: u64 = 1 << 30;
/// Most inner chunks of one shard; its index holds 16 bytes for each.
pub const MAX_CHUNKS_PER_SHARD: u64 = 1 << 22;
/// Largest result of one read in bytes.
#[cfg(not(target_arch = "wasm32"))]
pub const MAX_READ_BYTES: u64 = 64 << 30;
/// Largest result of one read in bytes.
#[cfg(target_arch = "wasm32")]
pub const MAX_READ_BYTES: u64 = 1 << 30;

/// The most bytes that `decoded` bytes may take when stored: an incompressible chunk grows a little, and a
/// sharded one carries its index.
pub(crate) fn encoded_limit(decoded: u64) -> u64 {
    decoded.saturating_add(decoded / 4).saturating_add(1 << 20)
}

/// Product of extents, or `None` on overflow.
pub(crate) fn checked_product(extents: impl IntoIterator<Item = u64>) -> Option<u64> {
    extents.into_iter().try_fold(1u64, u64::checked_mul)
}
