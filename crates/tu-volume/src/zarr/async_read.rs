//! Reading boxes from an array over `fetch`.

use super::{OpenedZarr, errors, layout::Layout};
use crate::{
    Region, VolumeError,
    source::{Part, fetch::FetchSource},
};
use futures_util::{StreamExt, TryStreamExt, stream};
use std::{ops::Range, sync::Arc};
use zarrs::{
    array::{Array, ArrayBytes, ArrayError, ArraySubset, CodecOptions},
    storage::{
        AsyncMaybeBytesIterator, AsyncReadableStorageTraits, MaybeBytes, StorageError, StoreKey,
        byte_range::ByteRangeIterator,
    },
};

/// Requests of one read that run at the same time.
const CONCURRENCY: usize = 16;

/// The folder of one array as zarrs wants to see it.
pub(crate) struct FetchStore {
    source: FetchSource,
    object_limit: u64,
}

#[async_trait::async_trait(?Send)]
impl AsyncReadableStorageTraits for FetchStore {
    async fn get(&self, key: &StoreKey) -> Result<MaybeBytes, StorageError> {
        self.source.read(key.as_str(), Part::Whole, self.object_limit).await.map_err(errors::into_storage)
    }

    async fn get_partial_many<'a>(
        &'a self,
        key: &StoreKey,
        ranges: ByteRangeIterator<'a>,
    ) -> Result<AsyncMaybeBytesIterator<'a>, StorageError> {
        let requests =
            ranges.map(|range| self.source.read(key.as_str(), errors::part_of(range), self.object_limit));
        let pieces: Vec<_> =
            stream::iter(requests).buffered(CONCURRENCY).try_collect().await.map_err(errors::into_storage)?;
        let pieces: Option<Vec<_>> = pieces.into_iter().collect();
        Ok(pieces.map(|pieces| stream::iter(pieces.into_iter().map(Ok)).boxed()))
    }

    async fn size_key(&self, key: &StoreKey) -> Result<Option<u64>, StorageError> {
        self.source.size(key.as_str()).await.map_err(errors::into_storage)
    }

    fn supports_get_partial(&self) -> bool {
        true
    }
}

/// An array that can be read.
pub(crate) struct AsyncZarrReader {
    array: Array<FetchStore>,
    layout: Layout,
    url: String,
}

impl AsyncZarrReader {
    pub(crate) fn new(opened: OpenedZarr<FetchSource>) -> Result<Self, VolumeError> {
        let url = opened.description.url.clone();
        let store = Arc::new(FetchStore { source: opened.source, object_limit: opened.object_limit });
        let mut array = Array::new_with_metadata(store, "/", opened.metadata)
            .map_err(|e| errors::from_create(&url, &e))?;
        array.set_codec_options(CodecOptions::default().with_concurrent_target(CONCURRENCY));
        Ok(Self { array, layout: opened.layout, url })
    }

    pub(crate) fn with_source(&self, change: impl Fn(&FetchSource) -> FetchSource) -> Self {
        let store = self.array.storage();
        let store = FetchStore { source: change(&store.source), object_limit: store.object_limit };
        Self {
            array: self.array.with_storage(Arc::new(store)),
            layout: self.layout.clone(),
            url: self.url.clone(),
        }
    }

    /// The bytes of a checked region, `[c, z, y, x]`.
    pub(crate) async fn read(&self, region: &Region, channels: Range<u64>) -> Result<Vec<u8>, VolumeError> {
        let ranges = self.layout.ranges(channels, region.origin_zyx, region.end_zyx());
        let subset = ArraySubset::new_with_ranges(&ranges);
        match self.retrieve(&subset).await {
            Ok(bytes) => Ok(bytes),
            Err(error) => Err(self.explain(error, &subset).await),
        }
    }

    async fn retrieve(&self, subset: &ArraySubset) -> Result<Vec<u8>, ArrayError> {
        let bytes: ArrayBytes<'_> = self.array.async_retrieve_array_subset(subset).await?;
        Ok(bytes.into_fixed()?.into_owned())
    }

    /// Finds out which chunk it was by reading them one by one: slow, and only done on failure.
    async fn explain(&self, error: ArrayError, subset: &ArraySubset) -> VolumeError {
        if let Some(known) = errors::from_source(&error) {
            return known;
        }
        let (mut chunk, mut cause) = ("(unknown)".to_owned(), error);
        if let Ok(Some(chunks)) = self.array.chunks_in_array_subset(subset) {
            for index in &chunks.indices() {
                let Ok(one) = self.array.chunk_subset_bounded(&index) else { continue };
                let Ok(part) = one.overlap(subset) else { continue };
                if let Err(error) = self.retrieve(&part).await {
                    (chunk, cause) = (self.array.chunk_key(&index).to_string(), error);
                    break;
                }
            }
        }
        errors::from_source(&cause).unwrap_or_else(|| VolumeError::Chunk {
            input: self.url.clone(),
            chunk,
            cause: cause.to_string(),
        })
    }
}
