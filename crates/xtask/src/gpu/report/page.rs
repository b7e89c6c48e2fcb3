//! The page.

use super::super::state::Step;
use super::super::verdict;
use super::speed;
use crate::counts::Counts;
use serde_json::Value;
use std::fmt::Write;

/// All that is known so far; parts of which nothing is known are left out.
pub(super) fn page(steps: &[Step]) -> String {
    let mut page = format!("# On a GPU\n\n{}\n", machine(steps));
    for (title, part) in [
        ("Is it right?", rightness(steps)),
        ("How fast is it?", speed::table(steps)),
        ("From volume to neurons", segmentations(steps)),
        ("Training", trainings(steps)),
        ("Steps", outcomes(steps)),
    ] {
        if let Some(part) = part {
            // Writing to a String cannot fail.
            let _ = write!(page, "\n## {title}\n\n{part}\n");
        }
    }
    page
}

/// The card, its driver and what compiled, in a sentence.
pub(super) fn machine(steps: &[Step]) -> String {
    let Some(facts) = steps.iter().find(|step| step.name == "facts") else {
        return "Nothing is known about the machine: stage A has not run.".to_owned();
    };
    let fact = |name: &str| facts.facts(name).next().unwrap_or("unknown").to_owned();
    format!(
        "{}; {}; NVRTC {}; {}; PyTorch {}; {}.",
        fact("GPU"),
        fact("driver"),
        fact("NVRTC"),
        fact("processor"),
        fact("PyTorch"),
        fact("date")
    )
}

/// A markdown table, or nothing without rows.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> Option<String> {
    if rows.is_empty() {
        return None;
    }
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let head: Vec<String> = head.iter().map(|cell| (*cell).to_owned()).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let lines: Vec<String> = [head, rule].iter().chain(rows).map(|cells| line(cells)).collect();
    Some(lines.join("\n"))
}

/// Self-checks against the processor and the kernels' own tests.
fn rightness(steps: &[Step]) -> Option<String> {
    let checks = steps.iter().filter(|step| step.name.starts_with("selfcheck-")).map(|step| {
        let results = step.results();
        let check = results.iter().find(|found| found["command"] == "selfcheck");
        let of = |value: Option<&Value>| {
            value.and_then(Value::as_f64).map_or("–".to_owned(), |e| format!("{e:.1e}"))
        };
        let agree = check.and_then(|c| {
            Some(format!("{} of {}", c["checks"].as_u64()? - c["wrong"].as_u64()?, c["checks"]))
        });
        vec![
            step.name.trim_start_matches("selfcheck-").to_owned(),
            agree.unwrap_or_else(|| step.outcome.clone()),
            of(check.and_then(verdict::affinities).and_then(|row| row.get("error"))),
            of(check.and_then(worst_of_training)),
        ]
    });
    let checks = table(
        &[
            "network, device, type",
            "checks that agree",
            "affinities, largest difference",
            "losses and gradient norms of three steps, relative",
        ],
        &checks.collect::<Vec<_>>(),
    );
    let tests = steps.iter().filter(|step| step.name.starts_with("parity-")).map(|step| {
        let counts = step.log.lines().filter_map(Counts::of_line).fold(Counts::default(), Counts::plus);
        let failed: Vec<&str> = step
            .log
            .lines()
            .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
            .collect();
        vec![
            step.name.trim_start_matches("parity-").to_owned(),
            step.outcome.clone(),
            counts.passed.to_string(),
            if failed.is_empty() { counts.failed.to_string() } else { failed.join(", ") },
        ]
    });
    let tests = table(&["tests of kernels", "outcome", "passed", "failed"], &tests.collect::<Vec<_>>());
    let parts: Vec<String> = [checks, tests].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join("\n\n"))
}

/// The largest error of the rows about training steps.
fn worst_of_training(check: &Value) -> Option<&Value> {
    check["rows"]
        .as_array()?
        .iter()
        .filter(|row| row["stage"] == "training")
        .map(|row| &row["error"])
        .max_by(|a, b| a.as_f64().unwrap_or(f64::INFINITY).total_cmp(&b.as_f64().unwrap_or(f64::INFINITY)))
}

fn number(value: &Value, digits: usize) -> String {
    value.as_f64().map_or_else(|| "–".to_owned(), |number| format!("{number:.digits$}"))
}

/// The result of a command of `tu-train` in a step.
fn outcome_of(steps: &[Step], name: &str, command: &str) -> Option<Value> {
    let step = steps.iter().find(|step| step.name == name)?;
    step.results().into_iter().rfind(|found| found["command"] == command)
}

fn segmentations(steps: &[Step]) -> Option<String> {
    let names = steps.iter().filter_map(|step| step.name.strip_prefix("segment-"));
    let rows = names.filter_map(|name| {
        let found = outcome_of(steps, &format!("segment-{name}"), "segment")?;
        let scores = outcome_of(steps, &format!("evaluate-{name}"), "evaluate").unwrap_or_default();
        let megavoxels = found["voxels"].as_f64()? / 1e6;
        let seconds = found["seconds"].as_f64()?;
        Some(vec![
            name.to_owned(),
            found["device"].as_str().unwrap_or("–").to_owned(),
            format!("{megavoxels:.1}"),
            format!("{seconds:.1}"),
            format!("{:.2}", megavoxels / seconds),
            number(&scores["voi_split"], 2),
            number(&scores["voi_merge"], 2),
            number(&scores["voi"], 2),
            number(&scores["arand"], 3),
        ])
    });
    let head = ["model, type", "device", "Mvoxel", "s", "Mvoxel/s", "VOI split", "VOI merge", "VOI", "ARAND"];
    table(&head, &rows.collect::<Vec<_>>())
}

fn trainings(steps: &[Step]) -> Option<String> {
    let rows = steps.iter().filter_map(|step| {
        let preset = step.name.strip_prefix("train-")?;
        let last = step.log.lines().rev().find(|line| line.contains("step")).unwrap_or_default();
        let finished = step.results().into_iter().rfind(|found| found["command"] == "finetune");
        Some(vec![
            preset.to_owned(),
            step.outcome.clone(),
            step.seconds.to_string(),
            finished.as_ref().map_or_else(|| "–".to_owned(), |found| found["steps"].to_string()),
            finished.as_ref().map_or_else(|| last.replace('|', "/"), |found| number(&found["loss"], 4)),
        ])
    });
    table(&["network", "outcome", "s", "steps", "loss"], &rows.collect::<Vec<_>>())
}

fn outcomes(steps: &[Step]) -> Option<String> {
    let rows: Vec<Vec<String>> = steps
        .iter()
        .map(|step| {
            vec![step.stage.clone(), step.name.clone(), step.outcome.clone(), step.seconds.to_string()]
        })
        .collect();
    table(&["stage", "step", "outcome", "s"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, outcome: &str, log: &str) -> Step {
        let text = String::from;
        Step { stage: text("A"), name: text(name), outcome: text(outcome), seconds: 7, log: text(log) }
    }

    #[test]
    fn the_page_says_what_the_logs_say() {
        let steps = [
            step("facts", "passed", "GPU: NVIDIA X, 80 GiB, 580\nNVRTC: /usr/lib/libnvrtc.so.13\n"),
            step(
                "selfcheck-tiny-cuda-f32",
                "passed",
                "{\"command\":\"selfcheck\",\"precision\":\"f32\",\"checks\":30,\"wrong\":1,\"rows\":[\
                 {\"stage\":\"forward\",\"check\":\"affinities, largest difference\",\"error\":0.0004},\
                 {\"stage\":\"training\",\"check\":\"loss of step 1\",\"error\":0.001},\
                 {\"stage\":\"training\",\"check\":\"loss of step 2\",\"error\":0.002}]}",
            ),
            step(
                "parity-cuda-conv",
                "failed",
                "test values ... ok\ntest gradients ... FAILED\ntest result: FAILED. 1 passed; 1 failed; 0 ignored\n",
            ),
            step(
                "segment-shipped-f32",
                "passed",
                "{\"command\":\"segment\",\"device\":\"cuda\",\"voxels\":15625000,\"seconds\":2.5}",
            ),
            step("evaluate-shipped-f32", "passed", "{\"command\":\"evaluate\",\"voi\":1.678,\"arand\":0.15}"),
        ];
        let page = page(&steps);
        for part in [
            "NVIDIA X, 80 GiB, 580",
            "| tiny-cuda-f32 | 29 of 30 | 4.0e-4 | 2.0e-3 |",
            "| cuda-conv | failed | 1 | gradients |",
            "| shipped-f32 | cuda | 15.6 | 2.5 | 6.25 | – | – | 1.68 | 0.150 |",
            "| A | parity-cuda-conv | failed | 7 |",
        ] {
            assert!(page.contains(part), "{part} is not in {page}");
        }
        assert!(!page.contains("## Training"));
    }

    #[test]
    fn a_page_without_any_step_says_so() {
        assert!(page(&[]).contains("stage A has not run"));
    }
}
