//! Post-processing settings are chosen on labels and kept in the model file.

use super::*;

#[test]
fn a_calibrated_model_scores_what_the_calibration_says() {
    let bench = Bench::new();
    let labelled =
        ["--raw", "phantom.zarr/raw", "--labels", "phantom.zarr/labels", "--device", "cpu", "--quiet"];
    let calibrate = [
        &["calibrate", "--model", "model.safetensors", "--out", "calibrated.safetensors"],
        &labelled[..],
        &["--tile", "8,24,24", "--halo", "2,4,4"],
    ]
    .concat();
    let made = bench.json(&calibrate);
    let about = bench.json(&["info", "calibrated.safetensors"]);
    assert_eq!(about["metadata"]["tile_zyx"], serde_json::json!([8, 24, 24]));
    for key in ["fragment_method", "scoring", "threshold"] {
        assert_eq!(about["metadata"][key], made[key], "{key}");
    }
    let best = made["scores"]["voi"].as_f64().unwrap();
    let methods = made["methods"].as_array().unwrap();
    assert!(methods.iter().all(|method| method["scores"]["voi"].as_f64().unwrap() >= best), "{methods:?}");
    assert!(methods.len() >= 3);

    bench.ok(&[
        "segment",
        "--input",
        "phantom.zarr/raw",
        "--model",
        "calibrated.safetensors",
        "--output",
        "s.zarr",
        "--device",
        "cpu",
        "--quiet",
    ]);
    let scored =
        bench.json(&["evaluate", "--segmentation", "s.zarr", "--truth", "phantom.zarr/labels", "--quiet"]);
    for key in ["voi_split", "voi_merge", "arand"] {
        let (a, b) = (made["scores"][key].as_f64().unwrap(), scored[key].as_f64().unwrap());
        assert!((a - b).abs() < 1e-9, "{key}: {a} in the calibration, {b} in the segmentation");
    }
    bench.fails(&calibrate, &["calibrated.safetensors", "exists already"]);
}

#[test]
fn a_tile_that_the_network_cannot_take_is_refused() {
    let bench = Bench::new();
    bench.fails(
        &[
            "calibrate",
            "--model",
            "model.safetensors",
            "--out",
            "c.safetensors",
            "--raw",
            "phantom.zarr/raw",
            "--labels",
            "phantom.zarr/labels",
            "--tile",
            "8,20,24",
            "--device",
            "cpu",
        ],
        &["--tile", "16"],
    );
    assert!(!bench.path("c.safetensors").exists());
}
