//! Ablations on a network and crops that take no time.

use super::pretrain::bench;
use super::*;

const TUNING: &[&str] = &[
    "--raw",
    "phantom.zarr/raw",
    "--labels",
    "phantom.zarr/labels",
    "--roi",
    "0:12,:,:",
    "--val-roi",
    "12:20,:32,:32",
    "--config",
    "tuning.toml",
    "--crop",
    "4,32,32",
    "--steps",
    "1",
    "--device",
    "cpu",
    "--quiet",
];

fn with_tuning() -> Bench {
    let bench = bench();
    let tuning = "tile_zyx = [8, 16, 16]\nhalo_zyx = [2, 8, 8]\n";
    std::fs::write(bench.path("tuning.toml"), tuning).unwrap();
    bench
}

#[test]
fn modules_are_compared_row_by_row_and_finished_rows_are_not_run_again() {
    let bench = with_tuning();
    let all = [&["ablate", "modules", "--init", "model.safetensors", "--out", "table"], TUNING].concat();
    let two = [&all[..], &["--rows", "mamba,all"]].concat();
    let made = bench.json(&two);
    assert_eq!((made["runs"].as_u64(), made["reused_runs"].as_u64()), (Some(2), Some(0)));
    let before = std::fs::read(bench.path("table/mamba/seed-1/result.json")).unwrap();
    let trained = |row: usize| made["rows"][row]["runs"][0]["trained_parameters"].as_u64().unwrap();
    assert!(trained(0) < trained(1), "mamba trains less than all");
    let made = bench.json(&all);
    assert_eq!((made["runs"].as_u64(), made["reused_runs"].as_u64()), (Some(5), Some(2)));
    assert!(before == std::fs::read(bench.path("table/mamba/seed-1/result.json")).unwrap());
    let text = std::fs::read_to_string(bench.path("table/table.md")).unwrap();
    for row in ["mamba", "encoder", "decoder", "mamba+encoder", "all"] {
        assert!(text.contains(&format!("\n| {row} | 1 |")), "{text}");
    }
    let kept: Value =
        serde_json::from_slice(&std::fs::read(bench.path("table/table.json")).unwrap()).unwrap();
    assert_eq!(kept, made["rows"]);
    assert!(std::fs::read_to_string(bench.path("table/table.svg")).unwrap().contains("mamba+encoder"));
    // The scores are those of the commands that the record names.
    let record: Value = serde_json::from_slice(&before).unwrap();
    let command: Vec<&str> =
        record["commands"][2].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
    assert_eq!(command[0], "evaluate");
    assert_eq!(bench.json(&command)["voi"], record["scores"]["voi"]);
    let other = all.iter().map(|word| if *word == "1" { "2" } else { *word }).collect::<Vec<_>>();
    bench.fails(&other, &["result.json", "other options", "another --out"]);
}

#[test]
fn objectives_are_pretrained_fine_tuned_and_scored_with_each_seed() {
    let bench = with_tuning();
    let rows = ["--rows", "none,random,curriculum", "--seeds", "1,2", "--pretrain-steps", "1"];
    let data = ["ablate", "objectives", "--data", "phantom.zarr/raw", "--pretrain-config", "settings.toml"];
    let arguments = [&data[..], &rows, TUNING, &["--out", "table"]].concat();
    let made = bench.json(&arguments);
    assert_eq!(made["runs"].as_u64(), Some(6));
    let rows = made["rows"].as_array().unwrap();
    let names: Vec<&str> = rows.iter().map(|row| row["row"].as_str().unwrap()).collect();
    assert_eq!(names, ["none", "random", "curriculum"]);
    for row in rows {
        let losses = row["runs"].as_array().unwrap().iter().filter(|run| run["pretraining_loss"].is_number());
        assert_eq!(losses.count(), if row["row"] == "none" { 0 } else { 2 });
    }
    // A row that was interrupted between its commands goes on with what there is.
    std::fs::remove_file(bench.path("table/random/seed-2/result.json")).unwrap();
    std::fs::remove_dir_all(bench.path("table/random/seed-2/segments.zarr")).unwrap();
    let again = bench.json(&arguments);
    assert_eq!(again["reused_runs"].as_u64(), Some(5));
    assert_eq!(again["rows"][1]["mean"], made["rows"][1]["mean"]);
}

#[cfg(unix)]
#[test]
fn a_stopped_ablation_is_saved_and_goes_on() {
    let bench = with_tuning();
    let rows =
        ["ablate", "modules", "--rows", "mamba,encoder", "--init", "model.safetensors", "--out", "table"];
    let arguments = [&rows, TUNING].concat();
    let many: Vec<&str> = arguments.iter().map(|word| if *word == "1" { "12" } else { *word }).collect();
    let child = bench.command(&many).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let log = bench.path("table/mamba/seed-1/tuned/metrics.jsonl");
    while std::fs::metadata(&log).map_or(0, |m| m.len()) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("stopped"), "{message}");
    assert!(!bench.path("table/encoder").exists(), "no other row was begun");
    let before = std::fs::read_to_string(&log).unwrap();
    let made = bench.json(&many);
    assert_eq!(made["runs"].as_u64(), Some(2));
    let after = std::fs::read_to_string(&log).unwrap();
    assert!(after.starts_with(&before) && after.lines().filter(|l| l.contains("\"step\"")).count() >= 12);
}

#[test]
fn rows_that_do_not_exist_are_refused_before_anything_runs() {
    let bench = with_tuning();
    let modules = [&["ablate", "modules", "--init", "model.safetensors", "--out", "table"], TUNING].concat();
    bench.fails(&[&modules[..], &["--rows", "mamba,magic"]].concat(), &["magic", "mamba+encoder"]);
    bench.fails(&[&modules[..], &["--rows", "all,all"]].concat(), &["--rows", "twice"]);
    let objectives =
        [&["ablate", "objectives", "--data", "phantom.zarr/raw", "--out", "table"], TUNING].concat();
    bench.fails(&[&objectives[..], &["--rows", "simclr"]].concat(), &["simclr", "random+next-all"]);
    assert!(!bench.path("table").exists());
}
