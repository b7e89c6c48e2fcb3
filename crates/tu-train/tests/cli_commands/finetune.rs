//! Training from the command line; what training computes is tested beside it.

use super::*;

#[test]
fn a_network_is_trained_and_the_run_can_be_described_and_used() {
    let bench = Bench::new();
    let settings = "tile_zyx = [8, 16, 16]\nhalo_zyx = [2, 8, 8]\nsteps = 99\n";
    std::fs::write(bench.path("settings.toml"), settings).unwrap();
    let made = bench.json(&[
        "finetune",
        "--config",
        "settings.toml",
        "--raw",
        "phantom.zarr/raw",
        "--labels",
        "phantom.zarr/labels",
        "--roi",
        "0:12,:,:",
        "--val-roi",
        "12:20,:32,:32",
        "--init",
        "model.safetensors",
        "--crop",
        "4,32,32",
        "--steps",
        "2",
        "--lr",
        "0.002",
        "--out",
        "run",
        "--device",
        "cpu",
        "--quiet",
    ]);
    assert_eq!(made["steps"].as_u64(), Some(2), "options override the settings file");
    assert!(made["scores"]["voi"].as_f64().is_some());
    let reported = bench.json(&["report", "run", "--out", "page.html"]);
    assert_eq!((reported["kind"].as_str(), reported["validations"].as_u64()), (Some("finetune"), Some(1)));
    assert!(std::fs::read_to_string(bench.path("page.html")).unwrap().contains("VOI split"));
    let kept = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    assert!(kept.contains("lr = 0.002") && kept.contains("steps = 2"), "{kept}");
    let about = bench.json(&["info", "run/model.safetensors"]);
    assert_eq!(about["metadata"]["tile_zyx"], serde_json::json!([8, 16, 16]));
    assert_eq!(about["metadata"]["known_answer"]["window_zyx"], serde_json::json!([12, 32, 32]));
    let model =
        ["segment", "--model", "run/model.safetensors", "--input", "phantom.zarr/raw", "--device", "cpu"];
    bench.json(&[&model[..], &["--output", "s.zarr", "--roi", "0:8,0:16,0:16"]].concat());
}

#[test]
fn volumes_and_regions_that_do_not_pair_up_are_refused() {
    let bench = Bench::new();
    bench.fails(
        &["finetune", "--raw", "phantom.zarr/raw", "--out", "run", "--device", "cpu"],
        &["--labels", "give one"],
    );
    let pair = ["finetune", "--raw", "phantom.zarr/raw", "--labels", "phantom.zarr/labels", "--out", "run"];
    bench.fails(&[&pair[..], &["--roi", ":,:,:", "--roi", ":,:,:"]].concat(), &["2 regions for 1 volumes"]);
    bench.fails(&[&pair[..], &["--roi", "0:99,:,:"]].concat(), &["0:99", "phantom.zarr/raw", "inside"]);
    bench.fails(&["finetune", "--out", "run", "--device", "cpu"], &["volume"]);
}
