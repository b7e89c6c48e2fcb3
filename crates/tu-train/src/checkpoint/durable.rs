//! Files that are either the old or the new version, never half of one.

use std::fs::File;
use std::io::{Result, Write};
use std::path::Path;

pub(super) fn write_and_flush(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Flushes the entries of a folder; only Unix can open a folder for that.
pub(super) fn flush_folder(path: &Path) -> Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Replaces `path` by `bytes` in one step: written aside, flushed, renamed.
///
/// # Errors
/// The file system refuses; the old file is untouched then.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".unfinished");
    let aside = path.with_file_name(name);
    write_and_flush(&aside, bytes)?;
    std::fs::rename(&aside, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => flush_folder(parent),
        _ => Ok(()),
    }
}
