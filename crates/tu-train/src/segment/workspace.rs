//! The folder beside the output in which a run keeps its finished tiles, so that it can be interrupted.
//!
//! `job.json` says which run it is; `tiles/z_y_x.tile` are the records. A record's presence is the mark that its tile
//! is done.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::error::SegmentError;
use super::record::TileRecord;
use crate::checkpoint::write_file;

const JOB_FILE: &str = "job.json";

/// The working folder of one run.
#[derive(Clone, Debug)]
pub struct Workspace {
    folder: PathBuf,
    job: [u8; 32],
}

impl Workspace {
    /// Where the working folder of an output in `output` lies: beside it, with `.unfinished` behind the name.
    #[must_use]
    pub fn beside(output: &Path) -> PathBuf {
        let mut name = output.file_name().unwrap_or_default().to_os_string();
        name.push(".unfinished");
        output.with_file_name(name)
    }

    /// The hash of what decides every tile of a run.
    #[must_use]
    pub fn hash(job: &Map<String, Value>) -> [u8; 32] {
        Sha256::digest(Value::Object(job.clone()).to_string()).into()
    }

    /// Opens or creates the folder for `job`, which holds everything that decides a tile.
    ///
    /// # Errors
    /// The folder is there and `resume` is false, or it belongs to another job, or the file system refuses.
    pub fn open(folder: &Path, job: &Map<String, Value>, resume: bool) -> Result<Self, SegmentError> {
        let job_file = folder.join(JOB_FILE);
        if folder.exists() {
            let name = folder.display().to_string();
            if !resume {
                return Err(SegmentError::refused(
                    name,
                    "an unfinished run of this output is kept there",
                    "add --resume to go on with it, or delete the folder to start anew",
                ));
            }
            if job_file.exists() {
                let text = std::fs::read(&job_file).map_err(|e| SegmentError::io("read", &job_file, e))?;
                let kept: Map<String, Value> = serde_json::from_slice(&text).map_err(|e| {
                    SegmentError::refused(
                        job_file.display().to_string(),
                        format!("it is damaged ({e})"),
                        "delete the folder and start anew",
                    )
                })?;
                let differing: Vec<String> = job
                    .iter()
                    .filter(|(key, value)| kept.get(*key) != Some(value))
                    .map(|(key, value)| {
                        let was = kept.get(key).map_or_else(|| "nothing".to_owned(), Value::to_string);
                        format!("{key} was {was} and is now {value}")
                    })
                    .collect();
                if !differing.is_empty() {
                    return Err(SegmentError::refused(
                        name,
                        format!("it belongs to another run: {}", differing.join("; ")),
                        "repeat that run's options, or delete the folder to start anew",
                    ));
                }
            }
        }
        let tiles = folder.join("tiles");
        std::fs::create_dir_all(&tiles).map_err(|e| SegmentError::io("create", &tiles, e))?;
        if !job_file.exists() {
            let text = format!("{:#}\n", Value::Object(job.clone()));
            write_file(&job_file, text.as_bytes()).map_err(|e| SegmentError::io("write", &job_file, e))?;
        }
        Ok(Self { folder: folder.to_owned(), job: Self::hash(job) })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Hash of the job, written into every record.
    #[must_use]
    pub fn job(&self) -> &[u8; 32] {
        &self.job
    }

    fn record_file(&self, index_zyx: [u64; 3]) -> PathBuf {
        let [z, y, x] = index_zyx;
        self.folder.join("tiles").join(format!("{z}_{y}_{x}.tile"))
    }

    /// Whether a tile is done.
    #[must_use]
    pub fn has(&self, index_zyx: [u64; 3]) -> bool {
        self.record_file(index_zyx).exists()
    }

    /// Keeps a tile's record; afterwards the tile counts as done.
    ///
    /// # Errors
    /// The file system refuses; the tile does not count as done then.
    pub fn write(&self, index_zyx: [u64; 3], record: &[u8]) -> Result<(), SegmentError> {
        let path = self.record_file(index_zyx);
        write_file(&path, record).map_err(|e| SegmentError::io("write", &path, e))
    }

    /// Reads a tile's record.
    ///
    /// # Errors
    /// It is missing, damaged, or of another job.
    pub fn read(&self, index_zyx: [u64; 3]) -> Result<TileRecord, SegmentError> {
        let path = self.record_file(index_zyx);
        let bytes = std::fs::read(&path).map_err(|e| SegmentError::io("read", &path, e))?;
        TileRecord::decode(&self.job, &bytes).map_err(|error| {
            let text = error.to_string();
            let (cause, remedy) = text.split_once("; ").unwrap_or((&text, "delete it"));
            SegmentError::refused(path.display().to_string(), cause, remedy)
        })
    }

    /// Deletes the folder: the output is complete.
    ///
    /// # Errors
    /// The file system refuses.
    pub fn remove(self) -> Result<(), SegmentError> {
        std::fs::remove_dir_all(&self.folder).map_err(|e| SegmentError::io("remove", &self.folder, e))
    }
}
