//! Everything that the reference implementation writes is read back voxel by voxel, from files and over HTTP.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]
#![cfg(not(target_arch = "wasm32"))]

mod common;

use common::{SHAPE, channel_values, fixture, server::Server, values};
use tu_volume::{DataType, Region, Volume, VolumeError};

const TYPES: [&str; 4] = ["uint8", "uint16", "float32", "uint64"];
const STORED: [&str; 9] =
    ["v2_none", "v2_gzip", "v2_zstd", "v2_blosc", "v3_none", "v3_gzip", "v3_zstd", "v3_blosc", "v3_sharded"];

/// Reads the whole array and some boxes and compares every voxel with the formula.
fn check(url: &str, data_type: &str) {
    let volume = Volume::open(url).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(volume.shape_zyx(), [5, 6, 7], "{url}");
    assert_eq!(volume.data_type().name(), data_type, "{url}");
    for (origin, shape) in
        [([0, 0, 0], SHAPE), ([1, 2, 3], [3, 3, 3]), ([4, 5, 6], [1, 1, 1]), ([2, 0, 4], [2, 6, 2])]
    {
        let region = Region::new(origin.map(|v| v as u64), shape);
        let expected = values(origin, shape);
        match data_type {
            "uint8" => {
                let want: Vec<u8> = expected.iter().map(|&v| v as u8).collect();
                assert_eq!(volume.read_u8(&region).unwrap(), want, "{url} {origin:?}");
                let want: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
                assert_eq!(volume.read_f32(&region).unwrap(), want, "{url} {origin:?}");
                assert_eq!(volume.read_u64(&region).unwrap(), expected, "{url} {origin:?}");
            }
            "uint16" => {
                let want: Vec<u16> = expected.iter().map(|&v| v as u16).collect();
                assert_eq!(volume.read_u16(&region).unwrap(), want, "{url} {origin:?}");
                assert_eq!(volume.read_u64(&region).unwrap(), expected, "{url} {origin:?}");
            }
            "float32" => {
                let want: Vec<f32> = expected.iter().map(|&v| v as f32 / 8.0).collect();
                assert_eq!(volume.read_f32(&region).unwrap(), want, "{url} {origin:?}");
            }
            _ => {
                let want: Vec<u64> = expected.iter().map(|&v| v << 40).collect();
                assert_eq!(volume.read_u64(&region).unwrap(), want, "{url} {origin:?}");
            }
        }
    }
}

fn path(name: &str) -> String {
    fixture(name).display().to_string()
}

#[test]
fn every_codec_and_type_is_read_from_files() {
    for stored in STORED {
        for data_type in TYPES {
            check(&path(&format!("{stored}_{data_type}")), data_type);
        }
    }
}

#[test]
fn every_codec_and_type_is_read_over_http() {
    let server = Server::serving(fixture(""));
    for stored in STORED {
        for data_type in TYPES {
            check(&format!("{}/{stored}_{data_type}", server.url), data_type);
        }
    }
}

#[test]
fn orders_and_byte_orders_other_than_our_own_are_read() {
    for name in ["v2_big_endian_uint16", "v2_fortran_uint16", "v3_transposed_uint16"] {
        check(&path(name), "uint16");
    }
    check(&path("v3_tczyx_uint8"), "uint8");
}

#[test]
fn channels_come_first() {
    let volume = Volume::open(&path("v3_channels_uint8")).unwrap();
    assert_eq!((volume.channels(), volume.shape_zyx()), (3, [5, 6, 7]));
    let region = Region::new([1, 2, 3], [3, 3, 3]);
    let want: Vec<u8> =
        (0..3).flat_map(|c| channel_values(c, [1, 2, 3], [3, 3, 3])).map(|v| v as u8).collect();
    assert_eq!(volume.read_channels_u8(&region).unwrap(), want);
    assert_eq!(volume.read_u8(&region).unwrap(), want[..27]);
    let floats: Vec<f32> = want.iter().map(|&v| f32::from(v)).collect();
    assert_eq!(volume.read_channels_f32(&region).unwrap(), floats);
}

#[test]
fn a_chunk_that_was_never_written_is_fill_value() {
    let server = Server::serving(fixture(""));
    for version in ["v2", "v3"] {
        let name = format!("{version}_missing_uint8");
        for url in [path(&name), format!("{}/{name}", server.url)] {
            let volume = Volume::open(&url).unwrap();
            let read = volume.read_u8(&volume.region()).unwrap();
            for (i, &value) in read.iter().enumerate() {
                let (z, y, x) = (i / 42, i / 7 % 6, i % 7);
                let missing = z >= 3 && y < 4 && x >= 5;
                let expected = if missing { 7 } else { common::value(0, z, y, x) as u8 };
                assert_eq!(value, expected, "{url} {z} {y} {x}");
            }
        }
    }
}

#[test]
fn ome_images_tell_their_scales_and_sizes() {
    let server = Server::serving(fixture(""));
    for name in ["ome_0_4", "ome_0_5"] {
        for url in [path(name), format!("{}/{name}|zarr:", server.url)] {
            let finest = Volume::open(&url).unwrap();
            assert_eq!((finest.scales(), finest.shape_zyx()), (2, [5, 6, 7]), "{url}");
            let nm = finest.voxel_nm_zyx().unwrap();
            assert!(nm.iter().zip([40.0, 8.0, 4.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{url} {nm:?}");
            assert_eq!(finest.voxel_offset_zyx(), [10, 20, 30], "{url}");
            let coarse = Volume::open_scale(&url, 1).unwrap();
            assert_eq!(coarse.shape_zyx(), [5, 3, 4], "{url}");
            let nm = coarse.voxel_nm_zyx().unwrap();
            assert!(nm.iter().zip([40.0, 16.0, 8.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{url} {nm:?}");
            let one = coarse.read_u8(&Region::new([2, 1, 3], [1, 1, 1])).unwrap();
            assert_eq!(one, [common::value(0, 2, 2, 6) as u8], "{url}");
            let message = Volume::open_scale(&url, 2).unwrap_err().to_string();
            assert!(message.contains("scale 2 of 2"), "{message}");
        }
    }
}

#[test]
fn attributes_give_voxel_size_and_offset() {
    let volume = Volume::open(&path("v3_sharded_uint8")).unwrap();
    assert_eq!(volume.voxel_nm_zyx(), Some([40.0, 8.0, 4.0]));
    assert_eq!(volume.voxel_offset_zyx(), [100, -20, 3]);
    assert_eq!((volume.format(), volume.channels(), volume.scales()), ("zarr3", 1, 1));
    let plain = Volume::open(&path("v2_none_uint8")).unwrap();
    assert_eq!((plain.voxel_nm_zyx(), plain.voxel_offset_zyx(), plain.format()), (None, [0; 3], "zarr2"));
}

#[test]
fn a_group_of_several_arrays_asks_which_one() {
    let group = path("v3_group");
    let message = Volume::open(&group).unwrap_err().to_string();
    assert!(message.contains("labels, raw") && message.contains("v3_group/labels"), "{message}");
    for url in [format!("{group}/raw"), format!("{group}|zarr3:raw"), format!("zarr://{group}/raw")] {
        check(&url, "uint8");
    }
}

#[test]
fn the_wrong_version_is_not_found() {
    let url = format!("{}|zarr2:", path("v3_none_uint8"));
    assert!(matches!(Volume::open(&url), Err(VolumeError::NotFound { .. })));
    let url = format!("{}|zarr2:", path("v2_none_uint8"));
    check(&url, "uint8");
}

#[test]
fn axes_in_another_order_are_refused_by_name() {
    let message = Volume::open(&path("v3_xyz_uint8")).unwrap_err().to_string();
    assert!(message.contains("\"x\", \"y\", \"z\"") && message.contains("zyx"), "{message}");
}

#[test]
fn conversions_that_lose_something_are_refused_with_a_remedy() {
    let region = Region::new([0; 3], [1; 3]);
    let labels = Volume::open(&path("v3_none_uint64")).unwrap();
    for error in [labels.read_u8(&region).unwrap_err(), labels.read_f32(&region).unwrap_err()] {
        let message = error.to_string();
        assert!(matches!(error, VolumeError::DataType { .. }), "{message}");
        assert!(message.contains("uint64") && message.contains("labels"), "{message}");
    }
    let image = Volume::open(&path("v3_none_float32")).unwrap();
    assert!(matches!(image.read_u64(&region), Err(VolumeError::DataType { .. })));
    let signed = Volume::open(&path("v3_int16")).unwrap();
    assert_eq!(signed.data_type(), DataType::I16);
    assert!(matches!(signed.read_u16(&region), Err(VolumeError::DataType { .. })));
}

#[test]
fn boxes_outside_the_volume_are_refused() {
    let volume = Volume::open(&path("v3_none_uint8")).unwrap();
    for (origin, shape) in [
        ([0, 0, 0], [6, 1, 1]),
        ([5, 0, 0], [1, 1, 1]),
        ([0, 0, 0], [1, 0, 1]),
        ([u64::MAX, 0, 0], [2, 1, 1]),
    ] {
        let outcome = volume.read_u8(&Region::new(origin, shape));
        assert!(matches!(outcome, Err(VolumeError::Region { .. })), "{origin:?} {shape:?}");
    }
}
