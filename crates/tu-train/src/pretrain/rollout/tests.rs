//! Generating with a micro network.

use burn::tensor::Device;
use rand::Rng;
use tu_model::{EmMambaConfig, Preset};

use super::*;
use crate::pretrain::{HeadConfig, PathKind};

fn probe() -> RolloutProbe {
    let architecture = EmMambaConfig {
        features: [4, 4, 8, 8],
        hidden: 8,
        depths: [1; 4],
        ..EmMambaConfig::preset(Preset::Tiny)
    };
    let config = PretrainConfig {
        architecture: Some(architecture),
        crop_zyx: [4, 16, 32],
        patch_zyx: [2, 8, 8],
        path: PathKind::Drawn,
        heads: HeadConfig { width: 14, latents: 5, depth: 1, heads: 2, head_width: 4 },
        ..PretrainConfig::default()
    };
    let device = Device::flex();
    let architecture = config.resolved_architecture().unwrap();
    let network = architecture.init_seeded(&device, 3);
    let model = PretrainingNetwork::new(network, architecture.features[0], &config, &device).unwrap();
    let grid = config.grid().unwrap();
    let codes = PositionTable::new(&grid, config.heads.width);
    RolloutProbe { config, model: model.valid(), context: ObjectiveContext { grid, codes, device }, steps: 0 }
}

fn generator(sample: u64) -> ChaCha8Rng {
    sample_rng(7, 1, sample)
}

fn crops() -> Vec<Vec<f32>> {
    (0..2)
        .map(|s| {
            let mut rng = sample_rng(9, 0, s);
            (0..4 * 16 * 32).map(|_| rng.random()).collect()
        })
        .collect()
}

fn prefixes(probe: &RolloutProbe, crops: &[Vec<f32>], prefix: usize) -> Prefixes {
    let with = crops.iter().enumerate().map(|(i, c)| (c.clone(), generator(i as u64))).collect();
    probe.prefixes(with, prefix)
}

/// Sums of both ways of generating.
fn generate(probe: &RolloutProbe, prefixes: &Prefixes, prefix: usize, generated: usize) -> [Accumulation; 2] {
    let heads = probe.model.heads.as_ref().unwrap();
    let mut sums = [Accumulation::new(generated), Accumulation::new(generated)];
    probe.roll_out(heads, prefixes, prefix, &mut sums[0], &|| ()).unwrap();
    probe.all_at_once(heads, prefixes, prefix, &mut sums[1]).unwrap();
    sums
}

#[test]
fn nothing_behind_the_prefix_reaches_a_generated_token() {
    let (probe, prefix) = (probe(), 4);
    let grid = probe.context.grid;
    let raw = crops();
    let before = prefixes(&probe, &raw, prefix);
    let mut changed = raw.clone();
    for (crop, path) in changed.iter_mut().zip(&before.paths) {
        for token in &path[prefix..] {
            grid.for_each_row(crop, *token, |row| row.iter_mut().for_each(|v| *v = 1.0 - *v));
        }
    }
    let after = prefixes(&probe, &changed, prefix);
    assert_eq!(before.view, after.view);
    assert_ne!(before.tokens, after.tokens);
    // With the same targets the sums are the same to the last bit.
    let after = Prefixes { tokens: before.tokens.clone(), ..after };
    assert_eq!(generate(&probe, &before, prefix, 6), generate(&probe, &after, prefix, 6));
}

#[test]
fn the_first_token_of_a_rollout_is_the_next_token_of_the_prefix_and_the_second_sees_it() {
    let (probe, prefix) = (probe(), 5);
    let made = prefixes(&probe, &crops()[..1], prefix);
    let heads = probe.model.heads.as_ref().unwrap();
    let (tokens, voxels) = (probe.context.grid.tokens(), probe.context.grid.patch_voxels());
    assert_eq!(tokens, 16);
    let predict = |view: &CutView| {
        let latents = next::latents(&probe.context, &probe.model, heads, view);
        values(next::predict(&probe.context, heads, latents, view).unwrap()).unwrap()
    };
    let error = |predicted: &[f32], token: usize| -> f64 {
        let truth = &made.tokens[token * voxels..][..voxels];
        predicted.iter().zip(truth).map(|(p, t)| f64::from((p - t).abs())).sum::<f64>() / voxels as f64
    };
    let first = predict(&made.view);
    let mut view = made.view.clone();
    let (one, two) = (made.paths[0][prefix], made.paths[0][prefix + 1]);
    let mut all = probe.context.grid.gather(&view.input);
    all[one * voxels..(one + 1) * voxels].copy_from_slice(&first);
    view.input = probe.context.grid.scatter(&all);
    view.hidden[one] = false;
    view.next = vec![two];
    let second = predict(&view);
    let [rollout, _] = generate(&probe, &made, prefix, 2);
    let expected = [error(&first, one), error(&first, one) + error(&second, two)];
    for (found, expected) in rollout.absolute().iter().zip(expected) {
        assert!((found - expected).abs() < 1e-9, "{found} for {expected}");
    }
}

#[test]
fn prefixes_that_run_together_give_what_they_give_alone() {
    let (probe, prefix) = (probe(), 4);
    let crops = crops();
    let together = generate(&probe, &prefixes(&probe, &crops, prefix), prefix, 3);
    let with = |i: usize| vec![(crops[i].clone(), generator(i as u64))];
    let mut apart = generate(&probe, &probe.prefixes(with(0), prefix), prefix, 3);
    let other = generate(&probe, &probe.prefixes(with(1), prefix), prefix, 3);
    apart.iter_mut().zip(&other).for_each(|(sum, more)| sum.merge(more));
    for (a, b) in together.iter().zip(&apart) {
        for (x, y) in a.vector().iter().zip(b.vector()) {
            assert!((x - y).abs() < 1e-5, "{x} {y}");
        }
    }
}

#[test]
fn lengths_that_do_not_fit_the_crop_are_refused() {
    let probe = probe();
    let config = |generated, prefixes| RolloutConfig {
        seeds: vec![1],
        prefixes,
        batch: 1,
        prefix_share: 0.25,
        generated,
    };
    assert_eq!(probe.lengths(&config(None, 1)).unwrap(), (4, 12));
    assert!(probe.lengths(&config(Some(13), 1)).unwrap_err().to_string().contains("2..12"));
    assert!(probe.lengths(&config(None, 0)).is_err());
}
