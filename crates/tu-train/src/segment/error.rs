//! What stops a run over a volume, each naming the input, the cause and the remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;
use tu_segment::GridError;
use tu_volume::VolumeError;

use crate::roi::RoiError;

/// Why a volume was not segmented.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SegmentError {
    /// An input that cannot serve.
    #[error("{input}: {cause}; {remedy}")]
    Refused {
        /// What was given.
        input: String,
        /// What is wrong with it.
        cause: String,
        /// What to do.
        remedy: String,
    },
    /// A volume cannot be opened, read or written.
    #[error(transparent)]
    Volume(#[from] Box<VolumeError>),
    /// What was read does not pass through the network.
    #[error(transparent)]
    Network(#[from] tu_model::NetworkError),
    /// Tile and volume do not go together.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The region of interest.
    #[error(transparent)]
    Roi(#[from] RoiError),
    /// A file of the working folder.
    #[error(
        "cannot {action} {path}: {source}; check that the disk has room and that the folder may be written"
    )]
    Io {
        /// The attempt, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Tiles failed; the others are kept.
    #[error(
        "{} of {total} tiles failed, so no segmentation was written: {}; the {done} finished tiles are kept in {workspace}: put the cause right and run the same command with --resume",
        failures.len(), Listing(failures)
    )]
    TilesFailed {
        /// Which, with the reasons.
        failures: Vec<TileFailure>,
        /// Tiles asked for.
        total: usize,
        /// Tiles that have a record.
        done: usize,
        /// Where the records are.
        workspace: PathBuf,
    },
    /// A tile failed where all are needed at once.
    #[error(transparent)]
    Tile(#[from] TileFailure),
}

/// One tile that could not be computed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("tile {index_zyx:?} (z, y, x) of {volume}: {cause}")]
pub struct TileFailure {
    /// Its place in the grid, z y x.
    pub index_zyx: [u64; 3],
    /// The volume it belongs to.
    pub volume: String,
    /// The reason.
    pub cause: String,
}

/// The first few failures; the rest is said in numbers.
struct Listing<'a>(&'a [TileFailure]);

impl fmt::Display for Listing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        for (i, failure) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{failure}", if i > 0 { "; " } else { "" })?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl SegmentError {
    /// An input that cannot serve.
    pub fn refused(input: impl Into<String>, cause: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { input: input.into(), cause: cause.into(), remedy: remedy.into() }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), source }
    }
}

impl From<VolumeError> for SegmentError {
    fn from(error: VolumeError) -> Self {
        Self::Volume(Box::new(error))
    }
}
