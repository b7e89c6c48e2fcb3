//! Against buffers that c-blosc wrote (tests/python/write_zarr_fixtures.py), and against damaged ones.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]

use super::decode;
use proptest::prelude::*;
use std::collections::BTreeMap;

const BUFFERS: &[u8] = include_bytes!("../../../tests/fixtures/blosc_buffers.bin");
const INDEX: &str = include_str!("../../../tests/fixtures/blosc_buffers.json");

#[derive(serde::Deserialize)]
struct Buffer {
    name: String,
    pattern: String,
    begin: usize,
    end: usize,
    decoded_bytes: usize,
}

fn buffers() -> Vec<Buffer> {
    serde_json::from_str(INDEX).unwrap()
}

/// The data that the script compressed.
fn pattern(name: &str, length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let noise = move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    match name {
        "smooth" => (0..length).map(|i| ((i / 16) % 61) as u8).collect(),
        "noise" => (0..length).map(noise).collect(),
        other => panic!("no pattern {other}"),
    }
}

#[test]
fn what_c_blosc_writes_is_read() {
    let mut seen = BTreeMap::new();
    for buffer in buffers() {
        let encoded = &BUFFERS[buffer.begin..buffer.end];
        let decoded =
            decode(encoded, buffer.decoded_bytes as u64).unwrap_or_else(|e| panic!("{}: {e}", buffer.name));
        assert!(decoded == pattern(&buffer.pattern, buffer.decoded_bytes), "{} differs", buffer.name);
        // Which paths the fixture takes: stored, byte shuffle, bit shuffle, not split; and the inner format.
        *seen.entry((encoded[2] >> 5, encoded[2] & 0x17)).or_insert(0) += 1;
    }
    let has =
        |format: u8, flags: u8| seen.keys().any(|&(f, g)| f == format && g & 2 == 0 && g & flags == flags);
    for format in [0, 1, 3, 4] {
        assert!(has(format, 0) && has(format, 1) && has(format, 4), "format {format}: {seen:?}");
    }
    assert!(seen.keys().any(|(_, flags)| flags & 2 != 0), "none is stored: {seen:?}");
    assert!(seen.keys().any(|(_, flags)| flags & 0x12 == 0), "none is split: {seen:?}");
}

#[test]
fn a_buffer_larger_than_its_chunk_is_refused() {
    let all = buffers();
    let buffer = all.iter().max_by_key(|buffer| buffer.decoded_bytes).unwrap();
    let error = decode(&BUFFERS[buffer.begin..buffer.end], buffer.decoded_bytes as u64 - 1).unwrap_err();
    assert!(error.contains("claims"), "{error}");
}

#[test]
fn blosc_2_and_snappy_are_refused_by_name() {
    let all = buffers();
    let buffer = all.iter().find(|buffer| BUFFERS[buffer.begin + 2] & 2 == 0).unwrap();
    let mut bytes = BUFFERS[buffer.begin..buffer.end].to_vec();
    bytes[0] = 5;
    assert!(decode(&bytes, 1 << 20).unwrap_err().contains("version 5"));
    bytes[0] = 2;
    bytes[2] = (bytes[2] & 0x1f) | (2 << 5);
    assert!(decode(&bytes, 1 << 20).unwrap_err().contains("snappy"));
}

proptest! {
    #[test]
    fn damaged_buffers_give_an_error_or_as_many_bytes_as_they_say(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let all = buffers();
        let buffer = which.get(&all);
        let mut bytes = BUFFERS[buffer.begin..buffer.end].to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let kept = cut.index(2 * bytes.len()).min(bytes.len());
        bytes.truncate(kept);
        if let Ok(decoded) = decode(&bytes, buffer.decoded_bytes as u64) {
            prop_assert!(decoded.len() <= buffer.decoded_bytes);
        }
    }
}
