//! Pretraining end to end on phantoms with a micro network; run with `--release`.

#![allow(missing_docs, reason = "a test crate has no users")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use burn::tensor::Device;
use tu_model::{EmMambaConfig, Precision};
use tu_train::data::VolumeEntry;
use tu_train::metrics_log::{MetricsLine, StepMetrics, read_lines};
use tu_train::phantom::PhantomConfig;
use tu_train::pretrain::{
    ByolConfig, CutConfig, DecisionConfig, HeadConfig, Objective, PathKind, PretrainConfig, PretrainOutcome,
    pretrain,
};
use tu_train::training::{OptimiserConfig, TrainError, TrainOptions};

fn micro() -> PretrainConfig {
    let phantom = |seed| PhantomConfig {
        shape_zyx: [12, 64, 64],
        neurite_nm: 160.0,
        noise: 0.03,
        organelles: false,
        seed,
        ..PhantomConfig::default()
    };
    let architecture = EmMambaConfig {
        features: [4, 4, 8, 8],
        hidden: 8,
        depths: [1; 4],
        ..EmMambaConfig::preset(tu_model::Preset::Tiny)
    };
    PretrainConfig {
        architecture: Some(architecture),
        crop_zyx: [4, 16, 32],
        patch_zyx: [2, 8, 8],
        steps: 6,
        seed: 5,
        checkpoint_every: 0,
        panels_every: 0,
        path: PathKind::Drawn,
        heads: HeadConfig { width: 24, latents: 6, depth: 1, heads: 2, head_width: 8 },
        byol: Some(ByolConfig { hidden: 16, width: 8, ..ByolConfig::default() }),
        decision: Some(DecisionConfig { hidden: 8, ..DecisionConfig::default() }),
        optimiser: OptimiserConfig { lr: 3e-3, warmup_steps: 2, ..OptimiserConfig::default() },
        volumes: [1, 2]
            .map(|seed| VolumeEntry { phantom: Some(phantom(seed)), ..VolumeEntry::default() })
            .to_vec(),
        ..PretrainConfig::default()
    }
}

fn train(config: &PretrainConfig, run: &Path, options: &TrainOptions) -> PretrainOutcome {
    pretrain(config, run, &Device::flex(), options).unwrap()
}

fn steps(run: &Path) -> Vec<StepMetrics> {
    let lines = read_lines(&run.join("metrics.jsonl")).unwrap();
    lines
        .into_iter()
        .filter_map(|line| match line {
            MetricsLine::Step(step) => Some(step),
            _ => None,
        })
        .collect()
}

/// Every loss and the gradient norm of every step, to the bit.
fn trace(run: &Path) -> Vec<Vec<u64>> {
    steps(run)
        .into_iter()
        .map(|s| {
            let objectives = s.objectives.unwrap();
            let terms = objectives.terms().map(|(_, term)| term.loss.map_or(0, f64::to_bits));
            [s.step, s.loss.to_bits(), s.gradient_norm.to_bits()].into_iter().chain(terms).collect()
        })
        .collect()
}

/// Names of a folder's files with their bytes.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder)
        .unwrap()
        .map(Result::unwrap)
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn a_run_resumed_after_three_steps_equals_an_uninterrupted_one_bit_for_bit() {
    for (config, kept) in [
        (PretrainConfig { accumulate: 2, ..micro() }, "heads.safetensors"),
        (PretrainConfig { ema: Some(0.9), ..micro() }, "ema.safetensors"),
        (PretrainConfig { objective: Objective::Byol, batch: 2, ..micro() }, "target.safetensors"),
        (PretrainConfig { objective: Objective::DbMim, accumulate: 2, ..micro() }, "policy.safetensors"),
    ] {
        let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        train(&config, whole.path(), &TrainOptions::default());
        let stop = TrainOptions { stop_after: Some(3), ..Default::default() };
        let first = train(&config, parts.path(), &stop);
        assert_eq!((first.steps, first.finished), (3, false));
        let second = train(&config, parts.path(), &TrainOptions { resume: true, ..Default::default() });
        assert_eq!((second.steps, second.finished), (6, true));
        assert_eq!(trace(whole.path()).len(), 6);
        assert_eq!(trace(whole.path()), trace(parts.path()));
        let checkpoint = |run: &tempfile::TempDir| files(&run.path().join("checkpoints/step-6"));
        assert!(checkpoint(&whole).iter().any(|(name, _)| name == kept), "{kept} is missing");
        for ((name, a), (other, b)) in checkpoint(&whole).iter().zip(&checkpoint(&parts)) {
            assert!(name == other && a == b, "{name} differs");
        }
        let model = |run: &tempfile::TempDir| std::fs::read(run.path().join("model.safetensors")).unwrap();
        assert!(model(&whole) == model(&parts));
    }
}

#[test]
fn checkpointed_activations_change_no_bit_of_any_objective() {
    let folder = tempfile::tempdir().unwrap();
    for objective in [Objective::Curriculum, Objective::Mae, Objective::Byol, Objective::DbMim] {
        let found = [false, true].map(|checkpoint_activations| {
            let run = folder.path().join(format!("{}-{checkpoint_activations}", objective.name()));
            let config = PretrainConfig { objective, checkpoint_activations, steps: 3, ..micro() };
            let outcome = train(&config, &run, &TrainOptions::default());
            (trace(&run), std::fs::read(outcome.model_file).unwrap())
        });
        assert!(found[0] == found[1], "{}", objective.name());
    }
}

#[test]
fn a_step_on_three_devices_equals_that_on_one_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    for objective in [Objective::Curriculum, Objective::Mae, Objective::Byol, Objective::DbMim] {
        let config = PretrainConfig { objective, accumulate: 4, steps: 2, ..micro() };
        let found = [0, 2].map(|others| {
            let run = folder.path().join(format!("{}-{others}", objective.name()));
            let other_devices = vec![Device::flex(); others];
            let outcome = train(&config, &run, &TrainOptions { other_devices, ..TrainOptions::default() });
            (trace(&run), std::fs::read(outcome.model_file).unwrap())
        });
        assert!(found[0] == found[1], "{}", objective.name());
    }
}

#[test]
fn every_objective_trains_in_bf16() {
    let folder = tempfile::tempdir().unwrap();
    for objective in [Objective::Curriculum, Objective::Mae, Objective::Byol, Objective::DbMim] {
        let run = folder.path().join(objective.name());
        let config = PretrainConfig { objective, precision: Precision::Bf16, steps: 3, ..micro() };
        train(&config, &run, &TrainOptions::default());
        assert!(steps(&run).iter().all(|step| step.loss.is_finite() && step.gradient_norm > 0.0));
    }
}

#[test]
fn with_an_average_the_model_file_has_the_average_and_the_checkpoint_the_weights() {
    let run = tempfile::tempdir().unwrap();
    train(&PretrainConfig { ema: Some(0.99), ..micro() }, run.path(), &TrainOptions::default());
    let read = |name: &str| {
        let bytes = std::fs::read(run.path().join(name)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut named: Vec<(String, Vec<u8>)> =
            tensors.tensors().into_iter().map(|(name, view)| (name, view.data().to_vec())).collect();
        named.sort();
        named
    };
    let model = read("model.safetensors");
    assert!(model == read("checkpoints/step-6/ema.safetensors"));
    assert!(model != read("checkpoints/step-6/model.safetensors"));
}

#[test]
fn another_seed_gives_other_losses() {
    let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    train(&PretrainConfig { steps: 2, ..micro() }, a.path(), &TrainOptions::default());
    train(&PretrainConfig { steps: 2, seed: 6, ..micro() }, b.path(), &TrainOptions::default());
    assert_ne!(trace(a.path()), trace(b.path()));
}

#[test]
fn two_passes_of_one_crop_are_a_pass_of_two() {
    let (together, apart) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = PretrainConfig { steps: 1, ..micro() };
    train(&PretrainConfig { batch: 2, ..config.clone() }, together.path(), &TrainOptions::default());
    train(&PretrainConfig { accumulate: 2, ..config }, apart.path(), &TrainOptions::default());
    let (a, b) = (steps(together.path()).remove(0), steps(apart.path()).remove(0));
    assert!((a.loss - b.loss).abs() < 1e-5 * a.loss, "{} {}", a.loss, b.loss);
    assert!((a.gradient_norm - b.gradient_norm).abs() < 1e-3 * a.gradient_norm);
}

#[test]
fn several_cuts_of_a_crop_are_averaged() {
    let run = tempfile::tempdir().unwrap();
    let config = PretrainConfig { steps: 2, cut: CutConfig { cuts: 3, ..CutConfig::default() }, ..micro() };
    train(&config, run.path(), &TrainOptions::default());
    // A squared error of values in (0, 1) is below 1; a sum of three would not tell, their weights would.
    for step in steps(run.path()) {
        let terms = step.objectives.unwrap();
        let sum: f64 = [terms.random, terms.next, terms.next_all].iter().map(|t| t.weight).sum();
        assert!((sum - 1.0).abs() < 1e-9 && step.loss < 0.5, "{}", step.loss);
    }
}

#[test]
fn a_short_training_lowers_the_loss_of_every_objective() {
    for objective in [
        Objective::Curriculum,
        Objective::Random,
        Objective::Next,
        Objective::NextAll,
        Objective::Mae,
        Objective::DbMim,
        Objective::Byol,
    ] {
        let run = tempfile::tempdir().unwrap();
        let config = PretrainConfig {
            objective,
            // Equal weights, so that the loss does not change with the curriculum.
            weights: (objective == Objective::Curriculum).then_some([1.0 / 3.0; 3]),
            steps: 120,
            batch: 2,
            optimiser: OptimiserConfig { lr: 5e-3, warmup_steps: 5, ..OptimiserConfig::default() },
            ..micro()
        };
        train(&config, run.path(), &TrainOptions::default());
        let losses: Vec<f64> = steps(run.path()).iter().map(|s| s.loss).collect();
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
        let (begin, end) = (mean(&losses[..5]), mean(&losses[losses.len() - 30..]));
        assert!(end < 0.85 * begin, "{}: {begin} at first, {end} in the end", objective.name());
    }
}

#[test]
fn other_settings_are_refused_on_resume_and_a_used_folder_without_it() {
    let run = tempfile::tempdir().unwrap();
    let config = micro();
    train(&config, run.path(), &TrainOptions { stop_after: Some(1), ..Default::default() });
    let attempt = |config: &PretrainConfig, resume| {
        let options = TrainOptions { resume, ..Default::default() };
        pretrain(config, run.path(), &Device::flex(), &options).unwrap_err().to_string()
    };
    assert!(attempt(&config, false).contains("already holds a run"));
    let other = PretrainConfig { objective: Objective::Random, ..config.clone() };
    assert!(attempt(&other, true).contains("other settings"));
    let kept = PretrainConfig::from_toml_file(&run.path().join("config.toml")).unwrap();
    assert_eq!(kept, config.resolved(), "a refused resume leaves the run's settings alone");
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_step_and_samples() {
    let run = tempfile::tempdir().unwrap();
    let optimiser =
        OptimiserConfig { lr: 1e30, clip_norm: 0.0, warmup_steps: 0, ..OptimiserConfig::default() };
    let config = PretrainConfig { steps: 50, optimiser, ..micro() };
    let error = pretrain(&config, run.path(), &Device::flex(), &TrainOptions::default()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { step: 1.., .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("phantom (seed") && text.contains("z,y,x") && text.contains("step"), "{text}");
}

#[test]
fn a_second_run_starts_from_the_network_of_the_first() {
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = PretrainConfig { objective: Objective::Mae, steps: 2, ..micro() };
    let made = train(&config, first.path(), &TrainOptions::default());
    let still = OptimiserConfig { lr: 1e-12, warmup_steps: 0, ..OptimiserConfig::default() };
    let init = Some(made.model_file.display().to_string());
    let next = PretrainConfig { init, objective: Objective::Next, steps: 1, optimiser: still, ..micro() };
    let after = train(&next, second.path(), &TrainOptions::default());
    let read = |file: &Path| {
        let (model, _) = tu_model::load(&std::fs::read(file).unwrap(), &Device::flex()).unwrap();
        tu_model::named_tensors(&model)
    };
    for (a, b) in read(&made.model_file).iter().zip(&read(&after.model_file)) {
        assert!(a.values.iter().zip(&b.values).all(|(x, y)| (x - y).abs() < 1e-6), "{}", a.name);
    }
    assert!(second.path().join("panels/step-1.png").exists() && second.path().join("curves.png").exists());
}
