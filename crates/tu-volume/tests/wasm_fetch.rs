//! The asynchronous reader in a worker of a real browser, against a real web server.
//!
//! `cargo xtask test` serves `tests/fixtures` (with ranges and CORS) and passes the address at compile time as
//! `TU_TEST_HTTP`; without it the tests say loudly that they are skipped.
#![cfg(target_arch = "wasm32")]

use tu_volume::{AsyncVolume, Region, VolumeError};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

const SHAPE: [usize; 3] = [5, 6, 7];

fn server() -> Option<&'static str> {
    let address = option_env!("TU_TEST_HTTP");
    if address.is_none() {
        console_log!("SKIPPED: TU_TEST_HTTP was not set when this was compiled; run `cargo xtask test`");
    }
    address.map(|a| a.trim_end_matches('/'))
}

fn values(origin: [usize; 3], shape: [usize; 3]) -> Vec<u64> {
    let mut out = Vec::new();
    for z in origin[0]..origin[0] + shape[0] {
        for y in origin[1]..origin[1] + shape[1] {
            for x in origin[2]..origin[2] + shape[2] {
                out.push(((z * 37 + y * 11 + x * 3 + 5) % 251) as u64);
            }
        }
    }
    out
}

#[wasm_bindgen_test]
async fn every_codec_and_type_is_read_over_fetch() {
    let Some(server) = server() else { return };
    let stored = [
        "v2_none",
        "v2_gzip",
        "v2_zstd",
        "v2_blosc",
        "v3_none",
        "v3_gzip",
        "v3_zstd",
        "v3_blosc",
        "v3_sharded",
    ];
    for stored in stored {
        for data_type in ["uint8", "uint16", "float32", "uint64"] {
            let url = format!("{server}/{stored}_{data_type}");
            let volume = AsyncVolume::open(&url).await.unwrap_or_else(|e| panic!("{e}"));
            assert_eq!((volume.shape_zyx(), volume.data_type().name()), ([5, 6, 7], data_type), "{url}");
            for (origin, shape) in [([0, 0, 0], SHAPE), ([1, 2, 3], [3, 3, 3]), ([4, 5, 6], [1, 1, 1])] {
                let region = Region::new(origin.map(|v| v as u64), shape);
                let want = values(origin, shape);
                match data_type {
                    "float32" => {
                        let want: Vec<f32> = want.iter().map(|&v| v as f32 / 8.0).collect();
                        assert_eq!(volume.read_f32(&region).await.unwrap(), want, "{url}");
                    }
                    "uint64" => {
                        let want: Vec<u64> = want.iter().map(|v| v << 40).collect();
                        assert_eq!(volume.read_u64(&region).await.unwrap(), want, "{url}");
                    }
                    _ => assert_eq!(volume.read_u64(&region).await.unwrap(), want, "{url}"),
                }
            }
        }
    }
}

#[wasm_bindgen_test]
async fn ome_images_tell_their_scales_and_sizes() {
    let Some(server) = server() else { return };
    for name in ["ome_0_4", "ome_0_5"] {
        let finest = AsyncVolume::open(&format!("zarr://{server}/{name}")).await.unwrap();
        assert_eq!((finest.scales(), finest.voxel_offset_zyx()), (2, [10, 20, 30]));
        let nm = finest.voxel_nm_zyx().unwrap();
        assert!(nm.iter().zip([40.0, 8.0, 4.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{nm:?}");
        let coarse = AsyncVolume::open_scale(&format!("{server}/{name}"), 1, None).await.unwrap();
        assert_eq!(coarse.shape_zyx(), [5, 3, 4]);
    }
}

#[wasm_bindgen_test]
async fn a_missing_chunk_is_fill_value() {
    let Some(server) = server() else { return };
    for version in ["v2", "v3"] {
        let volume = AsyncVolume::open(&format!("{server}/{version}_missing_uint8")).await.unwrap();
        let read = volume.read_u8(&volume.region()).await.unwrap();
        for (i, (&read, expected)) in read.iter().zip(values([0; 3], SHAPE)).enumerate() {
            let missing = i / 42 >= 3 && i / 7 % 6 < 4 && i % 7 >= 5;
            assert_eq!(u64::from(read), if missing { 7 } else { expected }, "voxel {i}");
        }
    }
}

#[wasm_bindgen_test]
async fn an_aborted_read_says_so_and_the_volume_lives_on() {
    let Some(server) = server() else { return };
    let volume = AsyncVolume::open(&format!("{server}/v3_sharded_uint8")).await.unwrap();
    let controller = web_sys::AbortController::new().unwrap();
    controller.abort();
    let aborted = volume.with_signal(Some(&controller.signal()));
    let error = aborted.read_u8(&volume.region()).await.unwrap_err();
    assert!(matches!(error, VolumeError::Aborted { .. }), "{error}");
    assert!(volume.read_u8(&volume.region()).await.is_ok());
}

#[wasm_bindgen_test]
async fn what_is_not_there_and_who_does_not_answer_are_told_apart() {
    let Some(server) = server() else { return };
    let error = AsyncVolume::open(&format!("{server}/nothing")).await.unwrap_err();
    assert!(matches!(error, VolumeError::NotFound { .. }), "{error}");
    let error = AsyncVolume::open("http://127.0.0.1:1/x.zarr").await.unwrap_err();
    assert!(matches!(error, VolumeError::Http { retryable: true, .. }), "{error}");
    let error = AsyncVolume::open("some/path.zarr").await.unwrap_err();
    assert!(matches!(error, VolumeError::Url { .. }) && error.to_string().contains("HTTP"), "{error}");
}
