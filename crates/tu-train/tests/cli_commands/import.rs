//! PyTorch checkpoints become model files.

use super::*;

/// The path of a fixture that PyTorch wrote.
fn fixture(name: &str) -> String {
    format!("{}/../../tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn empty() -> Bench {
    Bench { folder: tempfile::tempdir().unwrap() }
}

#[test]
fn a_checkpoint_becomes_a_model_that_says_where_it_comes_from() {
    let bench = empty();
    let from = fixture("official_micro.pth");
    let text = bench.ok(&["import", "--from", &from, "--out", "m.safetensors"]);
    for part in [
        "mapped",
        "missing        0",
        "voxel size [35.0, 8.0, 8.0] nm",
        "--voxel-nm",
        "licence        unknown",
    ] {
        assert!(text.contains(part), "no «{part}» in:\n{text}");
    }
    let info = bench.json(&["info", "m.safetensors"]);
    let metadata = &info["metadata"];
    let sha256 = tu_model::sha256_hex(&std::fs::read(&from).unwrap());
    let objective = metadata["provenance"]["objective"].as_str().unwrap();
    assert!(objective.contains("official_micro.pth") && objective.contains(&sha256), "{objective}");
    assert_eq!(metadata["architecture"]["nslices"], 5);

    let given = ["--voxel-nm", "30,6,6", "--licence", "CC0-1.0"];
    let json = bench.json(&[&["import", "--from", &from, "--out", "n.safetensors"], &given[..]].concat());
    assert_eq!(json["report"]["missing"].as_array().map(Vec::len), Some(0));
    assert_eq!(json["report"]["kind"], "affinities");
    assert_eq!(json["model"], "n.safetensors");
    let info = bench.json(&["info", "n.safetensors"]);
    assert_eq!(info["metadata"]["licence"], "CC0-1.0");
    assert_eq!(info["metadata"]["voxel_nm_zyx"], serde_json::json!([30.0, 6.0, 6.0]));
}

#[test]
fn an_imported_model_segments_a_volume() {
    let bench = Bench::new();
    bench.ok(&["import", "--from", &fixture("official_micro.pth"), "--out", "m.safetensors"]);
    bench.ok(&[
        "affinities",
        "--input",
        "phantom.zarr/raw",
        "--model",
        "m.safetensors",
        "--output",
        "a.zarr",
        "--device",
        "cpu",
    ]);
    assert_eq!(bench.open("a.zarr").channels(), 3);
}

/// Both kinds: a network that gives affinities keeps its head, a pretrained one gets a fresh one.
#[test]
fn an_imported_model_is_fine_tuned() {
    let bench = empty();
    // Five slices of tokens at the deepest of scales that halve z: 16 × 80 × 32 voxels are the fewest.
    bench.ok(&["phantom", "--out", "phantom.zarr", "--shape", "16,80,32"]);
    for (name, fresh_head) in [("official_micro.pth", false), ("official_micro_autoregressive.pth", true)] {
        let (model, run) = (format!("{name}.safetensors"), format!("{name}.run"));
        bench.ok(&["import", "--from", &fixture(name), "--out", &model, "--voxel-nm", "20,20,20"]);
        let volumes = ["--raw", "phantom.zarr/raw", "--labels", "phantom.zarr/labels", "--init", &model];
        let steps = ["--crop", "16,80,32", "--steps", "1", "--validate-every", "0", "--device", "cpu"];
        let arguments = [&["finetune", "--out", &run], &volumes[..], &steps[..]].concat();
        // Before the first step, not when the model is to be written.
        bench.fails(&arguments, &["tile_zyx", "multiple of 16"]);
        std::fs::write(bench.path("tile.toml"), "tile_zyx = [16, 80, 32]\nhalo_zyx = [0, 0, 0]\n").unwrap();
        let made = bench.json(&[&arguments[..], &["--config", "tile.toml"]].concat());
        assert_eq!(made["trained_parameters"], made["parameters"]);
        assert!(made["loss"].as_f64().is_some_and(f64::is_finite));
        let about = bench.json(&["info", &format!("{run}/model.safetensors")]);
        assert_eq!(about["metadata"]["architecture"]["out_channels"], 3, "{fresh_head}");
        assert_eq!(about["metadata"]["architecture"]["residual"], false);
    }
}

#[test]
fn an_incomplete_checkpoint_is_reported_and_fails_without_a_file() {
    // The name of one tensor is changed where the pickle states it; the checksum of the pickle is made right again.
    let bench = empty();
    let mut bytes = std::fs::read(fixture("official_micro.pth")).unwrap();
    let pickle = 64..64 + data_pkl_bytes(&bytes);
    let old = crc32fast::hash(&bytes[pickle.clone()]).to_le_bytes();
    let name = b"encoder3.layer.conv2.conv.weight";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at] = b'E';
    let new = crc32fast::hash(&bytes[pickle]).to_le_bytes();
    for at in 0..bytes.len() - 4 {
        if bytes[at..at + 4] == old {
            bytes[at..at + 4].copy_from_slice(&new);
        }
    }
    std::fs::write(bench.path("incomplete.pth"), bytes).unwrap();

    let arguments = ["import", "--from", "incomplete.pth", "--out", "m.safetensors"];
    let output = bench.run(&arguments);
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    for part in ["incomplete.pth", "1 tensors are missing", "m.safetensors was not written"] {
        assert!(error.contains(part), "{error}");
    }
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("encoder3.layer.conv2.conv.weight [8, 8, 1, 3, 3]")
    );

    let output = bench.run(&[&arguments[..], &["--json"]].concat());
    assert!(!output.status.success());
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["report"]["missing"][0]["name"], "encoder3.layer.conv2.conv.weight");
    assert_eq!(json["report"]["unexpected"][0]["name"], "Encoder3.layer.conv2.conv.weight");
    assert_eq!(json["model"], Value::Null);
    assert!(!bench.path("m.safetensors").exists());
}

/// Size of `data.pkl`, the first entry, whose data begin at byte 64.
fn data_pkl_bytes(bytes: &[u8]) -> usize {
    let directory = bytes.windows(4).position(|window| window == b"PK\x01\x02").unwrap();
    u32::from_le_bytes(bytes[directory + 24..directory + 28].try_into().unwrap()) as usize
}

#[test]
fn what_cannot_be_imported_is_refused_by_name() {
    let bench = empty();
    std::fs::write(bench.path("old.pth"), b"\x80\x02\x8a\x0alegacy").unwrap();
    std::fs::write(bench.path("model.safetensors"), model()).unwrap();
    let fixture = fixture("official_micro.pth");
    let refusals: [(&[&str], &[&str]); 5] = [
        (&["--from", "none.pth", "--out", "m"], &["none.pth", "check the path"]),
        (&["--from", "old.pth", "--out", "m"], &["old.pth", "before PyTorch 1.6", "save it again"]),
        (&["--from", "model.safetensors", "--out", "m"], &["model.safetensors", "use it as it is"]),
        (&["--from", &fixture, "--out", "model.safetensors"], &["model.safetensors", "exists already"]),
        (
            &["--from", &fixture, "--out", "m", "--voxel-nm", "8,0,8"],
            &["--voxel-nm", "three positive numbers"],
        ),
    ];
    for (arguments, expected) in refusals {
        bench.fails(&[&["import"], arguments].concat(), expected);
    }
    assert!(!bench.path("m").exists());
}
