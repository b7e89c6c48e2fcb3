//! A source as zarrs wants to see its storage.

use super::errors::{into_storage, part_of};
use crate::source::{Part, Source};
use zarrs::storage::{
    Bytes, MaybeBytes, MaybeBytesIterator, OffsetBytesIterator, ReadableStorageTraits, StorageError,
    StoreKey, StorePrefix, WritableStorageTraits, byte_range::ByteRangeIterator, store_set_partial_many,
};

/// The folder of one array.
pub(crate) struct SourceStore {
    pub(crate) source: Source,
    pub(crate) object_limit: u64,
}

impl ReadableStorageTraits for SourceStore {
    fn get(&self, key: &StoreKey) -> Result<MaybeBytes, StorageError> {
        self.source.read(key.as_str(), Part::Whole, self.object_limit).map_err(into_storage)
    }

    fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        ranges: ByteRangeIterator<'a>,
    ) -> Result<MaybeBytesIterator<'a>, StorageError> {
        let mut pieces = Vec::new();
        for range in ranges {
            match self.source.read(key.as_str(), part_of(range), self.object_limit).map_err(into_storage)? {
                Some(bytes) => pieces.push(Ok(bytes)),
                None => return Ok(None),
            }
        }
        Ok(Some(Box::new(pieces.into_iter())))
    }

    fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        self.source.size(key.as_str()).map_err(into_storage)
    }

    fn supports_get_partial(&self) -> bool {
        true
    }
}

impl WritableStorageTraits for SourceStore {
    fn set(&self, key: &StoreKey, value: Bytes) -> Result<(), StorageError> {
        self.source.write(key.as_str(), &value).map_err(into_storage)
    }

    fn set_partial_many(&self, key: &StoreKey, values: OffsetBytesIterator) -> Result<(), StorageError> {
        store_set_partial_many(self, key, values)
    }

    fn erase(&self, key: &StoreKey) -> Result<(), StorageError> {
        self.source.remove(key.as_str()).map_err(into_storage)
    }

    fn erase_prefix(&self, prefix: &StorePrefix) -> Result<(), StorageError> {
        Err(StorageError::Unsupported(format!("whole folders are not erased ({prefix})")))
    }

    fn supports_set_partial(&self) -> bool {
        false
    }
}
