//! What can go wrong with a volume, said so that a person can act on it: every message names the input, the
//! cause and the remedy.

use thiserror::Error;

/// A failure to open, read or write a volume.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The text is no volume URL.
    #[error("{input}: not a volume URL: {cause}; {remedy}")]
    Url {
        /// The text as given.
        input: String,
        /// What is wrong with it.
        cause: String,
        /// What to write instead.
        remedy: String,
    },
    /// Nothing that can be read as a volume is there.
    #[error("{input}: no volume found: {cause}; {remedy}")]
    NotFound {
        /// Where we looked.
        input: String,
        /// What was looked for.
        cause: String,
        /// What to try.
        remedy: String,
    },
    /// The volume exists but uses something that is not implemented.
    #[error("{input}: not supported: {cause}; {remedy}")]
    Unsupported {
        /// The volume.
        input: String,
        /// The feature.
        cause: String,
        /// How to convert or avoid it.
        remedy: String,
    },
    /// The metadata is malformed, contradictory or too large.
    #[error("{input}: bad metadata: {cause}; {remedy}")]
    Metadata {
        /// The metadata document.
        input: String,
        /// What is wrong with it.
        cause: String,
        /// What to repair.
        remedy: String,
    },
    /// A chunk is there but cannot be decoded.
    #[error("{input}: chunk {chunk} is damaged: {cause}; copy the chunk again or write the volume anew")]
    Chunk {
        /// The volume.
        input: String,
        /// The chunk's key within the volume.
        chunk: String,
        /// What the decoder said.
        cause: String,
    },
    /// A server answered with an error or could not be reached.
    #[error("{input}: {cause}; {remedy}")]
    Http {
        /// The URL that was asked for.
        input: String,
        /// The status or the transport's error.
        cause: String,
        /// What to check.
        remedy: String,
        /// Whether the same request may succeed later.
        retryable: bool,
    },
    /// The file system refused.
    #[error("{input}: {cause}; {remedy}")]
    Io {
        /// The path.
        input: String,
        /// The system's message.
        cause: String,
        /// What to check.
        remedy: String,
    },
    /// The values are stored as something that cannot be read or written as asked without loss.
    #[error("{input}: holds {stored}, which cannot be {action} {asked}; {remedy}")]
    DataType {
        /// The volume.
        input: String,
        /// The stored data type.
        stored: String,
        /// "read as" or "written from".
        action: &'static str,
        /// The type that was asked for.
        asked: String,
        /// Which call or conversion fits.
        remedy: String,
    },
    /// A region reaches outside the volume, or a buffer does not match its region.
    #[error("{input}: bad region: {cause}; {remedy}")]
    Region {
        /// The volume.
        input: String,
        /// What does not fit.
        cause: String,
        /// What to ask for instead.
        remedy: String,
    },
    /// The volume was being written and never finished.
    #[error("{input}: unfinished: its writer stopped before the end; finish it with --resume, or delete it")]
    Unfinished {
        /// The volume.
        input: String,
    },
    /// The target of a new volume already exists.
    #[error("{input}: already exists; choose another output, delete it, or continue it with --resume")]
    Exists {
        /// The target.
        input: String,
    },
    /// The caller aborted the request.
    #[error("{input}: aborted by the caller; ask again if the data is still wanted")]
    Aborted {
        /// The URL that was asked for.
        input: String,
    },
}

impl VolumeError {
    /// A short stable name of the kind of failure, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Url { .. } => "volume-url",
            Self::NotFound { .. } => "volume-not-found",
            Self::Unsupported { .. } => "volume-unsupported",
            Self::Metadata { .. } => "volume-metadata",
            Self::Chunk { .. } => "volume-chunk",
            Self::Http { .. } => "volume-http",
            Self::Io { .. } => "volume-io",
            Self::DataType { .. } => "volume-data-type",
            Self::Region { .. } => "volume-region",
            Self::Unfinished { .. } => "volume-unfinished",
            Self::Exists { .. } => "volume-exists",
            Self::Aborted { .. } => "volume-aborted",
        }
    }

    /// Whether the same call may succeed later without anything being changed.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self, Self::Http { retryable: true, .. })
    }

    pub(crate) fn metadata(input: &str, cause: impl std::fmt::Display) -> Self {
        Self::Metadata {
            input: input.to_owned(),
            cause: cause.to_string(),
            remedy: "repair the metadata or write the volume anew".to_owned(),
        }
    }

    pub(crate) fn unsupported(input: &str, cause: impl std::fmt::Display, remedy: &str) -> Self {
        Self::Unsupported { input: input.to_owned(), cause: cause.to_string(), remedy: remedy.to_owned() }
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn io(input: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let remedy = match error.kind() {
            ErrorKind::PermissionDenied => "check the permissions",
            ErrorKind::StorageFull => "free some space and resume",
            ErrorKind::NotFound => "check the path",
            _ => "check the path and the disk",
        };
        Self::Io { input: input.display().to_string(), cause: error.to_string(), remedy: remedy.to_owned() }
    }
}
