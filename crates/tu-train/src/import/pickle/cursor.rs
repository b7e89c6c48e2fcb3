//! A pickle's bytes, read from front to back and never beyond the end.

use super::super::error::ImportError;
use super::refused;

/// The longest module or name of a GLOBAL.
const MAX_LINE_BYTES: usize = 256;

pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    pub(super) fn position(&self) -> usize {
        self.position
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.position..).unwrap_or_default()
    }

    pub(super) fn take(&mut self, count: u32) -> Result<&'a [u8], ImportError> {
        let count = count as usize;
        let taken = self.rest().get(..count).ok_or_else(|| refused("it ends in the middle"))?;
        self.position += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ImportError> {
        let taken = self.rest().first_chunk::<N>().ok_or_else(|| refused("it ends in the middle"))?;
        self.position += N;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ImportError> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ImportError> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn utf8(&mut self, count: u32) -> Result<String, ImportError> {
        // Python lets lone surrogates through; they become replacement characters.
        Ok(String::from_utf8_lossy(self.take(count)?).into_owned())
    }

    /// Text up to a line feed, which is taken and left out.
    pub(super) fn line(&mut self) -> Result<&'a str, ImportError> {
        let rest = self.rest();
        let end = rest.iter().take(MAX_LINE_BYTES + 1).position(|&byte| byte == b'\n');
        let line = end.and_then(|end| std::str::from_utf8(&rest[..end]).ok());
        let line = line.ok_or_else(|| refused("a name in it is not one"))?;
        self.position += line.len() + 1;
        Ok(line)
    }
}
