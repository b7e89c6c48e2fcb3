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
        &["--tile", "8,24,24", "--halo", "2,4,4", "--shifts", "1"],
    ]
    .concat();
    let made = bench.json(&calibrate);
    let about = bench.json(&["info", "calibrated.safetensors"]);
    assert_eq!(about["metadata"]["tile_zyx"], serde_json::json!([8, 24, 24]));
    for key in ["fragment_method", "scoring", "threshold"] {
        assert_eq!(about["metadata"][key], made[key], "{key}");
    }
    let best = made["robust_voi"].as_f64().unwrap();
    let methods = made["methods"].as_array().unwrap();
    assert!(methods.iter().all(|method| method["robust_voi"].as_f64().unwrap() >= best), "{methods:?}");
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
        let (a, b) = (made[key].as_f64().unwrap(), scored[key].as_f64().unwrap());
        assert!((a - b).abs() < 1e-9, "{key}: {a} in the calibration, {b} in the segmentation");
    }
    bench.fails(&calibrate, &["calibrated.safetensors", "exists already"]);
}

#[test]
fn several_regions_and_shifts_are_averaged_and_crossed() {
    let bench = Bench::new();
    let region = ["--raw", "phantom.zarr/raw", "--labels", "phantom.zarr/labels"];
    let made = bench.json(
        &[
            &["calibrate", "--model", "model.safetensors", "--out", "c.safetensors", "--shifts", "2"],
            &region[..],
            &region,
            &["--roi", ":10,:,:", "--roi", "10:,:,:", "--device", "cpu", "--quiet"],
        ]
        .concat(),
    );
    assert_eq!(made["samples"], 4);
    assert!(made["cross_fitted_voi"].as_f64().unwrap() >= 0.0);
    assert!(made["voi_spread"].as_f64().unwrap() > 0.0);
    let about = bench.json(&["info", "c.safetensors"]);
    let notes = about["metadata"]["provenance"]["notes"].as_str().unwrap();
    assert!(notes.contains("over 4 samples") && notes.contains("10:,:,:"), "{notes}");
}

#[test]
fn labels_that_tell_no_settings_apart_are_refused() {
    let bench = Bench::new();
    let calibrate =
        ["calibrate", "--model", "model.safetensors", "--out", "c.safetensors", "--device", "cpu"];
    let refusals: [(&[&str], &[&str]); 2] = [
        (
            &["--labels", "phantom.zarr/labels", "--roi", "0:1,0:1,0:1"],
            &["phantom.zarr/labels", "labelled objects"],
        ),
        (
            &["--labels", "phantom.zarr/labels", "--labels", "phantom.zarr/labels"],
            &["--labels 2", "one --labels"],
        ),
    ];
    for (more, words) in refusals {
        bench.fails(&[&calibrate[..], &["--raw", "phantom.zarr/raw"], more].concat(), words);
        assert!(!bench.path("c.safetensors").exists());
    }
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
