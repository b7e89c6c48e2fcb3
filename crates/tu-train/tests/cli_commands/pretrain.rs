//! Pretraining from the command line; what it computes is tested beside it.

use super::*;

/// A network, heads and crops that take no time.
const SETTINGS: &str = "\
steps = 99
crop_zyx = [4, 32, 32]
patch_zyx = [2, 8, 8]
[heads]
width = 12
latents = 4
depth = 1
heads = 2
head_width = 4
[architecture]
in_channels = 1
out_channels = 3
features = [4, 4, 8, 8]
hidden = 8
depths = [1, 1, 1, 1]
kernel = 3
z_stride = 1
residual = true
d_state = 4
d_conv = 4
expand = 2
";

pub(super) fn bench() -> Bench {
    let bench = Bench::new();
    std::fs::write(bench.path("settings.toml"), SETTINGS).unwrap();
    bench
}

pub(super) const COMMON: &[&str] = &["pretrain", "--config", "settings.toml", "--device", "cpu", "--quiet"];

#[test]
fn a_network_is_pretrained_on_listed_volumes_described_and_fine_tuned() {
    let bench = bench();
    std::fs::write(bench.path("list.txt"), "# one volume\n\n  phantom.zarr/raw  \n").unwrap();
    let made = bench.json(
        &[COMMON, &["--data", "phantom.zarr/raw", "--data-list", "list.txt", "--steps", "3", "--out", "run"]]
            .concat(),
    );
    assert_eq!((made["steps"].as_u64(), made["tokens_per_crop"].as_u64()), (Some(3), Some(32)));
    assert_eq!(made["objective"], "curriculum");
    assert!(made["loss"].as_f64().is_some_and(|loss| loss > 0.0));
    for file in [
        "config.toml",
        "metrics.jsonl",
        "curves.png",
        "panels/step-3.png",
        "checkpoints/step-3/heads.safetensors",
    ] {
        assert!(bench.path("run").join(file).exists(), "{file} is missing");
    }
    let events = files(&bench.path("run")).into_keys().filter(|f| f.to_str().unwrap().contains("tfevents"));
    assert_eq!(events.count(), 1);
    let reported = bench.json(&["report", "run"]);
    assert_eq!((reported["kind"].as_str(), reported["steps"].as_u64()), (Some("pretrain"), Some(3)));
    let page = std::fs::read_to_string(bench.path("run/report.html")).unwrap();
    assert!(page.contains("Reconstructions after 3 steps") && page.contains("mask.ratio"));
    bench.fails(&["report", "phantom.zarr"], &["phantom.zarr", "metrics.jsonl", "finetune"]);
    let kept = std::fs::read_to_string(bench.path("run/config.toml")).unwrap();
    assert_eq!(kept.matches("phantom.zarr/raw").count(), 2, "{kept}");
    assert!(kept.contains("ratio = 0.4") && kept.contains("steps = 3"), "{kept}");
    let about = bench.json(&["info", "run/model.safetensors"]);
    assert_eq!(about["metadata"]["architecture"]["out_channels"], 1);
    bench.fails(
        &["segment", "--input", "phantom.zarr/raw", "--model", "run/model.safetensors", "--output", "s.zarr"],
        &["fine-tune it first"],
    );
    std::fs::write(bench.path("tuning.toml"), "tile_zyx = [8, 16, 16]\nhalo_zyx = [2, 8, 8]\n").unwrap();
    let tune = [
        "finetune",
        "--config",
        "tuning.toml",
        "--raw",
        "phantom.zarr/raw",
        "--labels",
        "phantom.zarr/labels",
    ];
    let rest = [
        "--init",
        "run/model.safetensors",
        "--crop",
        "4,32,32",
        "--steps",
        "1",
        "--out",
        "tuned",
        "--device",
        "cpu",
    ];
    let output = bench.run(&[&tune[..], &rest].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("tensors loaded, 2 fresh (out.conv.conv.weight, …)"), "{said}");
}

#[test]
fn every_objective_has_its_flag_and_trains_only_the_heads_it_needs() {
    let bench = bench();
    for (objective, heads) in [
        ("random", false),
        ("mae", false),
        ("next", true),
        ("random+next", true),
        ("random+next-all", true),
        ("dbmim", true),
        ("byol", true),
    ] {
        let run =
            ["--data", "phantom.zarr/raw", "--steps", "1", "--objective", objective, "--out", objective];
        let made = bench.json(&[COMMON, &run].concat());
        assert_eq!(made["objective"], objective);
        assert_eq!(made["head_parameters"].as_u64() > Some(0), heads, "{objective}");
        let log = std::fs::read_to_string(bench.path(objective).join("metrics.jsonl")).unwrap();
        let line: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let terms = &line["objectives"];
        assert_eq!(terms["next"]["loss"].is_null(), !matches!(objective, "next" | "random+next"), "{log}");
        assert!(
            terms["tokens_per_second"].as_f64() > Some(0.0) && line["gradient_norm"].as_f64() > Some(0.0)
        );
    }
}

#[test]
fn errors_of_generated_tokens_are_measured_and_drawn() {
    let bench = bench();
    bench.ok(&[COMMON, &["--data", "phantom.zarr/raw", "--steps", "2", "--out", "run"]].concat());
    let probe = ["probe-rollout", "--run", "run", "--out", "probe", "--device", "cpu", "--quiet"];
    let few = ["--prefixes", "3", "--batch", "2", "--seeds", "4,5", "--generate", "6"];
    let made = bench.json(&[&probe[..], &few].concat());
    assert_eq!(
        (made["tokens"].as_u64(), made["prefix"].as_u64(), made["generated"].as_u64()),
        (Some(32), Some(8), Some(6))
    );
    let methods = made["methods"].as_array().unwrap();
    assert_eq!(
        methods.iter().map(|m| m["method"].as_str().unwrap()).collect::<Vec<_>>(),
        ["rollout", "next-all"]
    );
    for method in methods {
        assert_eq!(method["by_seed"].as_array().unwrap().len(), 2);
        let sums: Vec<f64> =
            method["absolute"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
        assert!(sums.len() == 6 && sums[0] > 0.0 && sums.windows(2).all(|w| w[0] < w[1]), "{sums:?}");
        assert!(method["absolute_fit"]["exponent"].as_f64().is_some_and(|e| (0.5..1.5).contains(&e)));
    }
    assert!(bench.json(&[&probe[..], &few].concat()) == made, "the same seeds give the same numbers");
    let kept: Value =
        serde_json::from_slice(&std::fs::read(bench.path("probe/rollout.json")).unwrap()).unwrap();
    assert_eq!(kept["methods"], made["methods"]);
    assert!(std::fs::read(bench.path("probe/rollout.png")).unwrap().starts_with(b"\x89PNG"));
    let other = ["--objective", "mae", "--data", "phantom.zarr/raw", "--steps", "1", "--out", "mae"];
    bench.ok(&[COMMON, &other].concat());
    bench.fails(
        &["probe-rollout", "--run", "mae", "--out", "p", "--device", "cpu"],
        &["mae", "no later token", "curriculum"],
    );
    bench.fails(&["probe-rollout", "--run", "none", "--out", "p", "--device", "cpu"], &["config.toml"]);
}

#[cfg(unix)]
#[test]
fn a_terminated_run_is_saved_and_resumed_to_its_end() {
    let bench = bench();
    let arguments = [COMMON, &["--data", "phantom.zarr/raw", "--steps", "100000", "--out", "run"]].concat();
    let child = bench.command(&arguments).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let log = bench.path("run/metrics.jsonl");
    while std::fs::metadata(&log).map_or(0, |m| m.len()) == 0 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let killed = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("--resume"), "{message}");
    let done = std::fs::read_to_string(&log).unwrap().lines().count();
    assert!(bench.path(&format!("run/checkpoints/step-{done}/state.json")).exists());
    let steps = (done + 2).to_string();
    let made = bench
        .json(&["pretrain", "--out", "run", "--resume", "--steps", &steps, "--device", "cpu", "--quiet"]);
    assert_eq!(made["steps"].as_u64(), Some(done as u64 + 2));
}

#[test]
fn what_cannot_be_pretrained_on_is_refused_with_the_reason() {
    let bench = bench();
    bench.fails(&["pretrain", "--out", "run", "--device", "cpu"], &["no volume", "--data"]);
    bench.fails(&[COMMON, &["--data", "missing.zarr", "--out", "run"]].concat(), &["missing.zarr"]);
    std::fs::write(bench.path("empty.txt"), "# nothing\n").unwrap();
    bench.fails(
        &[COMMON, &["--data-list", "empty.txt", "--out", "run"]].concat(),
        &["empty.txt", "one per line"],
    );
    bench.fails(&[COMMON, &["--data-list", "none.txt", "--out", "run"]].concat(), &["none.txt"]);
    let raw = [COMMON, &["--data", "phantom.zarr/raw", "--out", "run"]].concat();
    bench.fails(&[&raw[..], &["--patch", "3,8,8"]].concat(), &["whole number of patches"]);
    bench.fails(&[&raw[..], &["--objective", "simclr"]].concat(), &["simclr", "random+next-all"]);
    bench.fails(&[&raw[..], &["--mask-ratio", "0.01"]].concat(), &["mask.ratio"]);
}
