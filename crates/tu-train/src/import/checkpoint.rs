//! A file of torch.save: the archive, and what its pickle describes.
//!
//! ```text
//! NAME/data.pkl      the pickle; tensors refer to storages by key
//! NAME/data/KEY      a storage: raw elements
//! NAME/byteorder     "little" or "big"; absent in older files, which are little-endian
//! ```

use std::io::{Read, Seek};

use super::archive::Archive;
use super::error::ImportError;
use super::pickle::{MAX_PICKLE_BYTES, Pickle, unpickle};
use super::tensor::{Storage, TensorView};

/// An open file of torch.save.
pub(super) struct Checkpoint<R> {
    archive: Archive<R>,
    /// NAME with the slash.
    prefix: String,
    /// Key and bytes of the storage read last: tensors may share one.
    last: Option<(String, Vec<u8>)>,
}

impl<R: Read + Seek> Checkpoint<R> {
    /// Opens the archive and runs its pickle.
    ///
    /// # Errors
    /// [`ImportError`] when the file is not one of torch.save, is damaged, or is beyond the bounds.
    pub(super) fn open(reader: R) -> Result<(Self, Pickle), ImportError> {
        let mut archive = Archive::open(reader)?;
        let found = archive
            .names()
            .filter_map(|name| name.strip_suffix("data.pkl"))
            .find(|prefix| prefix.is_empty() || prefix.ends_with('/'))
            .map(str::to_owned);
        let prefix = found.ok_or(ImportError::Format {
            found: "this zip archive holds no data.pkl, so torch.save did not write it",
            remedy: "give the checkpoint itself",
        })?;
        if archive.size(&format!("{prefix}constants.pkl")).is_some() {
            return Err(ImportError::Format {
                found: "this is a TorchScript archive, which holds a program",
                remedy: "save the network's state_dict with torch.save",
            });
        }
        let order = format!("{prefix}byteorder");
        if archive.size(&order).is_some() && archive.read(&order, 16)? != b"little" {
            return Err(ImportError::Format {
                found: "its numbers are big-endian",
                remedy: "save it again on a little-endian machine",
            });
        }
        let pickle = unpickle(&archive.read(&format!("{prefix}data.pkl"), MAX_PICKLE_BYTES)?)?;
        Ok((Self { archive, prefix, last: None }, pickle))
    }

    /// Bytes of all that is in the archive.
    pub(super) fn bytes(&self) -> u64 {
        self.archive.bytes()
    }

    /// Reads a tensor's values in C order. Tensors of one storage are best read one after the other.
    ///
    /// # Errors
    /// [`ImportError::Archive`] when the storage is missing, damaged, or not as long as it claims.
    pub(super) fn values(&mut self, tensor: &TensorView) -> Result<Vec<f32>, ImportError> {
        let storage = tensor.storage();
        let entry = self.entry(storage);
        let unlike =
            || ImportError::Archive(format!("{} is not what its tensors claim", entry.escape_debug()));
        let claimed = storage.element.bytes().and_then(|bytes| bytes.checked_mul(storage.elements));
        if claimed.is_none() || self.archive.size(&entry) != claimed {
            return Err(unlike());
        }
        let bytes = match &mut self.last {
            Some((key, bytes)) if *key == storage.key => bytes,
            last => {
                // The one before is freed before the next is read.
                *last = None;
                &mut last.insert((storage.key.clone(), self.archive.read(&entry, u64::MAX)?)).1
            }
        };
        tensor.values(bytes).ok_or_else(unlike)
    }

    fn entry(&self, storage: &Storage) -> String {
        format!("{}data/{}", self.prefix, storage.key)
    }
}
