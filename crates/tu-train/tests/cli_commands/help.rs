//! What the program says about itself.

use super::*;

fn nowhere() -> Bench {
    Bench { folder: tempfile::tempdir().unwrap() }
}

#[test]
fn without_arguments_there_are_three_commands_to_begin_with() {
    let guide = nowhere().ok(&[]);
    for command in ["tu-train phantom", "tu-train segment", "tu-train evaluate"] {
        assert!(guide.contains(command), "{guide}");
    }
}

#[test]
fn every_command_explains_itself_with_examples() {
    let bench = nowhere();
    let all = bench.ok(&["--help"]);
    for command in [
        "phantom",
        "pretrain",
        "finetune",
        "import",
        "affinities",
        "segment",
        "agglomerate",
        "evaluate",
        "calibrate",
        "report",
        "probe-rollout",
        "ablate",
        "selfcheck",
        "info",
        "known-answer",
        "completions",
    ] {
        assert!(all.contains(command), "{command} is not listed");
        let help = bench.ok(&[command, "--help"]);
        assert!(help.contains("Examples:"), "{help}");
        assert!(help.contains(&format!("\n  tu-train {command}")), "{help}");
        assert!(help.contains("--json"), "{help}");
    }
}

#[test]
fn shells_get_completions_for_every_command() {
    let script = nowhere().ok(&["completions", "bash"]);
    assert!(script.contains("agglomerate") && script.contains("--fragment-method"));
}
