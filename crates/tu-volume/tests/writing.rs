//! What is written is read back, whatever the boxes, the threads and the moment of death.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]
#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::server::Server;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use std::{fs, path::Path};
use tempfile::{TempDir, tempdir};
use tu_volume::{DataType, NewVolume, Region, Volume, VolumeError, VolumeWriter};

fn spec(data_type: DataType) -> NewVolume {
    NewVolume {
        shape_zyx: [7, 9, 11],
        channels: None,
        data_type,
        chunk_zyx: [3, 4, 5],
        voxel_nm_zyx: Some([30.0, 8.0, 4.5]),
        voxel_offset_zyx: [100, -20, 3],
        attributes: Map::from_iter([("made_by".to_owned(), json!("a test"))]),
    }
}

/// A folder for outputs, and the paths of a zarr and of a precomputed volume in it.
fn outputs() -> (TempDir, [String; 2]) {
    let folder = tempdir().unwrap();
    let paths = ["v.zarr", "v"].map(|name| folder.path().join(name).display().to_string());
    (folder, paths)
}

fn everything() -> Region {
    Region::new([0; 3], [7, 9, 11])
}

fn counting(n: usize) -> Vec<u64> {
    (0..n as u64).map(|i| i * 0x1_0000_0003 + 1).collect()
}

#[test]
fn every_type_comes_back_in_both_formats_with_its_geometry() {
    let (_folder, paths) = outputs();
    let values = counting(7 * 9 * 11);
    for path in &paths {
        for data_type in [DataType::U8, DataType::U16, DataType::U32, DataType::U64, DataType::F32] {
            let path = path.replace("/v", &format!("/{data_type}"));
            let writer = VolumeWriter::create(&path, &spec(data_type)).unwrap();
            let region = everything();
            match data_type {
                DataType::U8 => {
                    writer.write_u8(&region, &values.iter().map(|&v| v as u8).collect::<Vec<_>>())
                }
                DataType::U16 => {
                    writer.write_u16(&region, &values.iter().map(|&v| v as u16).collect::<Vec<_>>())
                }
                DataType::U32 => {
                    writer.write_u32(&region, &values.iter().map(|&v| v as u32).collect::<Vec<_>>())
                }
                DataType::U64 => writer.write_u64(&region, &values),
                _ => writer.write_f32(&region, &values.iter().map(|&v| v as f32).collect::<Vec<_>>()),
            }
            .unwrap();
            writer.finish().unwrap();
            let volume = Volume::open(&path).unwrap();
            assert_eq!(volume.shape_zyx(), [7, 9, 11]);
            assert_eq!(volume.data_type(), data_type);
            assert_eq!(volume.voxel_nm_zyx(), Some([30.0, 8.0, 4.5]));
            assert_eq!(volume.voxel_offset_zyx(), [100, -20, 3]);
            assert_eq!(volume.attributes()["made_by"], json!("a test"));
            if data_type == DataType::F32 {
                let want: Vec<f32> = values.iter().map(|&v| v as f32).collect();
                assert_eq!(volume.read_f32(&region).unwrap(), want);
            } else {
                let mask = u64::MAX >> (64 - 8 * data_type.bytes());
                let want: Vec<u64> = values.iter().map(|v| v & mask).collect();
                assert_eq!(volume.read_u64(&region).unwrap(), want, "{path}");
            }
        }
    }
}

#[test]
fn channels_come_back_in_both_formats() {
    let (_folder, paths) = outputs();
    for path in &paths {
        let spec = NewVolume { channels: Some(3), ..spec(DataType::F32) };
        let writer = VolumeWriter::create(path, &spec).unwrap();
        let values: Vec<f32> = (0..3 * 7 * 9 * 11).map(|i| i as f32 / 7.0).collect();
        writer.write_channels_f32(&everything(), &values).unwrap();
        let message = writer.write_f32(&everything(), &values[..693]).unwrap_err().to_string();
        assert!(message.contains("3 channels"), "{message}");
        writer.finish().unwrap();
        let volume = Volume::open(path).unwrap();
        assert_eq!((volume.channels(), volume.shape_zyx()), (3, [7, 9, 11]));
        assert_eq!(volume.voxel_nm_zyx(), Some([30.0, 8.0, 4.5]));
        assert_eq!(volume.voxel_offset_zyx(), [100, -20, 3]);
        assert_eq!(volume.read_channels_f32(&everything()).unwrap(), values);
        assert_eq!(volume.read_f32(&everything()).unwrap(), values[..693]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any sequence of overlapping boxes gives what writing into an array in memory gives.
    #[test]
    fn boxes_that_cut_through_chunks_end_up_where_they_belong(
        boxes in prop::collection::vec(((0..7_u64, 0..9_u64, 0..11_u64), (1..8_usize, 1..10_usize, 1..12_usize)), 1..6),
        precomputed in any::<bool>(),
    ) {
        let (_folder, paths) = outputs();
        let path = &paths[usize::from(precomputed)];
        let writer = VolumeWriter::create(path, &spec(DataType::U32)).unwrap();
        let mut memory = vec![0_u64; 7 * 9 * 11];
        for (number, ((z, y, x), (dz, dy, dx))) in boxes.into_iter().enumerate() {
            let shape = [dz.min(7 - z as usize), dy.min(9 - y as usize), dx.min(11 - x as usize)];
            let data: Vec<u32> = (0..shape.iter().product::<usize>()).map(|i| (number * 1000 + i + 1) as u32).collect();
            writer.write_u32(&Region::new([z, y, x], shape), &data).unwrap();
            for (i, &value) in data.iter().enumerate() {
                let (dz, dy, dx) = (i / (shape[1] * shape[2]), i / shape[2] % shape[1], i % shape[2]);
                memory[((z as usize + dz) * 9 + y as usize + dy) * 11 + x as usize + dx] = u64::from(value);
            }
        }
        writer.finish().unwrap();
        prop_assert_eq!(Volume::open(path).unwrap().read_u64(&everything()).unwrap(), memory);
    }
}

#[test]
fn threads_may_share_chunks() {
    let (_folder, paths) = outputs();
    for path in &paths {
        let writer = VolumeWriter::create(path, &spec(DataType::U64)).unwrap();
        std::thread::scope(|scope| {
            for y in 0..9 {
                let writer = &writer;
                scope.spawn(move || {
                    for z in 0..7 {
                        let row: Vec<u64> = (0..11).map(|x| (z * 9 + y) * 11 + x).collect();
                        writer.write_u64(&Region::new([z, y, 0], [1, 1, 11]), &row).unwrap();
                    }
                });
            }
        });
        writer.finish().unwrap();
        let read = Volume::open(path).unwrap().read_u64(&everything()).unwrap();
        assert_eq!(read, (0..693).collect::<Vec<u64>>());
    }
}

#[test]
fn an_unfinished_volume_is_refused_until_it_is_continued_and_finished() {
    let (_folder, paths) = outputs();
    for path in &paths {
        let writer = VolumeWriter::create(path, &spec(DataType::U64)).unwrap();
        let half = Region::new([0; 3], [3, 9, 11]);
        writer.write_u64(&half, &counting(297)).unwrap();
        writer.set_attribute("done", json!(1)).unwrap();
        drop(writer);
        let error = Volume::open(path).unwrap_err();
        let message = error.to_string();
        assert!(matches!(error, VolumeError::Unfinished { .. }), "{message}");
        assert!(message.contains(path.as_str()) && message.contains("--resume"), "{message}");
        assert!(matches!(VolumeWriter::create(path, &spec(DataType::U64)), Err(VolumeError::Exists { .. })));

        // What a process leaves that is killed while it writes a chunk.
        let left = Path::new(path).join(".1.4711-3.part");
        fs::write(&left, b"half").unwrap();
        let writer = VolumeWriter::open_existing(path).unwrap();
        assert!(!writer.is_complete());
        assert_eq!(writer.shape_zyx(), [7, 9, 11]);
        let reader = writer.reader().unwrap();
        assert_eq!(reader.read_u64(&half).unwrap(), counting(297));
        assert_eq!(reader.attributes()["done"], json!(1));
        let rest = Region::new([3, 0, 0], [4, 9, 11]);
        writer.write_u64(&rest, &counting(396)).unwrap();
        writer.finish().unwrap();
        assert!(!left.exists());
        let volume = Volume::open(path).unwrap();
        assert_eq!(volume.read_u64(&rest).unwrap(), counting(396));
        assert_eq!(volume.attributes()["done"], json!(1));
        assert_eq!(volume.attributes()["made_by"], json!("a test"));

        // Writing to a finished volume makes it unfinished again.
        let writer = VolumeWriter::open_existing(path).unwrap();
        assert!(writer.is_complete());
        writer.write_u64(&Region::new([0; 3], [1; 3]), &[9]).unwrap();
        drop(writer);
        assert!(matches!(Volume::open(path), Err(VolumeError::Unfinished { .. })));
    }
}

#[test]
fn several_arrays_share_a_group() {
    let folder = tempdir().unwrap();
    let group = folder.path().join("phantom.zarr").display().to_string();
    for (name, data_type) in [("raw", DataType::U8), ("labels", DataType::U64)] {
        let writer = VolumeWriter::create_in_group(&group, name, &spec(data_type)).unwrap();
        if name == "raw" {
            writer.write_u8(&everything(), &[7; 693])
        } else {
            writer.write_u64(&everything(), &[8; 693])
        }
        .unwrap();
        writer.finish().unwrap();
    }
    let message = Volume::open(&group).unwrap_err().to_string();
    assert!(message.contains("labels, raw"), "{message}");
    for url in [format!("{group}/raw"), format!("{group}|zarr3:raw"), format!("{group}/raw/0")] {
        assert_eq!(Volume::open(&url).unwrap().read_u8(&everything()).unwrap(), [7; 693], "{url}");
    }
    let labels = Volume::open(&format!("{group}/labels")).unwrap();
    assert_eq!(labels.read_u64(&everything()).unwrap(), [8; 693]);
    assert_eq!(labels.voxel_nm_zyx(), Some([30.0, 8.0, 4.5]));
}

#[test]
fn what_was_written_is_read_over_http_too() {
    let (folder, paths) = outputs();
    for path in &paths {
        let writer = VolumeWriter::create(path, &spec(DataType::U64)).unwrap();
        writer.write_u64(&everything(), &counting(693)).unwrap();
        writer.finish().unwrap();
    }
    let server = Server::serving(folder.path());
    for name in ["v.zarr", "v", "v.zarr|zarr3:", "v|neuroglancer-precomputed:"] {
        let volume = Volume::open(&format!("{}/{name}", server.url)).unwrap();
        assert_eq!(volume.read_u64(&everything()).unwrap(), counting(693), "{name}");
        assert_eq!(volume.voxel_offset_zyx(), [100, -20, 3]);
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().flatten().map(|e| e.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn precomputed_is_laid_out_as_neuroglancer_expects() {
    let (_folder, [_, path]) = outputs();
    let spec = NewVolume {
        shape_zyx: [2, 3, 4],
        chunk_zyx: [2, 2, 3],
        voxel_offset_zyx: [-1, 20, 300],
        channels: Some(2),
        ..spec(DataType::U8)
    };
    let writer = VolumeWriter::create(&path, &spec).unwrap();
    writer.write_channels_u8(&Region::new([0; 3], [2, 3, 4]), &(0..48).collect::<Vec<u8>>()).unwrap();
    writer.finish().unwrap();
    let root = Path::new(&path);
    let info: Value = serde_json::from_slice(&fs::read(root.join("info")).unwrap()).unwrap();
    assert_eq!(
        info,
        json!({
            "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8", "num_channels": 2,
            "scales": [{
                "key": "4.5_8_30", "size": [4, 3, 2], "resolution": [4.5, 8.0, 30.0], "voxel_offset": [300, 20, -1],
                "chunk_sizes": [[3, 2, 2]], "encoding": "raw",
            }],
            "tokenunify": {"complete": true, "attributes": {"made_by": "a test"}},
        })
    );
    assert_eq!(files(root), ["4.5_8_30", "info"]);
    let scale = root.join("4.5_8_30");
    let names = ["300-303_20-22_-1-1", "300-303_22-23_-1-1", "303-304_20-22_-1-1", "303-304_22-23_-1-1"];
    assert_eq!(files(&scale), names);
    // x runs fastest, then y, z and the channel; voxel (c, z, y, x) is ((c * 2 + z) * 3 + y) * 4 + x.
    let first = [0, 1, 2, 4, 5, 6, 12, 13, 14, 16, 17, 18, 24, 25, 26, 28, 29, 30, 36, 37, 38, 40, 41, 42];
    assert_eq!(fs::read(scale.join(names[0])).unwrap(), first);
    assert_eq!(fs::read(scale.join(names[3])).unwrap(), [11, 23, 35, 47]);
}

#[test]
fn labels_are_marked_as_a_segmentation() {
    let (_folder, [_, path]) = outputs();
    VolumeWriter::create(&path, &spec(DataType::U64)).unwrap().finish().unwrap();
    let info: Value = serde_json::from_slice(&fs::read(Path::new(&path).join("info")).unwrap()).unwrap();
    assert_eq!((&info["type"], &info["data_type"]), (&json!("segmentation"), &json!("uint64")));
}

#[test]
fn zarr_carries_ome_metadata_in_nanometres() {
    let (_folder, [path, _]) = outputs();
    VolumeWriter::create(&path, &spec(DataType::U8)).unwrap().finish().unwrap();
    let image: Value =
        serde_json::from_slice(&fs::read(Path::new(&path).join("zarr.json")).unwrap()).unwrap();
    assert_eq!(
        image["attributes"]["ome"],
        json!({"version": "0.5", "multiscales": [{
            "axes": [
                {"name": "z", "type": "space", "unit": "nanometer"},
                {"name": "y", "type": "space", "unit": "nanometer"},
                {"name": "x", "type": "space", "unit": "nanometer"},
            ],
            "datasets": [{"path": "0", "coordinateTransformations": [
                {"type": "scale", "scale": [30.0, 8.0, 4.5]},
                {"type": "translation", "translation": [3000.0, -160.0, 13.5]},
            ]}],
        }]})
    );
    let array: Value =
        serde_json::from_slice(&fs::read(Path::new(&path).join("0/zarr.json")).unwrap()).unwrap();
    assert_eq!(array["dimension_names"], json!(["z", "y", "x"]));
    assert_eq!(array["attributes"]["resolution"], json!([30.0, 8.0, 4.5]));
    assert_eq!(array["attributes"]["voxel_offset"], json!([100, -20, 3]));
    assert_eq!(array["attributes"]["tokenunify"], json!({"complete": true}));
}

#[test]
fn volumes_that_make_no_sense_are_not_made() {
    let (folder, [zarr, precomputed]) = outputs();
    let good = || spec(DataType::U8);
    for bad in [
        NewVolume { shape_zyx: [0, 1, 1], ..good() },
        NewVolume { chunk_zyx: [0, 1, 1], ..good() },
        NewVolume { channels: Some(0), ..good() },
        NewVolume { shape_zyx: [u64::MAX, 2, 2], ..good() },
        NewVolume { chunk_zyx: [1 << 11, 1 << 11, 1 << 11], ..good() },
        NewVolume { voxel_nm_zyx: Some([0.0, 1.0, 1.0]), ..good() },
        NewVolume { voxel_nm_zyx: Some([f64::NAN, 1.0, 1.0]), ..good() },
    ] {
        for path in [&zarr, &precomputed] {
            let error = VolumeWriter::create(path, &bad).unwrap_err();
            assert!(matches!(error, VolumeError::Metadata { .. }), "{error}");
        }
    }
    assert!(VolumeWriter::create(&precomputed, &NewVolume { voxel_nm_zyx: None, ..good() }).is_err());
    assert!(files(folder.path()).is_empty());
    for url in ["https://host/x.zarr", "x|n5:", "x.zarr|zarr2:", "n5://x"] {
        assert!(matches!(VolumeWriter::create(url, &good()), Err(VolumeError::Unsupported { .. })), "{url}");
    }
}

#[test]
fn writes_of_the_wrong_type_length_or_place_are_refused() {
    let (_folder, [path, _]) = outputs();
    let writer = VolumeWriter::create(&path, &spec(DataType::U32)).unwrap();
    let region = Region::new([0; 3], [1, 1, 2]);
    assert!(matches!(writer.write_u64(&region, &[1, 2]), Err(VolumeError::DataType { .. })));
    assert!(matches!(writer.write_u32(&region, &[1]), Err(VolumeError::Region { .. })));
    let outside = Region::new([7, 0, 0], [1, 1, 2]);
    assert!(matches!(writer.write_u32(&outside, &[1, 2]), Err(VolumeError::Region { .. })));
}
