//! Every array of the real data is readable and holds what its manifest says.
#![cfg(not(target_arch = "wasm32"))]

use serde_json::Value;
use std::path::PathBuf;
use tu_volume::{Region, Volume};

fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("TU_DATA").map_or_else(
        || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")),
        PathBuf::from,
    );
    folder.join("manifest.json").is_file().then_some(folder)
}

#[test]
fn every_array_of_the_manifest_is_readable_and_has_its_extremes() {
    let Some(folder) = data() else {
        eprintln!(
            "SKIPPED every_array_of_the_manifest_is_readable: set TU_DATA to the folder of the real volumes"
        );
        return;
    };
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    let mut arrays = 0;
    for entry in manifest.as_array().unwrap() {
        let path = folder.join(entry["path"].as_str().unwrap());
        for array in entry["arrays"].as_array().unwrap() {
            let url = path.join(array["array"].as_str().unwrap()).display().to_string();
            let volume = Volume::open(&url).unwrap_or_else(|e| panic!("{e}"));
            let shape: Vec<u64> =
                array["shape"].as_array().unwrap().iter().filter_map(Value::as_u64).collect();
            assert_eq!(volume.shape_zyx()[..], shape[shape.len() - 3..], "{url}");
            assert_eq!(volume.data_type().name(), array["dtype"].as_str().unwrap(), "{url}");
            let want: Vec<f64> =
                entry["voxel_size_nm_zyx"].as_array().unwrap().iter().filter_map(Value::as_f64).collect();
            assert_eq!(volume.voxel_nm_zyx().map(Vec::from), Some(want), "{url}");
            let extremes = if volume.data_type().is_unsigned() {
                let values = volume.read_u64(&volume.region()).unwrap_or_else(|e| panic!("{e}"));
                (*values.iter().min().unwrap() as f64, *values.iter().max().unwrap() as f64)
            } else {
                let values = volume.read_f32(&volume.region()).unwrap_or_else(|e| panic!("{e}"));
                let fold = |start: f32, pick: fn(f32, f32) -> f32| {
                    f64::from(values.iter().copied().fold(start, pick))
                };
                (fold(f32::MAX, f32::min), fold(f32::MIN, f32::max))
            };
            for (key, value) in [("min", extremes.0), ("max", extremes.1)] {
                if let Some(expected) = array[key].as_f64() {
                    assert!(
                        (value - expected).abs() < 1e-3 * expected.abs().max(1.0),
                        "{url} {key} {value} {expected}"
                    );
                }
            }
            arrays += 1;
        }
    }
    assert!(arrays > 10, "{arrays} arrays");
}

#[test]
fn boxes_equal_the_same_boxes_of_the_whole() {
    let Some(folder) = data() else {
        eprintln!(
            "SKIPPED boxes_equal_the_same_boxes_of_the_whole: set TU_DATA to the folder of the real volumes"
        );
        return;
    };
    let volume = Volume::open(&folder.join("fib25_ts2.zarr|zarr3:raw").display().to_string()).unwrap();
    let whole = volume.read_u8(&volume.region()).unwrap();
    for (origin, shape) in [([0, 0, 0], [1, 1, 1]), ([60, 61, 62], [7, 70, 9]), ([200, 100, 249], [50, 3, 1])]
    {
        let part = volume.read_u8(&Region::new(origin.map(|v| v as u64), shape)).unwrap();
        let mut expected = Vec::new();
        for z in origin[0]..origin[0] + shape[0] {
            for y in origin[1]..origin[1] + shape[1] {
                let row = (z * 250 + y) * 250 + origin[2];
                expected.extend_from_slice(&whole[row..row + shape[2]]);
            }
        }
        assert_eq!(part, expected, "{origin:?}");
    }
}
