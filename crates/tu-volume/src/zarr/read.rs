//! Reading boxes from an array.

use super::{OpenedZarr, errors, layout::Layout, store::SourceStore};
use crate::{Region, VolumeError, source::Source};
use std::{
    ops::Range,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, LazyLock},
};
use zarrs::array::{Array, ArrayBytes, ArrayError, ArraySubset, CodecOptions};

/// Requests to servers that run at the same time, over all volumes.
const REMOTE_CONCURRENCY: usize = 16;

/// Threads that mostly wait for servers.
static REMOTE: LazyLock<Option<rayon::ThreadPool>> =
    LazyLock::new(|| rayon::ThreadPoolBuilder::new().num_threads(REMOTE_CONCURRENCY).build().ok());

/// An array that can be read.
pub(crate) struct ZarrReader {
    array: Array<SourceStore>,
    layout: Layout,
    url: String,
    remote: bool,
}

impl ZarrReader {
    pub(crate) fn new(opened: OpenedZarr<Source>) -> Result<Self, VolumeError> {
        let remote = opened.source.is_remote();
        let url = opened.description.url.clone();
        let store = Arc::new(SourceStore { source: opened.source, object_limit: opened.object_limit });
        let mut array = Array::new_with_metadata(store, "/", opened.metadata)
            .map_err(|e| errors::from_create(&url, &e))?;
        if remote {
            let options = CodecOptions::default().with_concurrent_target(REMOTE_CONCURRENCY);
            array.set_codec_options(options);
        }
        Ok(Self { array, layout: opened.layout, url, remote })
    }

    /// The bytes of a checked region, `[c, z, y, x]`.
    pub(crate) fn read(&self, region: &Region, channels: Range<u64>) -> Result<Vec<u8>, VolumeError> {
        let subset =
            ArraySubset::new_with_ranges(&self.layout.ranges(channels, region.origin_zyx, region.end_zyx()));
        let retrieve = || self.retrieve(&subset);
        let result = match REMOTE.as_ref() {
            Some(pool) if self.remote => pool.install(retrieve),
            _ => retrieve(),
        };
        result.map_err(|failure| self.explain(failure, &subset))
    }

    /// Decoders are other people's code and the bytes are anybody's: a panic in there is a damaged chunk, not the
    /// end of the program.
    fn retrieve(&self, subset: &ArraySubset) -> Result<Vec<u8>, Failure> {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let bytes: ArrayBytes<'_> = self.array.retrieve_array_subset(subset)?;
            Ok(bytes.into_fixed()?.into_owned())
        }));
        match outcome {
            Ok(result) => result.map_err(Failure::Error),
            Err(panic) => Err(Failure::Panic(
                panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_else(|| "the decoder gave up".to_owned()),
            )),
        }
    }

    /// Finds out which chunk it was by reading them one by one: slow, and only done on failure.
    fn explain(&self, failure: Failure, subset: &ArraySubset) -> VolumeError {
        if let Failure::Error(error) = &failure
            && let Some(known) = errors::from_source(error)
        {
            return known;
        }
        let (mut chunk, mut cause) = ("(unknown)".to_owned(), failure);
        if let Ok(Some(chunks)) = self.array.chunks_in_array_subset(subset) {
            for index in &chunks.indices() {
                let one = self.array.chunk_subset_bounded(&index);
                let Ok(Some(part)) = one.map(|one| one.overlap(subset).ok()) else { continue };
                if let Err(failure) = self.retrieve(&part) {
                    chunk = self.array.chunk_key(&index).to_string();
                    cause = failure;
                    break;
                }
            }
        }
        if let Failure::Error(error) = &cause
            && let Some(known) = errors::from_source(error)
        {
            return known;
        }
        VolumeError::Chunk { input: self.url.clone(), chunk, cause: cause.to_string() }
    }
}

enum Failure {
    Error(ArrayError),
    Panic(String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Error(error) => error.fmt(f),
            Self::Panic(message) => f.write_str(message),
        }
    }
}
