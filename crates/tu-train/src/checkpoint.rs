//! Checkpoints that survive a power cut. A checkpoint is a folder `checkpoints/step-N/`; it is written beside its final
//! name, every file and the folder are flushed to disk, and only then is it renamed: a folder under its final name is
//! whole. `manifest.json` holds the SHA-256 of every file, so that damage after the fact is seen as well.

mod durable;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tu_model::sha256_hex;

pub use durable::write_file;

const MANIFEST: &str = "manifest.json";

/// Why a checkpoint cannot be written or used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}; check free space and permissions", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A file differs from what the manifest says, or is missing.
    #[error("checkpoint {} is damaged: {cause}; delete that folder to resume from the one before", path.display())]
    Damaged {
        /// The checkpoint's folder.
        path: PathBuf,
        /// Which file and how.
        cause: String,
    },
    /// There are checkpoints, but none is whole.
    #[error("no checkpoint in {} is whole: {cause}; start a new run", path.display())]
    NoneWhole {
        /// The run's checkpoint folder.
        path: PathBuf,
        /// What is wrong with the newest.
        cause: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Manifest {
    format_version: u32,
    step: u64,
    sha256: BTreeMap<String, String>,
}

/// A checkpoint read back, every file checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Steps done when it was written.
    pub step: u64,
    /// Its folder.
    pub path: PathBuf,
    /// Contents by file name.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// The checkpoints of a run.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    path: PathBuf,
}

impl CheckpointFolder {
    /// The checkpoints of the run in `run`; nothing is created yet.
    #[must_use]
    pub fn new(run: &Path) -> Self {
        Self { path: run.join("checkpoints") }
    }

    fn folder(&self, step: u64) -> PathBuf {
        self.path.join(format!("step-{step}"))
    }

    /// Steps that have a checkpoint, ascending.
    ///
    /// # Errors
    /// The folder exists and cannot be listed.
    pub fn steps(&self) -> Result<Vec<u64>, CheckpointError> {
        let entries = match std::fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => {
                return Err(CheckpointError::Io { action: "list", path: self.path.clone(), source });
            }
        };
        let mut steps: Vec<u64> = entries
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.strip_prefix("step-")?.parse().ok())
            .collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Writes the checkpoint of `step` and deletes all but the newest `keep` (at least this one).
    ///
    /// # Errors
    /// The file system refuses; earlier checkpoints are untouched then.
    pub fn write(&self, step: u64, files: &[(&str, &[u8])], keep: usize) -> Result<PathBuf, CheckpointError> {
        let fail = |action, path: &Path| {
            let path = path.to_path_buf();
            move |source| CheckpointError::Io { action, path, source }
        };
        std::fs::create_dir_all(&self.path).map_err(fail("create", &self.path))?;
        let aside = self.path.join(format!("step-{step}.unfinished"));
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(fail("clear", &aside))?;
        }
        std::fs::create_dir(&aside).map_err(fail("create", &aside))?;
        let manifest = Manifest {
            format_version: 1,
            step,
            sha256: files.iter().map(|(name, bytes)| ((*name).to_string(), sha256_hex(bytes))).collect(),
        };
        let manifest = serde_json::to_vec_pretty(&manifest)
            .map_err(|e| fail("write", &aside.join(MANIFEST))(std::io::Error::other(e)))?;
        for (name, bytes) in files.iter().copied().chain([(MANIFEST, manifest.as_slice())]) {
            let path = aside.join(name);
            durable::write_and_flush(&path, bytes).map_err(fail("write", &path))?;
        }
        durable::flush_folder(&aside).map_err(fail("flush", &aside))?;
        let folder = self.folder(step);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(fail("replace", &folder))?;
        }
        std::fs::rename(&aside, &folder).map_err(fail("rename", &aside))?;
        durable::flush_folder(&self.path).map_err(fail("flush", &self.path))?;
        let steps = self.steps()?;
        for old in steps.iter().filter(|s| **s != step).rev().skip(keep.max(1) - 1) {
            let path = self.folder(*old);
            std::fs::remove_dir_all(&path).map_err(fail("delete", &path))?;
        }
        Ok(folder)
    }

    /// Reads the checkpoint of `step`, comparing every file with the manifest.
    ///
    /// # Errors
    /// A file is missing or differs.
    pub fn read(&self, step: u64) -> Result<Checkpoint, CheckpointError> {
        let path = self.folder(step);
        let damaged = |cause: String| CheckpointError::Damaged { path: path.clone(), cause };
        let read = |name: &str| std::fs::read(path.join(name)).map_err(|e| damaged(format!("{name}: {e}")));
        let manifest: Manifest =
            serde_json::from_slice(&read(MANIFEST)?).map_err(|e| damaged(format!("{MANIFEST}: {e}")))?;
        if manifest.step != step || manifest.format_version != 1 {
            return Err(damaged(format!("{MANIFEST} is for step {}", manifest.step)));
        }
        let mut files = BTreeMap::new();
        for (name, expected) in &manifest.sha256 {
            if name.contains(['/', '\\']) {
                return Err(damaged(format!("{MANIFEST} names `{name}`, which is no plain file")));
            }
            let bytes = read(name)?;
            if sha256_hex(&bytes) != *expected {
                return Err(damaged(format!("{name} does not have the hash that {MANIFEST} gives")));
            }
            files.insert(name.clone(), bytes);
        }
        Ok(Checkpoint { step, path, files })
    }

    /// The newest checkpoint that is whole; a damaged newer one is passed over.
    ///
    /// # Errors
    /// There are checkpoints, but none is whole.
    pub fn latest(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        let mut first_defect = None;
        for step in self.steps()?.into_iter().rev() {
            match self.read(step) {
                Ok(checkpoint) => return Ok(Some(checkpoint)),
                Err(defect) => {
                    first_defect.get_or_insert(defect.to_string());
                }
            }
        }
        match first_defect {
            None => Ok(None),
            Some(cause) => Err(CheckpointError::NoneWhole { path: self.path.clone(), cause }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_kept_and_the_latest_is_read_back() {
        let run = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::new(run.path());
        assert_eq!(folder.latest().unwrap(), None);
        for step in [2, 4, 10] {
            folder.write(step, &[("a", b"x"), ("b", &[step as u8])], 2).unwrap();
        }
        assert_eq!(folder.steps().unwrap(), [4, 10]);
        let latest = folder.latest().unwrap().unwrap();
        assert_eq!((latest.step, &latest.files["b"][..]), (10, &[10u8][..]));
    }

    #[test]
    fn a_damaged_or_unfinished_checkpoint_is_passed_over() {
        let run = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::new(run.path());
        folder.write(1, &[("a", b"one")], 5).unwrap();
        let second = folder.write(2, &[("a", b"two")], 5).unwrap();
        std::fs::create_dir(run.path().join("checkpoints/step-3.unfinished")).unwrap();
        std::fs::write(second.join("a"), b"tvo").unwrap();
        assert!(folder.read(2).unwrap_err().to_string().contains("does not have the hash"));
        assert_eq!(folder.latest().unwrap().unwrap().step, 1);
        std::fs::remove_file(run.path().join("checkpoints/step-1/a")).unwrap();
        assert!(matches!(folder.latest(), Err(CheckpointError::NoneWhole { .. })));
    }

    #[test]
    fn writing_a_step_again_replaces_it() {
        let run = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::new(run.path());
        folder.write(7, &[("a", b"old")], 1).unwrap();
        folder.write(7, &[("a", b"new")], 1).unwrap();
        assert_eq!(folder.read(7).unwrap().files["a"], b"new");
    }
}
