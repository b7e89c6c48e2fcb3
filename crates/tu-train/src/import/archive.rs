//! The zip container of torch.save, read with bounds (PKWARE APPNOTE 6.3.10).
//!
//! torch.save stores its entries uncompressed, always with ZIP64 records. Here the central directory alone says what
//! there is; the entries together must fit into the file and be stored as they are, so nothing that is read
//! can be larger than the file itself, and a compression bomb is refused by its method. Names are keys and never paths.

use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};

use super::error::ImportError;

/// The largest central directory that is read; 100 bytes for each tensor are usual.
const MAX_DIRECTORY_BYTES: u64 = 64 << 20;
const END_BYTES: usize = 22;
const ZIP64_LOCATOR_BYTES: usize = 20;
const ZIP64_END_BYTES: usize = 56;
const DIRECTORY_ENTRY_BYTES: usize = 46;
const LOCAL_HEADER_BYTES: usize = 30;
/// Value of a 32-bit field whose true value is in a ZIP64 record.
const IN_ZIP64: u64 = 0xFFFF_FFFF;

/// An entry as the central directory has it.
#[derive(Clone, Copy, Debug)]
struct Entry {
    header_offset: u64,
    bytes: u64,
    crc32: u32,
}

/// A zip archive whose directory has been checked.
#[derive(Debug)]
pub(super) struct Archive<R> {
    reader: R,
    /// End of the entries and begin of the directory.
    directory_offset: u64,
    entries: BTreeMap<String, Entry>,
}

fn damaged(cause: impl Into<String>) -> ImportError {
    ImportError::Archive(cause.into())
}

/// The N bytes at `at`; an error if `bytes` ends before.
fn field<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], ImportError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or_else(|| damaged("a record is cut short"))
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, ImportError> {
    field(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, ImportError> {
    field(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, ImportError> {
    field(bytes, at).map(u64::from_le_bytes)
}

impl<R: Read + Seek> Archive<R> {
    /// Reads and checks the central directory.
    ///
    /// # Errors
    /// [`ImportError::Format`] for older PyTorch files, [`ImportError::Archive`] for damaged or foreign archives.
    pub(super) fn open(mut reader: R) -> Result<Self, ImportError> {
        let length = reader.seek(SeekFrom::End(0))?;
        refuse_other_formats(&mut reader, length)?;
        let (directory_offset, directory_bytes) = find_directory(&mut reader, length)?;
        let directory_end = directory_offset.checked_add(directory_bytes);
        if directory_bytes > MAX_DIRECTORY_BYTES || directory_end.is_none_or(|end| end > length) {
            return Err(damaged(format!(
                "its directory claims {directory_bytes} bytes at {directory_offset} of {length}"
            )));
        }
        let directory = read_at(&mut reader, directory_offset, directory_bytes)?;
        let entries = parse_directory(&directory)?;
        // Entries that overlap could claim more than there is.
        let total = entries.values().try_fold(0u64, |sum, entry| sum.checked_add(entry.bytes));
        if total.is_none_or(|total| total > directory_offset) {
            return Err(damaged("its entries claim more bytes than the file has"));
        }
        Ok(Self { reader, directory_offset, entries })
    }

    /// Names of all entries, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Bytes before the directory, at least those of all entries together.
    pub(super) fn bytes(&self) -> u64 {
        self.directory_offset
    }

    /// Size of an entry in bytes.
    pub(super) fn size(&self, name: &str) -> Option<u64> {
        self.entries.get(name).map(|entry| entry.bytes)
    }

    /// An entry's bytes, their checksum verified.
    ///
    /// # Errors
    /// There is no such entry, it has more than `limit` bytes, or it is damaged.
    pub(super) fn read(&mut self, name: &str, limit: u64) -> Result<Vec<u8>, ImportError> {
        let shown = name.escape_debug();
        let entry = *self.entries.get(name).ok_or_else(|| damaged(format!("{shown} is missing")))?;
        if entry.bytes > limit {
            return Err(damaged(format!("{shown} has {} bytes, more than {limit}", entry.bytes)));
        }
        let inside = |begin: u64, bytes: u64| {
            begin.checked_add(bytes).filter(|end| *end <= self.directory_offset).map(|_| begin)
        };
        let outside = || damaged(format!("{shown} lies outside of the file"));
        let header = inside(entry.header_offset, LOCAL_HEADER_BYTES as u64).ok_or_else(outside)?;
        let local = read_at(&mut self.reader, header, LOCAL_HEADER_BYTES as u64)?;
        if !local.starts_with(b"PK\x03\x04") {
            return Err(damaged(format!("{shown} has no header")));
        }
        let skipped =
            LOCAL_HEADER_BYTES as u64 + u64::from(u16_at(&local, 26)?) + u64::from(u16_at(&local, 28)?);
        let begin = header.checked_add(skipped).and_then(|begin| inside(begin, entry.bytes));
        let data = read_at(&mut self.reader, begin.ok_or_else(outside)?, entry.bytes)?;
        if crc32fast::hash(&data) != entry.crc32 {
            return Err(damaged(format!("{shown} does not have the checksum that the directory states")));
        }
        Ok(data)
    }
}

/// `bytes` must have been compared with the length of the file.
fn read_at<R: Read + Seek>(reader: &mut R, offset: u64, bytes: u64) -> Result<Vec<u8>, ImportError> {
    let bytes = usize::try_from(bytes).map_err(|_| damaged("an entry does not fit into memory"))?;
    let mut data = vec![0; bytes];
    reader.seek(SeekFrom::Start(offset))?;
    reader.read_exact(&mut data)?;
    Ok(data)
}

/// Tells files of older PyTorch versions, and models of this project, from archives.
fn refuse_other_formats<R: Read + Seek>(reader: &mut R, length: u64) -> Result<(), ImportError> {
    let head = read_at(reader, 0, length.min(512))?;
    let found = |found, remedy| Err(ImportError::Format { found, remedy });
    match head.as_slice() {
        [] => found("the file is empty", "download it again"),
        [b'P', b'K', ..] => Ok(()),
        [0x80, 0..=5, ..] => found(
            "this is a bare pickle, the format of torch.save before PyTorch 1.6, which is not read",
            "if you trust the file, load it and save it again with a later PyTorch",
        ),
        tar if tar.get(257..262) == Some(b"ustar") => found(
            "this is a tar archive, the format of the first PyTorch versions, which is not read",
            "if you trust the file, load it and save it again with PyTorch 1.6 or later",
        ),
        [_, _, _, _, _, _, _, 0, b'{', ..] => found(
            "this is a safetensors file",
            "if tu-train wrote it, use it as it is; else give the PyTorch checkpoint",
        ),
        _ => found("this is no PyTorch checkpoint (no zip archive)", "check the path, or download it again"),
    }
}

/// Offset and size of the central directory.
fn find_directory<R: Read + Seek>(reader: &mut R, length: u64) -> Result<(u64, u64), ImportError> {
    // The end record is followed by a comment of at most 65,535 bytes, whose length it states.
    let tail_bytes = length.min((END_BYTES + 0xFFFF + ZIP64_LOCATOR_BYTES) as u64);
    let tail = read_at(reader, length - tail_bytes, tail_bytes)?;
    let end = (0..=tail.len().saturating_sub(END_BYTES))
        .rev()
        .find(|&at| {
            tail[at..].starts_with(b"PK\x05\x06")
                && u16_at(&tail, at + 20)
                    .is_ok_and(|comment| at + END_BYTES + usize::from(comment) == tail.len())
        })
        .ok_or_else(|| damaged("it has no end record: the file is cut short"))?;
    let locator = end.checked_sub(ZIP64_LOCATOR_BYTES).filter(|&at| tail[at..].starts_with(b"PK\x06\x07"));
    if let Some(at) = locator {
        let offset = u64_at(&tail, at + 8)?;
        if offset.checked_add(ZIP64_END_BYTES as u64).is_none_or(|end| end > length) {
            return Err(damaged("its ZIP64 record lies outside of the file"));
        }
        let record = read_at(reader, offset, ZIP64_END_BYTES as u64)?;
        if !record.starts_with(b"PK\x06\x06") {
            return Err(damaged("its ZIP64 record is missing"));
        }
        return Ok((u64_at(&record, 48)?, u64_at(&record, 40)?));
    }
    Ok((u64::from(u32_at(&tail, end + 16)?), u64::from(u32_at(&tail, end + 12)?)))
}

fn parse_directory(directory: &[u8]) -> Result<BTreeMap<String, Entry>, ImportError> {
    let mut entries = BTreeMap::new();
    let mut rest = directory;
    while !rest.is_empty() {
        if !rest.starts_with(b"PK\x01\x02") {
            return Err(damaged("its directory is not one"));
        }
        let lengths = [u16_at(rest, 28)?, u16_at(rest, 30)?, u16_at(rest, 32)?].map(usize::from);
        let name_end = DIRECTORY_ENTRY_BYTES + lengths[0];
        let extra_end = name_end + lengths[1];
        let entry_end = extra_end + lengths[2];
        let (Some(name), Some(extra), true) = (
            rest.get(DIRECTORY_ENTRY_BYTES..name_end),
            rest.get(name_end..extra_end),
            entry_end <= rest.len(),
        ) else {
            return Err(damaged("its directory is cut short"));
        };
        let name = std::str::from_utf8(name).map_err(|_| damaged("an entry's name is not UTF-8"))?;
        let shown = name.escape_debug();
        if u16_at(rest, 8)? & 1 != 0 {
            return Err(damaged(format!("{shown} is encrypted")));
        }
        if u16_at(rest, 10)? != 0 {
            return Err(damaged(format!("{shown} is compressed, and torch.save compresses nothing")));
        }
        let mut bytes = u64::from(u32_at(rest, 24)?);
        let mut stored = u64::from(u32_at(rest, 20)?);
        let mut header_offset = u64::from(u32_at(rest, 42)?);
        replace_by_zip64(extra, [&mut bytes, &mut stored, &mut header_offset])?;
        if bytes != stored {
            return Err(damaged(format!("{shown} has two sizes")));
        }
        let entry = Entry { header_offset, bytes, crc32: u32_at(rest, 16)? };
        if entries.insert(name.to_owned(), entry).is_some() {
            return Err(damaged(format!("{shown} is there twice")));
        }
        rest = &rest[entry_end..];
    }
    Ok(entries)
}

/// Takes the fields that do not fit into 32 bits from the ZIP64 extra field (id 1), where they follow each other.
fn replace_by_zip64(mut extra: &[u8], fields: [&mut u64; 3]) -> Result<(), ImportError> {
    let mut wanted = fields.into_iter().filter(|value| **value == IN_ZIP64).peekable();
    while wanted.peek().is_some() {
        let size = usize::from(u16_at(extra, 2)?);
        let body = extra.get(4..4 + size).ok_or_else(|| damaged("an extra field is cut short"))?;
        if u16_at(extra, 0)? == 1 {
            for (value, at) in wanted.by_ref().zip((0..).step_by(8)) {
                *value = u64_at(body, at)?;
            }
        }
        extra = &extra[4 + size..];
    }
    Ok(())
}

#[cfg(test)]
mod tests;
