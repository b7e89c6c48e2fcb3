use std::io::Cursor;

use super::super::forge::{Entry, stored, zip};
use super::*;

fn open(bytes: &[u8]) -> Result<Archive<Cursor<&[u8]>>, ImportError> {
    Archive::open(Cursor::new(bytes))
}

fn refusal(bytes: &[u8]) -> String {
    open(bytes).err().map_or_else(|| "it was accepted".to_owned(), |e| e.to_string())
}

#[test]
fn entries_are_read_by_name_with_their_checksum() {
    let bytes =
        zip(&[stored("a/data.pkl", b"pickle"), stored("a/data/0", b""), stored("a/data/1", b"12345")]);
    let mut archive = open(&bytes).unwrap();
    assert_eq!(archive.names().collect::<Vec<_>>(), ["a/data.pkl", "a/data/0", "a/data/1"]);
    assert_eq!(archive.size("a/data/1"), Some(5));
    assert_eq!(archive.read("a/data/1", 5).unwrap(), b"12345");
    assert_eq!(archive.read("a/data/0", 5).unwrap(), b"");
    assert!(archive.read("a/data/1", 4).unwrap_err().to_string().contains("more than 4"));
    assert!(archive.read("a/data/2", 4).unwrap_err().to_string().contains("missing"));

    let mut flipped = bytes.clone();
    let at = flipped.windows(5).position(|window| window == b"12345").unwrap();
    flipped[at] ^= 1;
    assert!(open(&flipped).unwrap().read("a/data/1", 5).unwrap_err().to_string().contains("checksum"));
}

#[test]
fn an_archive_cut_short_anywhere_is_refused() {
    let bytes = zip(&[stored("a/data.pkl", b"pickle"), stored("a/data/0", &[7; 300])]);
    for length in 0..bytes.len() {
        assert!(open(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn compressed_encrypted_doubled_and_overlapping_entries_are_refused() {
    let bomb = Entry { method: 8, claimed: u32::MAX - 1, ..stored("a/data/0", b"bomb") };
    assert!(refusal(&zip(&[bomb])).contains("compressed"));
    let entries = || [stored("a/data/0", &[1; 100]), stored("a/data/1", &[2; 100])];
    let mut encrypted = zip(&entries());
    let directory = encrypted.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    encrypted[directory + 8] = 1;
    assert!(refusal(&encrypted).contains("encrypted"));
    assert!(refusal(&zip(&[stored("a", b"1"), stored("a", b"2")])).contains("twice"));
    let overlapping: Vec<Entry> =
        (0..50).map(|i| Entry { claimed: 2000, ..stored(&format!("a/{i}"), b"x") }).collect();
    assert!(refusal(&zip(&overlapping)).contains("more bytes than the file has"));
}

#[test]
fn sizes_and_offsets_beyond_the_file_are_refused_before_anything_is_allocated() {
    let entry = Entry { claimed: 0x7FFF_FFFF, ..stored("a/data/0", b"x") };
    assert!(refusal(&zip(&[entry])).contains("more bytes than the file has"));
    // A size that fits the file as a whole, but not from where its entry begins.
    let late = Entry { claimed: 60, ..stored("b", b"x") };
    let bytes = zip(&[stored("a", b"12"), late]);
    assert!(open(&bytes).unwrap().read("b", 100).unwrap_err().to_string().contains("outside"));

    let sound = zip(&[stored("a/data/0", b"x")]);
    let end = sound.len() - END_BYTES;
    for (at, value) in [(12, u32::MAX), (16, u32::MAX), (12, 1), (16, 1), (12, 0x7FFF_FFFF)] {
        let mut bytes = sound.clone();
        bytes[end + at..end + at + 4].copy_from_slice(&value.to_le_bytes());
        assert!(open(&bytes).is_err(), "{at} {value}");
    }
}

#[test]
fn zip64_records_are_followed_and_checked() {
    // The directory entry refers to its extra field for all three numbers.
    let sound = zip(&[stored("a", b"12345")]);
    let directory = sound.len() - END_BYTES - DIRECTORY_ENTRY_BYTES - 1;
    let mut bytes = sound[..directory + DIRECTORY_ENTRY_BYTES + 1].to_vec();
    for at in [20, 24, 42] {
        bytes[directory + at..directory + at + 4].copy_from_slice(&[0xFF; 4]);
    }
    bytes[directory + 30] = 4 + 24 + 5;
    bytes.extend([9, 9, 1, 0, 0]); // an extra field of another kind comes first
    bytes.extend([1, 0, 24, 0]);
    for value in [5u64, 5, 0] {
        bytes.extend(value.to_le_bytes());
    }
    let record = bytes.len();
    bytes.extend(b"PK\x06\x06");
    bytes.extend([0; 36]);
    bytes.extend(((record - directory) as u64).to_le_bytes());
    bytes.extend((directory as u64).to_le_bytes());
    bytes.extend(b"PK\x06\x07");
    bytes.extend([0; 4]);
    bytes.extend((record as u64).to_le_bytes());
    bytes.extend([0; 4]);
    let mut end = sound[sound.len() - END_BYTES..].to_vec();
    end[12..20].copy_from_slice(&[0xFF; 8]);
    bytes.extend(end);
    assert_eq!(open(&bytes).unwrap().read("a", 10).unwrap(), b"12345");

    for (at, value) in [(record + 40, u64::MAX), (record + 48, u64::MAX), (record + 56 + 8, u64::MAX)] {
        let mut hostile = bytes.clone();
        hostile[at..at + 8].copy_from_slice(&value.to_le_bytes());
        assert!(open(&hostile).is_err(), "{at}");
    }
    let mut hostile = bytes.clone();
    let header_offset = record - 8;
    hostile[header_offset..record].copy_from_slice(&(u64::MAX - 3).to_le_bytes());
    assert!(open(&hostile).unwrap().read("a", 10).unwrap_err().to_string().contains("outside"));
}

#[test]
fn other_kinds_of_files_are_told_apart() {
    let mut tar = vec![0; 512];
    tar[257..262].copy_from_slice(b"ustar");
    let mut safetensors = 20u64.to_le_bytes().to_vec();
    safetensors.extend(b"{\"a\":{}}");
    for (bytes, expected) in [
        (&b""[..], "empty"),
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", "before PyTorch 1.6"),
        (&tar, "tar archive"),
        (&safetensors, "safetensors"),
        (b"\x89HDF\r\n\x1a\n", "no zip archive"),
        (b"PK\x03\x04", "cut short"),
    ] {
        let message = refusal(bytes);
        assert!(message.contains(expected), "{message}");
    }
}
