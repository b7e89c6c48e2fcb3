//! A model file proves what its network computes.

use safetensors::SafeTensors;
use tu_model::known_answer::{KnownAnswer, tolerance};
use tu_model::model_file::read_metadata;
use tu_model::{Network, Precision, replace_metadata, sha256_hex};

use super::*;

fn known(bytes: &[u8]) -> KnownAnswer {
    read_metadata(bytes).unwrap().known_answer.unwrap()
}

#[test]
fn an_older_model_gets_a_known_answer_and_keeps_its_weights() {
    let bench = Bench { folder: tempfile::tempdir().unwrap() };
    let old = model();
    std::fs::write(bench.path("old.safetensors"), &old).unwrap();
    assert!(bench.ok(&["info", "old.safetensors"]).contains("none"));
    let checked = bench.json(&["known-answer", "--model", "old.safetensors", "--device", "cpu"]);
    assert_eq!(checked["in_file"], false);

    let made = bench.json(&["known-answer", "--model", "old.safetensors", "--out", "new.safetensors"]);
    let new = std::fs::read(bench.path("new.safetensors")).unwrap();
    assert_eq!(made["sha256"], sha256_hex(&new));
    let mut metadata = read_metadata(&new).unwrap();
    assert_eq!(known(&new).window_zyx, metadata.window_zyx());
    metadata.known_answer = None;
    assert_eq!(replace_metadata(&new, &metadata).unwrap(), old, "nothing else has changed");
    assert!(bench.ok(&["info", "new.safetensors"]).contains("72 values"));
    bench.fails(
        &["known-answer", "--model", "old.safetensors", "--out", "new.safetensors"],
        &["new.safetensors", "exists already"],
    );

    for precision in ["f32", "f16", "bf16"] {
        let arguments =
            ["known-answer", "--model", "new.safetensors", "--device", "cpu", "--precision", precision];
        let checked = bench.json(&arguments);
        let difference = checked["largest_difference"].as_f64().unwrap();
        assert!(difference <= checked["tolerance"].as_f64().unwrap(), "{precision}: {difference}");
        assert_eq!(checked["in_file"], true);
    }
}

#[test]
fn a_model_that_misses_its_known_answer_is_refused_with_device_error_and_remedy() {
    let bench = Bench { folder: tempfile::tempdir().unwrap() };
    let bytes = tu_model::known_answer::with_known_answer(&model()).unwrap();
    // Another exponent in a bias of the head.
    let bias =
        SafeTensors::deserialize(&bytes).unwrap().tensor("out.conv.conv.bias").unwrap().data().as_ptr();
    let mut flipped = bytes.clone();
    flipped[bias as usize - bytes.as_ptr() as usize + 3] ^= 0x40;
    let mut metadata = read_metadata(&bytes).unwrap();
    metadata.known_answer.as_mut().unwrap().values[7] = 0.999;
    let edited = replace_metadata(&bytes, &metadata).unwrap();
    for (name, file) in [("flipped.safetensors", flipped), ("edited.safetensors", edited)] {
        std::fs::write(bench.path(name), file).unwrap();
        bench.fails(
            &["known-answer", "--model", name, "--device", "cpu"],
            &["device cpu", name, "missed by up to 0.", "0.001", "--device cpu"],
        );
    }
}

#[test]
fn a_calibrated_model_carries_the_answer_of_its_own_window_and_its_stored_weights() {
    let bench = Bench::new();
    let labelled =
        ["--raw", "phantom.zarr/raw", "--labels", "phantom.zarr/labels", "--device", "cpu", "--quiet"];
    let calibrate = ["calibrate", "--model", "model.safetensors", "--tile", "8,32,16", "--f16"];
    bench.ok(&[&calibrate[..], &labelled, &["--out", "calibrated.safetensors"]].concat());
    // A second time from a file that has the answer of another window.
    let again = ["calibrate", "--model", "calibrated.safetensors", "--tile", "8,16,16"];
    bench.ok(&[&again[..], &labelled, &["--out", "again.safetensors"]].concat());
    for (name, window) in [("calibrated.safetensors", [12, 48, 32]), ("again.safetensors", [12, 32, 32])] {
        let bytes = std::fs::read(bench.path(name)).unwrap();
        let known = known(&bytes);
        assert_eq!(known.window_zyx, window, "{name}");
        let network = Network::from_bytes(&bytes, &Device::flex()).unwrap();
        let difference = known.check_blocking(&network, tolerance(Precision::F32)).unwrap();
        assert!(difference < 1e-5, "{name}: the weights are those that were stored: {difference}");
    }
}
