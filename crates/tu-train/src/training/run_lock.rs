//! One process at a time on a run's folder: two would mix their logs and delete each other's checkpoints.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::Path;

use super::TrainError;

/// Holds a run's folder until it is dropped, or its process ends in whatever way.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: File,
}

impl RunLock {
    /// Makes the folder where it is missing and takes it.
    ///
    /// # Errors
    /// Another process has it, or the file system refuses. A file system that knows no locks is trusted.
    pub(crate) fn take(run: &Path) -> Result<Self, TrainError> {
        std::fs::create_dir_all(run).map_err(|source| TrainError::io("create", run, source))?;
        let path = run.join("lock");
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| TrainError::io("create", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(TrainError::Config(format!(
                "another process works on {}; wait for its end, or choose another folder",
                run.display()
            ))),
            Err(TryLockError::Error(source)) if source.kind() == ErrorKind::Unsupported => {
                Ok(Self { _file: file })
            }
            Err(TryLockError::Error(source)) => Err(TrainError::io("lock", &path, source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_free_again_afterwards() {
        let parent = tempfile::tempdir().unwrap();
        let run = parent.path().join("new/run");
        let lock = RunLock::take(&run).unwrap();
        let refused = RunLock::take(&run).unwrap_err().to_string();
        assert!(refused.contains("another process") && refused.contains("new/run"), "{refused}");
        drop(lock);
        RunLock::take(&run).unwrap();
    }
}
