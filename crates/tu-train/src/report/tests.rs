//! Pages of runs, sound and hostile.

use std::path::Path;

use super::*;
use crate::metrics_log::{MetricsLine, ObjectiveMetrics, StepMetrics, TermMetrics, ValidationMetrics};

fn step(step: u64) -> MetricsLine {
    let term = |loss: f64, weight| TermMetrics { loss: Some(loss), weight };
    MetricsLine::Step(StepMetrics {
        step,
        loss: 1.0 / step as f64,
        lr: 1e-3,
        gradient_norm: 0.5,
        seconds: 60.0,
        data_wait_seconds: 15.0,
        voxels_per_second: 1e6,
        objectives: Some(ObjectiveMetrics {
            random: term(0.2, 0.75),
            next: term(0.3, 0.25),
            ..ObjectiveMetrics::nothing(400.0)
        }),
    })
}

fn validation(step: u64, voi: f64) -> MetricsLine {
    let labels = [1u64, 1, 2, 2];
    let mut table = tu_segment::Contingency::new();
    table.add(&[1, 1, 1, 2], &labels);
    let mut scores = table.scores();
    scores.voi = voi;
    MetricsLine::Validation(ValidationMetrics {
        step,
        scores,
        fragment_method: tu_segment::FragmentMethod::Seeded(Default::default()),
        scoring: tu_segment::EdgeStatistic::Mean.into(),
        threshold: 0.5,
        voi_by_method: vec![],
        seconds: 1.0,
    })
}

fn write_log(run: &Path, lines: &[MetricsLine]) {
    let text: Vec<String> = lines.iter().map(|l| serde_json::to_string(l).unwrap() + "\n").collect();
    std::fs::write(run.join("metrics.jsonl"), text.concat()).unwrap();
}

#[test]
fn a_page_shows_settings_curves_validations_and_the_newest_panels_and_needs_nothing_else() {
    let run = tempfile::tempdir().unwrap();
    write_log(run.path(), &[step(1), step(2), validation(2, 1.25), step(3), validation(3, 0.75)]);
    std::fs::write(
        run.path().join("config.toml"),
        "steps = 9\npatch_zyx = [4, 16, 16]\n[mask]\nratio = 0.4\n",
    )
    .unwrap();
    let panels = run.path().join("panels");
    std::fs::create_dir(&panels).unwrap();
    for (name, tail) in [("step-2.png", "old"), ("step-10.png", "new"), ("step-99.txt", "no")] {
        std::fs::write(panels.join(name), [b"\x89PNG\r\n\x1a\n", tail.as_bytes()].concat()).unwrap();
    }
    let out = run.path().join("report.html");
    let contents = write_report(run.path(), &out).unwrap();
    assert_eq!((contents.kind, contents.steps, contents.planned_steps), (RunKind::Pretraining, 3, Some(9)));
    let page = std::fs::read_to_string(out).unwrap();
    for part in [
        "mask.ratio",
        "3 of 9",
        "Loss of random before weighting",
        "Weights of the objectives",
        "Learning rate",
        "Gradient norm",
        "tokens per second",
        "1.2500",
        "class=\"best\"><td class=\"n\">3",
        "seeded",
        "3 min",
        "Reconstructions after 10 steps",
        "data:image/png;base64,iVBORw0KGgpuZXc=",
    ] {
        assert!(page.contains(part), "{part} is missing");
    }
    let outside = page.replace("http://www.w3.org/2000/svg", "");
    assert!(!outside.contains("http://") && !outside.contains("https://") && !outside.contains("<script"));
}

#[test]
fn a_hostile_folder_can_neither_write_html_nor_bring_in_other_files() {
    let run = tempfile::tempdir().unwrap();
    let hostile = run.path().join("<img src=x onerror=alert(1)>");
    std::fs::create_dir_all(hostile.join("panels")).unwrap();
    let mut log = serde_json::to_string(&step(1)).unwrap() + "\n";
    log += "<script>1</script>\n";
    log += &"x".repeat(3 << 20);
    log += "\n";
    log += &(serde_json::to_string(&step(2)).unwrap() + "\n{\"kind\":\"step\",\"st");
    std::fs::write(hostile.join("metrics.jsonl"), log).unwrap();
    std::fs::write(hostile.join("config.toml"), "\"</td><script>\" = \"<b>'\\\"&\"\n").unwrap();
    std::fs::write(hostile.join("panels/step-7.png"), "<svg onload=alert(1)>").unwrap();
    std::fs::write(run.path().join("secret"), [&b"\x89PNG\r\n\x1a\n"[..], b"secret"].concat()).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(run.path().join("secret"), hostile.join("panels/step-8.png")).unwrap();
    let contents = RunContents::read(&hostile).unwrap();
    assert_eq!((contents.steps, contents.unreadable_lines), (2, 3));
    assert_eq!(contents.panels, None);
    let page = page(&contents);
    for part in ["<script", "<img", "<b>", "<svg onload", "</td><script"] {
        assert!(!page.contains(part), "{part} got in");
    }
    assert!(page.contains("3 lines could not be read") && page.contains("default-src 'none'"));
}

#[test]
fn settings_that_are_no_toml_are_shown_as_they_are() {
    let run = tempfile::tempdir().unwrap();
    write_log(run.path(), &[step(1)]);
    std::fs::write(run.path().join("config.toml"), "steps == <9>").unwrap();
    assert!(page(&RunContents::read(run.path()).unwrap()).contains("steps == &lt;9&gt;"));
}

#[test]
fn a_folder_without_a_run_or_without_steps_is_refused() {
    let run = tempfile::tempdir().unwrap();
    let message = RunContents::read(run.path()).unwrap_err().to_string();
    assert!(message.contains("metrics.jsonl") && message.contains("pretrain"), "{message}");
    std::fs::create_dir(run.path().join("metrics.jsonl")).unwrap();
    assert!(matches!(RunContents::read(run.path()), Err(ReportError::NoRun { .. })));
    std::fs::remove_dir(run.path().join("metrics.jsonl")).unwrap();
    write_log(run.path(), &[validation(1, 1.0)]);
    assert!(matches!(RunContents::read(run.path()), Err(ReportError::NoSteps { .. })));
}
