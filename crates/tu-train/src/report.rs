//! One page about a run: `report.html`, from what is in the run folder and nothing else.
//!
//! The page needs no network, no script and no other file: plots are inline SVG, pictures are data URIs, and a
//! content-security policy forbids everything else. A run folder may come from anybody: every text in it is escaped, lines
//! of the log are read one at a time up to a length, curves are thinned to a fixed number of points while they are read,
//! and only files that begin as PNGs do are embedded.

mod contents;
mod html;
mod page;
mod series;
pub mod svg;

use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::checkpoint::write_file;

pub use contents::{RunContents, RunKind};
pub use html::escape;
pub use page::page;
pub use series::Series;

/// Why no page was written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The folder holds no log.
    #[error(
        "{}: there is no metrics.jsonl, so it is no run's folder: give the folder that pretrain or finetune wrote",
        run.display()
    )]
    NoRun {
        /// The folder.
        run: PathBuf,
    },
    /// No step has been logged.
    #[error("{}: the log has no step yet: wait for the first, or look at the run's messages", run.display())]
    NoSteps {
        /// The folder.
        run: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}: check the path and its permissions", path.display())]
    Io {
        /// Which one.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
}

/// Reads the run in the folder `run` and writes its page to `out`.
///
/// # Errors
/// There is no run, it has no steps yet, or a file cannot be read or written.
pub fn write_report(run: &Path, out: &Path) -> Result<RunContents, ReportError> {
    let contents = RunContents::read(run)?;
    write_file(out, page(&contents).as_bytes())
        .map_err(|source| ReportError::Io { path: out.to_path_buf(), source })?;
    Ok(contents)
}

#[cfg(test)]
mod tests;
