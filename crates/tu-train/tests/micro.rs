//! Training end to end on phantoms with a micro network; run with `--release`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]
#![allow(missing_docs, reason = "a test crate has no users")]

use std::path::Path;

use burn::tensor::Device;
use tu_model::{EmMambaConfig, Precision};
use tu_train::data::{AugmentationConfig, VolumeEntry};
use tu_train::finetune::{
    FinetuneConfig, LossKind, Modules, OptimiserConfig, TrainError, TrainOptions, TrainOutcome,
    ValidationConfig, finetune,
};
use tu_train::metrics_log::{MetricsLine, read_lines};
use tu_train::phantom::PhantomConfig;

fn micro_architecture() -> EmMambaConfig {
    EmMambaConfig {
        features: [4, 4, 8, 8],
        hidden: 8,
        depths: [1; 4],
        ..EmMambaConfig::preset(tu_model::Preset::Tiny)
    }
}

fn phantom_entry(seed: u64) -> VolumeEntry {
    let phantom = PhantomConfig {
        shape_zyx: [12, 64, 64],
        neurite_nm: 160.0,
        noise: 0.03,
        organelles: false,
        seed,
        ..PhantomConfig::default()
    };
    VolumeEntry { phantom: Some(phantom), ..VolumeEntry::default() }
}

fn micro() -> FinetuneConfig {
    FinetuneConfig {
        architecture: Some(micro_architecture()),
        crop_zyx: [4, 16, 16],
        steps: 6,
        seed: 5,
        loss: LossKind::WeightedMse,
        validate_every: 0,
        checkpoint_every: 0,
        tile_zyx: [4, 32, 32],
        halo_zyx: [2, 8, 8],
        optimiser: OptimiserConfig { lr: 3e-3, warmup_steps: 2, ..OptimiserConfig::default() },
        volumes: vec![phantom_entry(1), phantom_entry(2)],
        ..FinetuneConfig::default()
    }
}

fn train(config: &FinetuneConfig, run: &Path, options: &TrainOptions) -> TrainOutcome {
    finetune(config, run, &Device::flex(), options).unwrap()
}

/// Loss and gradient norm of every step, to the bit.
fn trace(run: &Path) -> Vec<(u64, u64, u64)> {
    let lines = read_lines(&run.join("metrics.jsonl")).unwrap();
    lines
        .into_iter()
        .filter_map(|line| match line {
            MetricsLine::Step(s) => Some((s.step, s.loss.to_bits(), s.gradient_norm.to_bits())),
            _ => None,
        })
        .collect()
}

fn weights(file: &Path) -> Vec<tu_model::NamedTensor> {
    let (model, _) = tu_model::load(&std::fs::read(file).unwrap(), &Device::flex()).unwrap();
    tu_model::named_tensors(&model)
}

#[test]
fn the_same_seed_gives_the_same_losses_and_weights_and_another_seed_others() {
    let (a, b, c) =
        (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = FinetuneConfig { batch: 2, ..micro() };
    train(&config, a.path(), &TrainOptions::default());
    train(&config, b.path(), &TrainOptions::default());
    train(&FinetuneConfig { seed: 6, ..config }, c.path(), &TrainOptions::default());
    assert_eq!(trace(a.path()).len(), 6);
    assert_eq!(trace(a.path()), trace(b.path()));
    assert_ne!(trace(a.path()), trace(c.path()));
    let file = |run: &tempfile::TempDir| std::fs::read(run.path().join("model.safetensors")).unwrap();
    assert_eq!(file(&a), file(&b));
}

#[test]
fn a_run_resumed_after_three_steps_equals_an_uninterrupted_one_bit_for_bit() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = FinetuneConfig { ema: Some(0.9), ..micro() };
    train(&config, whole.path(), &TrainOptions::default());
    let first = train(&config, parts.path(), &TrainOptions { stop_after: Some(3), ..Default::default() });
    assert_eq!((first.steps, first.finished), (3, false));
    let second = train(&config, parts.path(), &TrainOptions { resume: true, ..Default::default() });
    assert_eq!((second.steps, second.finished), (6, true));
    assert_eq!(trace(whole.path()), trace(parts.path()));
    for file in ["model.safetensors", "ema.safetensors", "optimiser.safetensors", "state.json"] {
        let read = |run: &tempfile::TempDir| {
            std::fs::read(run.path().join("checkpoints/step-6").join(file)).unwrap()
        };
        assert!(read(&whole) == read(&parts), "{file} differs");
    }
    let model = |run: &tempfile::TempDir| std::fs::read(run.path().join("model.safetensors")).unwrap();
    assert!(model(&whole) == model(&parts));
    let last = std::fs::read(whole.path().join("checkpoints/step-6/model.safetensors")).unwrap();
    assert!(model(&whole) != last, "the run's model has the averaged weights");
}

#[test]
fn checkpointed_activations_change_no_bit_and_may_change_on_resume() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str| folder.path().join(name);
    let kept = FinetuneConfig { ema: Some(0.9), validation: None, ..micro() };
    let again = FinetuneConfig { checkpoint_activations: true, ..kept.clone() };
    train(&kept, &run("kept"), &TrainOptions::default());
    train(&again, &run("again"), &TrainOptions::default());
    train(&again, &run("both"), &TrainOptions { stop_after: Some(3), ..TrainOptions::default() });
    train(&kept, &run("both"), &TrainOptions { resume: true, ..TrainOptions::default() });
    for other in ["again", "both"] {
        assert_eq!(trace(&run("kept")), trace(&run(other)), "{other}");
        let model = |name: &str| std::fs::read(run(name).join("model.safetensors")).unwrap();
        assert!(model("kept") == model(other), "{other}");
    }
}

#[test]
fn a_step_on_three_devices_equals_that_on_one_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    let config = FinetuneConfig { accumulate: 4, steps: 3, ..micro() };
    let found = [0, 2].map(|others| {
        let run = folder.path().join(others.to_string());
        let options = TrainOptions { other_devices: vec![Device::flex(); others], ..TrainOptions::default() };
        let outcome = train(&config, &run, &options);
        (trace(&run), std::fs::read(outcome.model_file).unwrap())
    });
    assert!(found[0] == found[1]);
}

#[test]
fn two_passes_of_one_crop_are_a_pass_of_two() {
    let folder = tempfile::tempdir().unwrap();
    let first_step = |batch, accumulate| {
        let run = folder.path().join(format!("{batch}-{accumulate}"));
        let config = FinetuneConfig { batch, accumulate, steps: 1, loss: LossKind::Mse, ..micro() };
        train(&config, &run, &TrainOptions::default());
        let (_, loss, norm) = trace(&run)[0];
        [loss, norm].map(f64::from_bits)
    };
    for (whole, parts) in first_step(2, 1).into_iter().zip(first_step(1, 2)) {
        assert!((whole - parts).abs() < 1e-5 * whole, "{whole} and {parts}");
    }
}

#[test]
fn training_in_bf16_follows_f32_and_keeps_f32_weights() {
    let folder = tempfile::tempdir().unwrap();
    let losses = |precision: Precision| {
        let run = folder.path().join(precision.to_string());
        train(&FinetuneConfig { precision, ..micro() }, &run, &TrainOptions::default());
        trace(&run).into_iter().map(|(_, loss, _)| f64::from_bits(loss)).collect::<Vec<_>>()
    };
    let (exact, half) = (losses(Precision::F32), losses(Precision::Bf16));
    assert_ne!(exact, half, "bf16 must round");
    for (step, (exact, half)) in exact.iter().zip(&half).enumerate() {
        assert!((exact - half).abs() < 0.05 * exact, "step {step}: {exact} and {half}");
    }
    let found = FinetuneConfig { precision: Precision::F16, ..micro() };
    let refused = finetune(&found, &folder.path().join("f16"), &Device::flex(), &TrainOptions::default());
    assert!(refused.unwrap_err().to_string().contains("bf16"));
}

#[test]
fn a_crash_after_the_checkpoint_is_forgotten_on_resume() {
    let (whole, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = FinetuneConfig { checkpoint_every: 2, ..micro() };
    train(&config, whole.path(), &TrainOptions::default());
    train(&config, crashed.path(), &TrainOptions { stop_after: Some(5), ..Default::default() });
    // What a crash during step 6 leaves: the checkpoint of step 5 was never written, one is half written.
    std::fs::remove_dir_all(crashed.path().join("checkpoints/step-5")).unwrap();
    std::fs::create_dir(crashed.path().join("checkpoints/step-6.unfinished")).unwrap();
    train(&config, crashed.path(), &TrainOptions { resume: true, ..Default::default() });
    assert_eq!(trace(whole.path()), trace(crashed.path()));
}

#[test]
fn other_settings_are_refused_on_resume_and_a_used_folder_without_it() {
    let run = tempfile::tempdir().unwrap();
    let config = micro();
    train(&config, run.path(), &TrainOptions { stop_after: Some(1), ..Default::default() });
    let attempt = |config: &FinetuneConfig, resume| {
        let options = TrainOptions { resume, ..Default::default() };
        finetune(config, run.path(), &Device::flex(), &options).unwrap_err().to_string()
    };
    assert!(attempt(&config, false).contains("already holds a run"));
    let other = FinetuneConfig { loss: LossKind::Bce, ..config.clone() };
    assert!(attempt(&other, true).contains("other settings"));
    let kept = FinetuneConfig::from_toml_file(&run.path().join("config.toml")).unwrap();
    assert_eq!(kept, config, "a refused resume leaves the run's settings alone");
}

#[test]
fn only_the_chosen_modules_and_the_head_change_and_have_optimiser_state() {
    for (modules, prefixes) in [
        (Modules::Mamba, vec!["vit."]),
        (Modules::Encoder, vec!["encoder"]),
        (Modules::Decoder, vec!["decoder"]),
        (Modules::MambaEncoder, vec!["vit.", "encoder"]),
    ] {
        let run = tempfile::tempdir().unwrap();
        let config = FinetuneConfig { modules, steps: 2, ..micro() };
        train(&config, run.path(), &TrainOptions::default());
        let start = tu_model::named_tensors(&micro_architecture().init_seeded(&Device::flex(), config.seed));
        let mut changed = 0;
        for (before, after) in start.iter().zip(weights(&run.path().join("model.safetensors"))) {
            assert_eq!(before.name, after.name);
            let chosen =
                prefixes.iter().any(|p| before.name.starts_with(p)) || before.name.starts_with("out.");
            let differs = before.values != after.values;
            assert!(chosen || !differs, "{} changed with {modules:?}", before.name);
            changed += usize::from(differs);
        }
        assert!(changed > 2, "{modules:?} changed {changed} tensors");
        let state = std::fs::read(run.path().join("checkpoints/step-2/optimiser.safetensors")).unwrap();
        let state = safetensors::SafeTensors::deserialize(&state).unwrap();
        for key in state.names() {
            let name = key.split_once('.').unwrap().1;
            assert!(modules.trains(name), "the optimiser holds {name}");
        }
    }
}

#[test]
fn a_loss_that_is_no_number_stops_the_run_and_names_step_and_samples() {
    let run = tempfile::tempdir().unwrap();
    let config = FinetuneConfig {
        steps: 50,
        optimiser: OptimiserConfig {
            lr: 1e30,
            clip_norm: 0.0,
            warmup_steps: 0,
            ..OptimiserConfig::default()
        },
        ..micro()
    };
    let error = finetune(&config, run.path(), &Device::flex(), &TrainOptions::default()).unwrap_err();
    assert!(matches!(error, TrainError::NotFinite { step: 1.., .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("phantom (seed") && text.contains("z,y,x") && text.contains("step"), "{text}");
}

#[test]
fn a_short_training_lowers_voi_below_the_untrained_network() {
    let run = tempfile::tempdir().unwrap();
    let mut config = FinetuneConfig {
        steps: 1,
        crop_zyx: [4, 32, 32],
        augmentation: AugmentationConfig { flip: true, ..AugmentationConfig::none() },
        optimiser: OptimiserConfig { lr: 1e-9, warmup_steps: 0, min_lr: 0.0, ..OptimiserConfig::default() },
        validation: Some(ValidationConfig::new(phantom_entry(77))),
        ..micro()
    };
    let untrained = train(&config, run.path(), &TrainOptions::default()).best.unwrap();
    let run = tempfile::tempdir().unwrap();
    config.steps = 300;
    config.optimiser = OptimiserConfig { lr: 4e-3, warmup_steps: 20, ..OptimiserConfig::default() };
    let trained = train(&config, run.path(), &TrainOptions::default()).best.unwrap();
    assert!(
        trained.scores.voi < 0.8 * untrained.scores.voi,
        "VOI {} after training, {} before",
        trained.scores.voi,
        untrained.scores.voi
    );
    let bytes = std::fs::read(run.path().join("model.safetensors")).unwrap();
    let (_, metadata) = tu_model::load(&bytes, &Device::flex()).unwrap();
    assert_eq!(metadata.fragment_method, trained.fragment_method);
    assert_eq!(metadata.threshold, trained.threshold);
    assert_eq!(metadata.provenance.steps, 300);
    assert!(run.path().join("curves.png").exists());
}
