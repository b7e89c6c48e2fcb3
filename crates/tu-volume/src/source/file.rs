//! A folder of files. Objects are replaced as a whole (written aside, then renamed), so that a killed writer
//! leaves either the old chunk or the new one.

use super::{Part, too_large};
use crate::VolumeError;
use bytes::Bytes;
use std::{
    fs::{self, File},
    io::{ErrorKind, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// A folder.
#[derive(Debug, Clone)]
pub(crate) struct FileSource {
    root: PathBuf,
}

impl FileSource {
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root }
    }

    fn path(&self, key: &str) -> PathBuf {
        if key.is_empty() { self.root.clone() } else { self.root.join(key) }
    }

    pub(crate) fn child(&self, path: &str) -> Self {
        Self { root: self.path(path) }
    }

    pub(crate) fn describe(&self, key: &str) -> String {
        self.path(key).display().to_string()
    }

    pub(crate) fn folders(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.root).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    fn open(&self, key: &str) -> Result<Option<(File, u64)>, VolumeError> {
        let path = self.path(key);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if absent(&e) => return Ok(None),
            Err(e) => return Err(VolumeError::io(&path, &e)),
        };
        let metadata = file.metadata().map_err(|e| VolumeError::io(&path, &e))?;
        Ok(metadata.is_file().then_some((file, metadata.len())))
    }

    pub(crate) fn read(&self, key: &str, part: Part, limit: u64) -> Result<Option<Bytes>, VolumeError> {
        let Some((mut file, size)) = self.open(key)? else { return Ok(None) };
        let path = self.path(key);
        let range = part.within(size).map_err(|cause| VolumeError::Chunk {
            input: self.root.display().to_string(),
            chunk: key.to_owned(),
            cause,
        })?;
        let length = range.end - range.start;
        if length > limit {
            return Err(too_large(&self.describe(key), limit));
        }
        let mut bytes = Vec::with_capacity(length as usize);
        file.seek(SeekFrom::Start(range.start))
            .and_then(|_| file.take(length).read_to_end(&mut bytes))
            .map_err(|e| VolumeError::io(&path, &e))?;
        Ok(Some(bytes.into()))
    }

    pub(crate) fn size(&self, key: &str) -> Result<Option<u64>, VolumeError> {
        Ok(self.open(key)?.map(|(_, size)| size))
    }

    pub(crate) fn write(&self, key: &str, bytes: &[u8]) -> Result<(), VolumeError> {
        static SERIAL: AtomicU64 = AtomicU64::new(0);
        let path = self.path(key);
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder).map_err(|e| VolumeError::io(folder, &e))?;
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("object");
        let aside = folder.join(format!(".{name}.{}-{serial}{PART}", std::process::id()));
        let written = File::create(&aside)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&aside, &path));
        written.map_err(|e| {
            // The write's own error is what matters; a left-over part file is harmless.
            let _ = fs::remove_file(&aside);
            VolumeError::io(&path, &e)
        })
    }

    /// Removes what processes that were killed have left of their writes; nobody may be writing.
    pub(crate) fn remove_parts(&self) -> Result<(), VolumeError> {
        let mut folders = vec![self.root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).map_err(|e| VolumeError::io(&folder, &e))? {
                let entry = entry.map_err(|e| VolumeError::io(&folder, &e))?;
                let (path, name) = (entry.path(), entry.file_name());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    folders.push(path);
                } else if name.to_str().is_some_and(|name| name.starts_with('.') && name.ends_with(PART)) {
                    fs::remove_file(&path).map_err(|e| VolumeError::io(&path, &e))?;
                }
            }
        }
        Ok(())
    }

    pub(crate) fn remove(&self, key: &str) -> Result<(), VolumeError> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Err(e) if !absent(&e) => Err(VolumeError::io(&path, &e)),
            _ => Ok(()),
        }
    }

    /// The folder itself.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }
}

/// How the name of a file ends that is being written.
const PART: &str = ".part";

fn absent(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}
