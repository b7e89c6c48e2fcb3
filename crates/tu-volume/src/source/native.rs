//! The sources of programs: files, and web servers through a blocking client.

use super::{MetadataSource, Part, file::FileSource, http::HttpSource};
use crate::{Place, VolumeError, limits::MAX_METADATA_BYTES};
use bytes::Bytes;
use std::{
    future::Future,
    pin::pin,
    task::{Context, Poll, Waker},
};

/// A folder of files or of web objects.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(FileSource),
    Http(HttpSource),
}

impl Source {
    pub(crate) fn new(place: &Place) -> Self {
        match place {
            Place::File(path) => Self::File(FileSource::new(path.clone())),
            Place::Http { base, query } => Self::Http(HttpSource::new(base.clone(), query.clone())),
        }
    }

    /// Part of the object `key`, or `None` if there is no such object; more than `limit` bytes are refused.
    pub(crate) fn read(&self, key: &str, part: Part, limit: u64) -> Result<Option<Bytes>, VolumeError> {
        match self {
            Self::File(files) => files.read(key, part, limit),
            Self::Http(http) => http.read(key, part, limit),
        }
    }

    /// The object's size, or `None` if there is no such object.
    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, VolumeError> {
        match self {
            Self::File(files) => files.size(key),
            Self::Http(http) => http.size(key),
        }
    }

    /// Replaces an object as a whole: readers see the old bytes or the new ones.
    pub(crate) fn write(&self, key: &str, bytes: &[u8]) -> Result<(), VolumeError> {
        match self {
            Self::File(files) => files.write(key, bytes),
            Self::Http(http) => Err(read_only(&http.describe(key))),
        }
    }

    /// Removes an object; it is no error if there is none.
    pub(crate) fn remove(&self, key: &str) -> Result<(), VolumeError> {
        match self {
            Self::File(files) => files.remove(key),
            Self::Http(http) => Err(read_only(&http.describe(key))),
        }
    }

    pub(crate) fn is_remote(&self) -> bool {
        matches!(self, Self::Http(_))
    }
}

fn read_only(input: &str) -> VolumeError {
    VolumeError::unsupported(input, "writing over HTTP", "write to a folder and upload that")
}

impl MetadataSource for Source {
    async fn document(&self, key: &str) -> Result<Option<Bytes>, VolumeError> {
        match self {
            Self::File(files) => files.read(key, Part::Whole, MAX_METADATA_BYTES),
            Self::Http(http) => http.document(key),
        }
    }

    fn folders(&self) -> Option<Vec<String>> {
        match self {
            Self::File(files) => Some(files.folders()),
            Self::Http(_) => None,
        }
    }

    fn child(&self, path: &str) -> Self {
        match self {
            Self::File(files) => Self::File(files.child(path)),
            Self::Http(http) => Self::Http(http.child(path)),
        }
    }

    fn describe(&self, key: &str) -> String {
        match self {
            Self::File(files) => files.describe(key),
            Self::Http(http) => http.describe(key),
        }
    }
}

/// Runs a future whose sources all answer at once, as the native ones do.
pub(crate) fn now<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("native sources never suspend"),
    }
}
