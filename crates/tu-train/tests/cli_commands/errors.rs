//! Wrong input: the exit code is not 0, and the message names the input, the cause and the remedy.

use super::*;

fn segment_of<'a>(input: &'a str, model: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["segment", "--input", input, "--model", model, "--output", "s.zarr", "--device", "cpu"], more].concat()
}

#[test]
fn inputs_that_cannot_serve_are_refused_by_name() {
    let bench = Bench::new();
    let model = "model.safetensors";
    let refusals: [(&[&str], &[&str]); 8] = [
        (
            &segment_of("phantom.zarr/labels", model, &[]),
            &["phantom.zarr/labels", "labels", "give the raw volume"],
        ),
        (&segment_of("nowhere.zarr", model, &[]), &["nowhere.zarr", "no volume found", "check the path"]),
        (
            &segment_of("phantom.zarr/raw", "nowhere.safetensors", &[]),
            &["nowhere.safetensors", "check the path"],
        ),
        (
            &segment_of("phantom.zarr/raw", model, &["--roi", "0:21,:,:"]),
            &["0:21", "phantom.zarr/raw", "inside"],
        ),
        (
            &["agglomerate", "--affinities", "phantom.zarr/raw", "--output", "s.zarr"],
            &["phantom.zarr/raw", "1 channels", "[3, z, y, x]"],
        ),
        (
            &["evaluate", "--segmentation", "nowhere.zarr", "--truth", "phantom.zarr/labels"],
            &["nowhere.zarr", "check the path"],
        ),
        (&["phantom", "--out", "phantom.zarr"], &["phantom.zarr"]),
        (&["info", "nowhere.safetensors"], &["nowhere.safetensors", "check the path"]),
    ];
    for (arguments, expected) in refusals {
        bench.fails(arguments, expected);
    }
    assert!(!bench.path("s.zarr").exists());
}

#[test]
fn options_that_make_no_sense_are_refused_with_what_is_allowed() {
    let bench = Bench { folder: tempfile::tempdir().unwrap() };
    for (more, expected) in [
        (["--threshold", "1.5"], "between 0 and 1"),
        (["--device", "tpu"], "auto, cpu, cuda or wgpu"),
        (["--fragment-method", "magic"], "affinity, seeded or slice"),
        (["--roi", "0:1,2"], "z0:z1,y0:y1,x0:x1"),
        (["--voxel-nm", "1,2"], "z,y,x"),
        (["--scoring", "median"], "quantile"),
        (["--scoring", "mean,size:2"], "from 0 to 1"),
        (["--scoring", "mean,size:0.0625"], "three decimals"),
    ] {
        bench.fails(
            &[&["segment", "--input", "a", "--model", "b", "--output", "c"], &more[..]].concat(),
            &[expected],
        );
    }
}

#[cfg(not(feature = "cuda"))]
#[test]
fn a_device_that_this_build_lacks_is_refused_with_the_build_that_has_it() {
    let bench = Bench::new();
    let arguments = [
        "segment",
        "--input",
        "phantom.zarr/raw",
        "--model",
        "model.safetensors",
        "--output",
        "s.zarr",
        "--device",
        "cuda",
    ];
    bench.fails(&arguments, &["cuda", "--features cuda", "--device cpu"]);
}

#[test]
fn damaged_models_and_models_of_another_shape_are_refused() {
    let bench = Bench::new();
    let bytes = model();
    std::fs::write(bench.path("short.safetensors"), &bytes[..bytes.len() - 7]).unwrap();
    bench.fails(
        &segment_of("phantom.zarr/raw", "short.safetensors", &[]),
        &["short.safetensors", "model file"],
    );
    // Another architecture in the header than in the tensors.
    let network = architecture().init_seeded(&Device::flex(), 5);
    let mut wrong = metadata();
    wrong.architecture.features[0] = 6;
    let bytes = tu_model::save(&network, &wrong, StoredFloat::F32).unwrap();
    std::fs::write(bench.path("wrong.safetensors"), bytes).unwrap();
    bench.fails(
        &segment_of("phantom.zarr/raw", "wrong.safetensors", &[]),
        &["wrong.safetensors", "contradicts its own architecture"],
    );
    assert!(!bench.path("s.zarr").exists() && !bench.path("s.zarr.unfinished").exists());
}

#[test]
fn a_host_that_does_not_answer_is_named() {
    let bench = Bench::new();
    // A port that was free a moment ago, and on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/em.zarr|zarr3:");
    bench.fails(&segment_of(&url, "model.safetensors", &[]), &["127.0.0.1", "check"]);
}

#[test]
fn a_truncated_chunk_fails_its_tiles_and_leaves_nothing_that_looks_finished() {
    let bench = Bench::new();
    let chunk = files(&bench.path("phantom.zarr/raw"))
        .into_keys()
        .find(|path| path.file_name().is_some_and(|name| name != "zarr.json"))
        .unwrap();
    let chunk = bench.path("phantom.zarr/raw").join(chunk);
    let whole = std::fs::read(&chunk).unwrap();
    std::fs::write(&chunk, &whole[..whole.len() / 2]).unwrap();
    let arguments = segment_of("phantom.zarr/raw", "model.safetensors", &["--affinities", "a.zarr"]);
    bench.fails(
        &arguments,
        &["of 27 tiles failed", "phantom.zarr/raw", "tile [0, 0, 0]", "damaged", "--resume"],
    );
    assert!(!bench.path("s.zarr").exists());
    bench.fails(&["info", "a.zarr"], &["a.zarr"]);
    std::fs::write(&chunk, &whole).unwrap();
    let resume = [&arguments[..], &["--resume"]].concat();
    bench.ok(&resume);
    bench.ok(&["info", "a.zarr"]);
}

#[test]
fn what_is_there_is_not_overwritten() {
    let bench = Bench::new();
    bench.segment("s.zarr", &[]);
    let before = files(&bench.path("s.zarr"));
    bench.fails(
        &segment_of("phantom.zarr/raw", "model.safetensors", &[]),
        &["s.zarr", "already", "delete it"],
    );
    bench.fails(
        &segment_of("phantom.zarr/raw", "model.safetensors", &["--resume", "--threshold", "0.1"]),
        &["s.zarr", "already", "choose another name"],
    );
    assert!(files(&bench.path("s.zarr")) == before);
}

#[test]
fn volumes_that_do_not_lie_over_each_other_are_not_compared() {
    let bench = Bench::new();
    bench.segment("left.zarr", &["--roi", ":,:,0:20"]);
    bench.segment("right.zarr", &["--roi", ":,:,16:44"]);
    bench.fails(
        &["evaluate", "--segmentation", "left.zarr", "--truth", "right.zarr"],
        &["left.zarr", "right.zarr", "overlap", "--roi"],
    );
    bench.fails(
        &["evaluate", "--segmentation", "left.zarr", "--truth", "phantom.zarr/labels", "--roi", ":,:,0:21"],
        &["0:20,0:40,0:21", "not all in the segmentation", "choose a region"],
    );
    let shared = ["evaluate", "--segmentation", "left.zarr", "--truth", "right.zarr", "--roi", ":,:,0:4"];
    assert_eq!(bench.json(&shared)["voxels"].as_u64().map(|v| v <= 20 * 40 * 4), Some(true));
}

#[test]
fn other_voxel_sizes_than_the_models_are_warned_about() {
    let bench = Bench::new();
    let output = bench.run(&segment_of("phantom.zarr/raw", "model.safetensors", &["--voxel-nm", "60,20,20"]));
    assert!(output.status.success());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("warning") && said.contains("60.0") && said.contains("20.0"), "{said}");
}
