//! Pretraining that is killed again and again.

use std::process::Stdio;
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::pretrain::{COMMON, bench};
use super::*;

/// Step, loss and gradient norm of every line of a run's log, as they were written.
fn trace(run: &Path) -> Vec<(u64, String, String, String)> {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    log.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            let text = |key: &str| line[key].to_string();
            let objectives = ["random", "next", "next_all"].map(|name| line["objectives"][name].to_string());
            (line["step"].as_u64().unwrap(), text("loss"), text("gradient_norm"), objectives.concat())
        })
        .collect()
}

/// Lines of a log that may be half written.
fn lines(log: &Path) -> usize {
    std::fs::read(log).map_or(0, |bytes| bytes.iter().filter(|b| **b == b'\n').count())
}

#[test]
fn a_run_killed_at_twenty_random_points_resumes_each_time_to_the_losses_of_an_uninterrupted_run() {
    let bench = bench();
    let arguments = |out: &'static str| {
        let run = ["--data", "phantom.zarr/raw", "--steps", "160", "--checkpoint-every", "3", "--resume"];
        [COMMON, &run, &["--panels-every", "7", "--ema", "0.9", "--out", out]].concat()
    };
    bench.ok(&arguments("whole"));
    let log = bench.path("killed/metrics.jsonl");
    let mut rng = ChaCha8Rng::seed_from_u64(20);
    for kill in 0..20 {
        let mut child =
            bench.command(&arguments("killed")).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        // A few steps on from where it was, and then at any moment: in a step, in a checkpoint, in a picture. Every fifth
        // is killed while it starts.
        let goal = lines(&log) + rng.random_range(1..6);
        let moment = Duration::from_micros(rng.random_range(0..12_000));
        while kill % 5 != 4 && lines(&log) < goal {
            if let Some(status) = child.try_wait().unwrap() {
                let output = child.wait_with_output().unwrap();
                panic!("start {kill} ended with {status}: {}", String::from_utf8_lossy(&output.stderr));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(moment);
        assert!(child.try_wait().unwrap().is_none(), "the run was over before kill {kill}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let made = bench.json(&arguments("killed"));
    assert_eq!(made["steps"].as_u64(), Some(160));
    let (whole, killed) = (trace(&bench.path("whole")), trace(&bench.path("killed")));
    assert_eq!(whole.len(), 160);
    assert!(whole == killed, "the losses differ");
    let model = |run: &str| std::fs::read(bench.path(run).join("model.safetensors")).unwrap();
    assert!(model("whole") == model("killed"));
}
