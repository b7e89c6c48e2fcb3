//! Runs that are cut off, and runs that go on.

use super::*;

/// Starts a run and kills it when some of its tiles are done; false if it was faster than that.
fn kill_midway(bench: &Bench, arguments: &[&str], working: &str, tiles: usize) -> bool {
    let mut child = bench
        .command(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let folder = bench.path(working).join("tiles");
    loop {
        let done = std::fs::read_dir(&folder).map_or(0, |entries| {
            entries
                .filter(|e| e.as_ref().is_ok_and(|e| e.path().extension().is_some_and(|x| x == "tile")))
                .count()
        });
        if done >= tiles {
            child.kill().unwrap();
            child.wait().unwrap();
            return true;
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}

/// A run with every output, by relative names.
fn everything() -> Vec<&'static str> {
    let outputs = ["--output", "s.zarr", "--affinities", "a.zarr", "--write-fragments", "f.zarr"];
    [&["segment", "--roi", "3:,5:39,:"], SEGMENT, &outputs].concat()
}

#[test]
fn a_killed_run_goes_on_to_the_bytes_of_a_straight_run() {
    let straight = Bench::new();
    straight.ok(&everything());
    let killed = Bench::new();
    for tiles in [2, 9, 17] {
        let arguments = [&everything()[..], &["--resume"]].concat();
        if !kill_midway(&killed, &arguments, "s.zarr.unfinished", tiles) {
            eprintln!("the run was over before {tiles} tiles were seen");
            continue;
        }
        // What is there does not look finished.
        if killed.path("s.zarr").exists() {
            killed.fails(&["info", "s.zarr"], &["s.zarr"]);
        }
        killed.fails(&["info", "a.zarr"], &["a.zarr"]);
    }
    let made = killed.json(&[&everything()[..], &["--resume"]].concat());
    if made["already_complete"] == false {
        assert!(made["resumed_tiles"].as_u64() > Some(0));
    }
    for output in ["s.zarr", "a.zarr", "f.zarr"] {
        assert!(files(&killed.path(output)) == files(&straight.path(output)), "{output} differs");
    }
    assert!(!killed.path("s.zarr.unfinished").exists());
    let again = killed.json(&[&everything()[..], &["--resume"]].concat());
    assert_eq!(again["already_complete"], true);
}

#[test]
fn an_unfinished_run_is_neither_overwritten_nor_continued_with_other_options() {
    let bench = Bench::new();
    let arguments = [&["segment", "--output", "s.zarr"], SEGMENT].concat();
    if !kill_midway(&bench, &arguments, "s.zarr.unfinished", 2) {
        eprintln!("the run was over before it could be killed");
        return;
    }
    bench.fails(&arguments, &["s.zarr.unfinished", "--resume", "delete the folder"]);
    let other = [&arguments[..], &["--resume", "--fragment-method", "slice"]].concat();
    bench.fails(&other, &["fragment_method", "slice", "another run"]);
    let mut metadata = metadata();
    metadata.provenance.seed = 9;
    let network = architecture().init_seeded(&Device::flex(), 6);
    let bytes = tu_model::save(&network, &metadata, StoredFloat::F32).unwrap();
    std::fs::write(bench.path("other.safetensors"), bytes).unwrap();
    let other = [&arguments[..], &["--resume", "--model", "other.safetensors"]].concat();
    let other: Vec<&str> = other.into_iter().filter(|a| *a != "model.safetensors").collect();
    let first = other.iter().position(|a| *a == "--model").unwrap();
    let other: Vec<&str> = other.iter().enumerate().filter(|(i, _)| *i != first).map(|(_, a)| *a).collect();
    bench.fails(&other, &["model_sha256", "another run"]);
    // The threshold decides no tile, so it may change.
    let resumed = bench.json(&[&arguments[..], &["--resume", "--threshold", "0.2"]].concat());
    assert!(resumed["resumed_tiles"].as_u64() >= Some(2));
}

#[test]
fn a_damaged_record_is_named_and_can_be_made_again() {
    let bench = Bench::new();
    let arguments = [&["segment", "--output", "s.zarr"], SEGMENT].concat();
    if !kill_midway(&bench, &arguments, "s.zarr.unfinished", 3) {
        eprintln!("the run was over before it could be killed");
        return;
    }
    let folder = bench.path("s.zarr.unfinished/tiles");
    let record = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .find(|p| p.extension().is_some_and(|e| e == "tile"))
        .unwrap();
    let whole = std::fs::read(&record).unwrap();
    std::fs::write(&record, &whole[..whole.len() / 2]).unwrap();
    let resume = [&arguments[..], &["--resume"]].concat();
    bench.fails(&resume, &[record.file_name().unwrap().to_str().unwrap(), "damaged", "--resume"]);
    assert!(!bench.path("s.zarr").exists());
    std::fs::remove_file(&record).unwrap();
    bench.ok(&resume);
}
