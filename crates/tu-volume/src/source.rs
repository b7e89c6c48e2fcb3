//! Where the bytes of a volume come from: a folder of files or of web objects, addressed by relative keys.

use crate::VolumeError;
use bytes::Bytes;

#[cfg(target_arch = "wasm32")]
pub(crate) mod fetch;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod file;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod http;
#[cfg(not(target_arch = "wasm32"))]
mod native;
pub(crate) mod retry;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use native::{Source, now};

/// Part of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// `length` bytes from `offset`.
    From { offset: u64, length: u64 },
    /// From `offset` to the end.
    Rest { offset: u64 },
    /// The last bytes.
    Last { length: u64 },
}

impl Part {
    /// The byte range within an object of `size` bytes, or the reason why there is none.
    pub(crate) fn within(self, size: u64) -> Result<std::ops::Range<u64>, String> {
        let range = match self {
            Self::Whole => Some(0..size),
            Self::From { offset, length } => offset.checked_add(length).map(|end| offset..end),
            Self::Rest { offset } => Some(offset..size),
            Self::Last { length } => size.checked_sub(length).map(|begin| begin..size),
        };
        range
            .filter(|r| r.start <= r.end && r.end <= size)
            .ok_or_else(|| format!("it has {size} bytes, which is fewer than its index says ({self:?})"))
    }

    /// The value of a Range header, if one is needed.
    pub(crate) fn header(self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::From { offset, length } => {
                Some(format!("bytes={offset}-{}", offset.saturating_add(length).saturating_sub(1)))
            }
            Self::Rest { offset } => Some(format!("bytes={offset}-")),
            Self::Last { length } => Some(format!("bytes=-{length}")),
        }
    }
}

/// What the metadata readers need of a source. On native hosts the futures are ready at once, so that the same
/// code opens volumes in a browser and in a program.
#[allow(async_fn_in_trait, reason = "used within the crate only, on one thread")]
pub(crate) trait MetadataSource: Clone {
    /// The object `key`, or `None` if there is none. Larger ones than the limit for metadata are refused.
    async fn document(&self, key: &str) -> Result<Option<Bytes>, VolumeError>;
    /// Names of the sub-folders, where the source can list.
    fn folders(&self) -> Option<Vec<String>>;
    /// The sub-folder `path` as a source of its own.
    fn child(&self, path: &str) -> Self;
    /// For messages.
    fn describe(&self, key: &str) -> String;
}

/// Parses a JSON document, naming it when it is malformed.
pub(crate) fn parse_json<T: serde::de::DeserializeOwned>(
    input: &str,
    bytes: &[u8],
) -> Result<T, VolumeError> {
    serde_json::from_slice(bytes)
        .map_err(|e| VolumeError::metadata(input, format!("it is no valid JSON: {e}")))
}

/// The refusal of an object that is larger than it can legitimately be.
pub(crate) fn too_large(input: &str, limit: u64) -> VolumeError {
    VolumeError::metadata(input, format!("the object is larger than the {limit} bytes that it may have"))
}

/// The error for a status that is neither success, nor absence, nor a reason to wait any longer.
pub(crate) fn refused(input: String, status: u16) -> VolumeError {
    let remedy = match status {
        401 | 403 => "the server wants credentials: use a public or signed URL",
        429 | 503 | 504 => "the server is busy: try again later or with less concurrency",
        500..=599 => "the server is broken: tell its operators",
        _ => "check the URL",
    };
    VolumeError::Http {
        input,
        cause: format!("the server answered {status}"),
        remedy: remedy.to_owned(),
        retryable: retry::is_transient(status),
    }
}
