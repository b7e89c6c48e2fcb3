//! Damaged and malicious volumes end in errors that name the chunk, and in little memory.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]
#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::fixture;
use serde_json::{Value, json};
use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};
use tempfile::TempDir;
use tu_volume::{Region, Volume, VolumeError};

fn copy_of(name: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("volume");
    copy(&fixture(name), &target);
    (folder, target)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn open(path: &Path) -> Result<Volume, VolumeError> {
    Volume::open(&path.display().to_string())
}

/// Reads everything, whatever the type.
fn read(volume: &Volume) -> Result<(), VolumeError> {
    let region = volume.region();
    if volume.data_type().is_unsigned() {
        volume.read_u64(&region).map(drop)
    } else {
        volume.read_f32(&region).map(drop)
    }
}

fn edit(path: &Path, document: &str, change: impl FnOnce(&mut Value)) {
    let path = path.join(document);
    let mut value: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut value);
    fs::write(path, value.to_string()).unwrap();
}

fn assert_names(error: &VolumeError, chunk: &str) {
    let message = error.to_string();
    assert!(matches!(error, VolumeError::Chunk { .. }), "{message}");
    assert!(message.contains(chunk) && message.contains("again"), "{message}");
}

#[test]
fn a_truncated_chunk_is_an_error_that_names_it() {
    for (name, chunk) in [
        ("v3_none_uint16", "c/0/0/0"),
        ("v3_gzip_uint16", "c/0/0/0"),
        ("v3_zstd_uint16", "c/0/0/0"),
        ("v3_blosc_uint16", "c/0/0/0"),
        ("v3_sharded_uint16", "c/0/0/0"),
        ("v2_none_uint8", "0.0.0"),
        ("v2_gzip_float32", "0.0.0"),
        ("v2_zstd_uint64", "0.0.0"),
        ("v2_blosc_uint8", "0.0.0"),
    ] {
        for keep in [0.0, 0.2, 0.9] {
            let (_folder, path) = copy_of(name);
            let bytes = fs::read(path.join(chunk)).unwrap();
            fs::write(path.join(chunk), &bytes[..(bytes.len() as f64 * keep) as usize]).unwrap();
            let error = read(&open(&path).unwrap()).expect_err(&format!("{name} {keep}"));
            assert_names(&error, chunk);
        }
    }
}

#[test]
fn a_chunk_of_noise_is_an_error_or_other_values_and_never_a_crash() {
    for name in
        ["v3_gzip_uint16", "v3_zstd_uint16", "v3_blosc_uint16", "v3_sharded_uint16", "v2_blosc_uint64"]
    {
        let (_folder, path) = copy_of(name);
        let chunk = if name.starts_with("v2") { "0.0.0" } else { "c/0/0/0" };
        let bytes = fs::read(path.join(chunk)).unwrap();
        let mut state = 12345_u32;
        for _ in 0..200 {
            let mut noisy = bytes.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let at = state as usize / 256 % noisy.len();
                noisy[at] ^= (state & 255) as u8;
            }
            fs::write(path.join(chunk), &noisy).unwrap();
            if let Err(error) = read(&open(&path).unwrap()) {
                assert!(
                    matches!(error, VolumeError::Chunk { .. } | VolumeError::Metadata { .. }),
                    "{name}: {error}"
                );
            }
        }
    }
}

/// The largest amount of memory that this process ever used, in bytes.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<u64>().ok()).unwrap_or(0) * 1024
}

const BOMB_BYTES: u64 = 3 << 30;

/// A stream that decompresses to 3 GB of zeros.
fn bomb(codec: &str) -> Vec<u8> {
    let block = vec![0_u8; 1 << 20];
    let blocks = BOMB_BYTES >> 20;
    if codec == "gzip" {
        // A second gzip around the first would not be decoded; 3 GB deflate to 3 MB at best.
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        (0..blocks).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap()
    } else {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        (0..blocks).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap()
    }
}

#[test]
fn bombs_are_refused_in_little_memory() {
    for codec in ["gzip", "zstd"] {
        let bomb = bomb(codec);
        for version in ["v2", "v3"] {
            let name = format!("{version}_{codec}_uint8");
            let (_folder, path) = copy_of(&name);
            let chunk = if version == "v2" { "1.0.0" } else { "c/1/0/0" };
            // The stored object may be a little larger than a chunk; a bomb of megabytes is refused for that alone.
            fs::write(path.join(chunk), &bomb).unwrap();
            let before = peak_memory();
            let message = read(&open(&path).unwrap()).unwrap_err().to_string();
            assert!(message.contains("larger") || message.contains("more than"), "{name}: {message}");
            assert!(peak_memory() - before < 64 << 20, "{name}");
            // The same bomb cut down to what may be stored gets as far as the decoder.
            fs::write(path.join(chunk), &bomb[..bomb.len().min(900_000)]).unwrap();
            let error = read(&open(&path).unwrap()).unwrap_err();
            assert_names(&error, chunk);
            assert!(error.to_string().contains("more than"), "{name}: {error}");
            assert!(peak_memory() - before < 64 << 20, "{name}");
        }
    }
}

#[test]
fn a_bomb_inside_a_shard_is_refused() {
    // One shard of one inner chunk: the bomb, its index entry, and the index's checksum.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("volume");
    let bomb = &bomb("zstd")[..900_000.min(bomb("zstd").len())];
    let document = json!({
        "zarr_format": 3, "node_type": "array", "shape": [4, 4, 4], "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 4, 4]}},
        "chunk_key_encoding": {"name": "default"}, "fill_value": 0, "attributes": {},
        "codecs": [{"name": "sharding_indexed", "configuration": {
            "chunk_shape": [4, 4, 4], "codecs": [{"name": "bytes"}, {"name": "zstd", "configuration": {"level": 1, "checksum": false}}],
            "index_codecs": [{"name": "bytes", "configuration": {"endian": "little"}}], "index_location": "end"}}],
    });
    fs::create_dir_all(path.join("c/0/0")).unwrap();
    fs::write(path.join("zarr.json"), document.to_string()).unwrap();
    let mut shard = bomb.to_vec();
    shard.extend(0_u64.to_le_bytes());
    shard.extend((bomb.len() as u64).to_le_bytes());
    fs::write(path.join("c/0/0/0"), shard).unwrap();
    let before = peak_memory();
    let error = read(&open(&path).unwrap()).unwrap_err();
    assert!(error.to_string().contains("more than the 64 bytes"), "{error}");
    assert_names(&error, "c/0/0/0");
    assert!(peak_memory() - before < 64 << 20);
}

#[test]
fn blosc_headers_that_lie_are_refused() {
    for (at, lie) in [(4, u32::MAX), (4, 1 << 20), (8, u32::MAX), (12, 5), (12, u32::MAX)] {
        let (_folder, path) = copy_of("v3_blosc_uint8");
        let chunk = path.join("c/0/0/0");
        let mut bytes = fs::read(&chunk).unwrap();
        bytes[at..at + 4].copy_from_slice(&lie.to_le_bytes());
        fs::write(&chunk, bytes).unwrap();
        assert_names(&read(&open(&path).unwrap()).unwrap_err(), "c/0/0/0");
    }
}

/// What is done to the metadata of an array.
type Change = Box<dyn Fn(&mut Value)>;

#[test]
fn metadata_that_claims_too_much_is_refused_before_anything_is_allocated() {
    let huge = u64::MAX / 2;
    let changes: Vec<(&str, Change)> = vec![
        ("shape overflows", Box::new(move |v| v["shape"] = json!([huge, huge, huge]))),
        ("rank 2", Box::new(|v| v["shape"] = json!([4, 4]))),
        ("rank 40", Box::new(|v| v["shape"] = json!(vec![2; 40]))),
        ("empty", Box::new(|v| v["shape"] = json!([0, 6, 7]))),
        ("negative", Box::new(|v| v["shape"] = json!([-5, 6, 7]))),
        (
            "huge chunk",
            Box::new(|v| {
                v["chunk_grid"]["configuration"]["chunk_shape"] = json!([1 << 12, 1 << 12, 1 << 12]);
            }),
        ),
        (
            "chunk overflows",
            Box::new(move |v| v["chunk_grid"]["configuration"]["chunk_shape"] = json!([huge, huge, 4])),
        ),
        ("chunk of zero", Box::new(|v| v["chunk_grid"]["configuration"]["chunk_shape"] = json!([0, 4, 4]))),
        ("chunk of rank 2", Box::new(|v| v["chunk_grid"]["configuration"]["chunk_shape"] = json!([4, 4]))),
        ("strange type", Box::new(|v| v["data_type"] = json!("complex64"))),
        ("strange codec", Box::new(|v| v["codecs"] = json!([{"name": "bytes"}, {"name": "rot13"}]))),
        ("no codec", Box::new(|v| v["codecs"] = json!([]))),
        ("strange grid", Box::new(|v| v["chunk_grid"]["name"] = json!("hexagonal"))),
        ("strange node", Box::new(|v| v["node_type"] = json!("tree"))),
        ("bad fill", Box::new(|v| v["fill_value"] = json!("x"))),
        ("no shape", Box::new(|v| drop(v.as_object_mut().unwrap().remove("shape")))),
    ];
    for (what, change) in changes {
        let (_folder, path) = copy_of("v3_none_uint8");
        edit(&path, "zarr.json", change);
        let error = open(&path).expect_err(what);
        let expected = matches!(error, VolumeError::Metadata { .. } | VolumeError::Unsupported { .. });
        assert!(expected, "{what}: {error}");
    }
    let (_folder, path) = copy_of("v3_sharded_uint8");
    edit(&path, "zarr.json", |v| {
        v["chunk_grid"]["configuration"]["chunk_shape"] = json!([1 << 14, 1 << 14, 1 << 14]);
        v["codecs"][0]["configuration"]["chunk_shape"] = json!([1, 1, 1]);
    });
    assert!(matches!(open(&path), Err(VolumeError::Metadata { .. })));
}

#[test]
fn metadata_of_many_megabytes_is_refused() {
    let (_folder, path) = copy_of("v3_none_uint8");
    edit(&path, "zarr.json", |v| v["attributes"]["filler"] = json!("x".repeat(9 << 20)));
    let message = open(&path).unwrap_err().to_string();
    assert!(message.contains("zarr.json") && message.contains("larger"), "{message}");
}

#[test]
fn metadata_cut_off_or_garbled_is_an_error_that_names_the_document() {
    let bytes = fs::read(fixture("v3_none_uint8").join("zarr.json")).unwrap();
    for length in (0..bytes.len() - 2).step_by(7) {
        let (_folder, path) = copy_of("v3_none_uint8");
        fs::write(path.join("zarr.json"), &bytes[..length]).unwrap();
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains("zarr.json"), "{message}");
    }
}

#[test]
fn paths_that_leave_the_volume_are_refused() {
    let (_folder, path) = copy_of("ome_0_5");
    for evil in ["../../../../etc", "/etc", "s0/../../x", "http://elsewhere/x"] {
        edit(&path, "zarr.json", |v| {
            v["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = json!(evil);
        });
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains("outside"), "{evil}: {message}");
    }
}

#[test]
fn coordinate_transformations_that_make_no_sense_are_refused() {
    let changes = [
        json!([{"type": "scale", "scale": [1, 0, 1]}]),
        json!([{"type": "scale", "scale": [1]}]),
        json!([{"type": "affine"}]),
    ];
    for change in changes {
        let (_folder, path) = copy_of("ome_0_5");
        edit(&path, "zarr.json", |v| {
            v["attributes"]["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"] =
                change.clone();
        });
        let message = open(&path).unwrap_err().to_string();
        assert!(message.contains("coordinateTransformations"), "{message}");
    }
}

#[test]
fn precomputed_of_kinds_that_are_not_read_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let info = |change: &dyn Fn(&mut Value)| {
        let mut info = json!({
            "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8", "num_channels": 1,
            "scales": [{"key": "8_8_8", "size": [8, 8, 8], "resolution": [8, 8, 8], "voxel_offset": [0, 0, 0],
                        "chunk_sizes": [[4, 4, 4]], "encoding": "raw"}],
        });
        change(&mut info);
        fs::write(folder.path().join("info"), info.to_string()).unwrap();
        open(folder.path())
    };
    assert!(info(&|_| {}).is_ok());
    for encoding in ["jpeg", "compressed_segmentation", "png", "compresso"] {
        let message = info(&|v| v["scales"][0]["encoding"] = json!(encoding)).unwrap_err().to_string();
        assert!(message.contains(encoding) && message.contains("raw"), "{message}");
    }
    let message = info(&|v| v["scales"][0]["sharding"] = json!({"@type": "x"})).unwrap_err().to_string();
    assert!(message.contains("sharded"), "{message}");
    for change in [
        json!({"/scales/0/size": [0, 8, 8]}),
        json!({"/scales/0/size": [1_u64 << 40, 1_u64 << 40, 1_u64 << 40]}),
        json!({"/scales/0/chunk_sizes": [[1 << 12, 1 << 12, 1 << 12]]}),
        json!({"/scales/0/chunk_sizes": []}),
        json!({"/scales/0/key": "../../etc"}),
        json!({"/scales/0/voxel_offset": [0.5, 0, 0]}),
        json!({"/scales": []}),
        json!({"/num_channels": 0}),
        json!({"/data_type": "float16"}),
    ] {
        let error = info(&|v| {
            for (pointer, value) in change.as_object().unwrap() {
                *v.pointer_mut(pointer).unwrap() = value.clone();
            }
        })
        .expect_err(&change.to_string());
        assert!(matches!(error, VolumeError::Metadata { .. }), "{change}: {error}");
    }
}

#[test]
fn a_precomputed_chunk_of_the_wrong_length_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let info = json!({
        "data_type": "uint8", "num_channels": 1,
        "scales": [{"key": "s", "size": [4, 4, 4], "resolution": [8, 8, 8], "voxel_offset": [1, 2, 3],
                    "chunk_sizes": [[4, 4, 4]], "encoding": "raw"}],
    });
    fs::create_dir_all(folder.path().join("s")).unwrap();
    fs::write(folder.path().join("info"), info.to_string()).unwrap();
    for length in [0, 63, 65] {
        fs::write(folder.path().join("s/1-5_2-6_3-7"), vec![1; length]).unwrap();
        assert_names(&read(&open(folder.path()).unwrap()).unwrap_err(), "s/1-5_2-6_3-7");
    }
    fs::write(folder.path().join("s/1-5_2-6_3-7"), vec![1; 64]).unwrap();
    let volume = open(folder.path()).unwrap();
    assert_eq!(volume.read_u8(&Region::new([0; 3], [4; 3])).unwrap(), [1; 64]);
    assert_eq!(volume.voxel_offset_zyx(), [3, 2, 1]);
}
