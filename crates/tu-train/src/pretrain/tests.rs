//! The objectives on a micro network: what they see, what they count, what they train.

mod comparisons;

use burn::tensor::{Device, Tensor};
use rand::Rng;
use tu_model::{EmMambaConfig, Preset};

use super::objective::{ObjectiveContext, next, next_all, random};
use super::*;
use crate::data::{Crop, sample_rng};
use crate::training::{NamedGradients, NamedModule};

fn micro(path: PathKind, perturbation: f64) -> PretrainConfig {
    let architecture = EmMambaConfig {
        features: [4, 4, 8, 8],
        hidden: 8,
        depths: [1; 4],
        ..EmMambaConfig::preset(Preset::Tiny)
    };
    PretrainConfig {
        architecture: Some(architecture),
        crop_zyx: [4, 32, 32],
        patch_zyx: [2, 8, 8],
        path,
        perturbation: Some(perturbation),
        heads: HeadConfig { width: 14, latents: 5, depth: 2, heads: 2, head_width: 4 },
        ..PretrainConfig::default()
    }
}

fn context(config: &PretrainConfig, device: &Device) -> ObjectiveContext {
    let grid = config.grid().unwrap();
    ObjectiveContext { grid, codes: PositionTable::new(&grid, config.heads.width), device: device.clone() }
}

fn model(config: &PretrainConfig, device: &Device) -> PretrainingNetwork {
    let architecture = config.resolved_architecture().unwrap();
    let network = architecture.init_seeded(device, 3);
    PretrainingNetwork::new(network, architecture.features[0], config, device).unwrap()
}

fn crop(config: &PretrainConfig, seed: u64) -> Vec<f32> {
    let mut rng = sample_rng(seed, 0, 0);
    (0..config.crop_zyx.iter().product::<usize>()).map(|_| rng.random()).collect()
}

/// A crop that differs from `raw` in every voxel of the chosen tokens and nowhere else.
fn changed(grid: &TokenGrid, raw: &[f32], chosen: impl Fn(usize) -> bool) -> Vec<f32> {
    let mut other = raw.to_vec();
    for token in (0..grid.tokens()).filter(|t| chosen(*t)) {
        grid.for_each_row(&mut other, token, |row| row.iter_mut().for_each(|v| *v = 3.0 - *v));
    }
    other
}

fn micro_batch(config: &PretrainConfig, raw: &[&[f32]], step: u64) -> MicroBatch {
    let crops: Vec<Crop> = raw
        .iter()
        .map(|raw| Crop { raw: raw.to_vec(), labels: vec![], volume: "v".into(), origin_zyx: [0; 3] })
        .collect();
    MicroBatch::of_crops(&crops, config, step, 0).unwrap()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec::<f32>().unwrap()
}

/// Everything that next and next-all prediction compute for a crop, but for the targets.
fn predictions(config: &PretrainConfig, view: &CutView) -> [Vec<f32>; 3] {
    let device = Device::flex();
    let (context, model) = (context(config, &device), model(config, &device));
    let heads = model.heads.as_ref().unwrap();
    let latents = next::latents(&context, &model, heads, view);
    let next = next::predict(&context, heads, latents.clone(), view).unwrap();
    let all = next_all::predict(&context, heads, latents.clone()).unwrap();
    [values(latents), values(next), values(all)]
}

#[test]
fn nothing_behind_the_cut_reaches_a_prediction_to_the_last_bit() {
    for (step, path, perturbation) in
        [(1, PathKind::Raster, 0.0), (2, PathKind::Drawn, 1.0), (5, PathKind::Drawn, 1.0)]
    {
        let config = micro(path, perturbation);
        let grid = config.grid().unwrap();
        let raw = crop(&config, 1);
        let before = micro_batch(&config, &[&raw], step);
        let hidden = before.cuts[0].hidden.clone();
        let after = micro_batch(&config, &[&changed(&grid, &raw, |t| hidden[t])], step);
        assert_eq!(before.cuts, after.cuts);
        assert_ne!(before.tokens, after.tokens, "targets do change");
        let [latents, next, all] = predictions(&config, &before.cuts[0]);
        assert_eq!([latents, next.clone(), all.clone()], predictions(&config, &after.cuts[0]));
        // The comparison can fail: what is visible does matter.
        let visible = micro_batch(&config, &[&changed(&grid, &raw, |t| !hidden[t])], step);
        let [_, other_next, other_all] = predictions(&config, &visible.cuts[0]);
        assert!(other_next != next && other_all != all);
    }
}

#[test]
fn nothing_of_masked_tokens_reaches_the_reconstruction_to_the_last_bit() {
    let device = Device::flex();
    for (objective, step) in [(Objective::Random, 1), (Objective::Mae, 2), (Objective::Curriculum, 3)] {
        let config = PretrainConfig { objective, ..micro(PathKind::Raster, 1.0) };
        let (grid, raw) = (config.grid().unwrap(), crop(&config, 1));
        let before = micro_batch(&config, &[&raw], step).masked.unwrap();
        let weights = before.weights.clone();
        let after =
            micro_batch(&config, &[&changed(&grid, &raw, |t| weights[t] > 0.0)], step).masked.unwrap();
        assert_eq!(before, after);
        let (context, model) = (context(&config, &device), model(&config, &device));
        let predict = |view: &MaskedView| {
            values(random::predict(&context, &model.network, context.input(&view.input, 1)))
        };
        assert_eq!(predict(&before), predict(&after));
        let visible = changed(&grid, &raw, |t| weights[t] == 0.0);
        assert_ne!(predict(&before), predict(&micro_batch(&config, &[&visible], step).masked.unwrap()));
    }
}

#[test]
fn hidden_features_do_not_reach_the_latents_even_if_the_input_held_them() {
    let (config, device) = (micro(PathKind::Raster, 0.0), Device::flex());
    let (context, model) = (context(&config, &device), model(&config, &device));
    let heads = model.heads.as_ref().unwrap();
    let hidden: Vec<bool> = (0..context.grid.tokens()).map(|t| t >= 20).collect();
    let scores = heads::hidden_scores(&hidden, 1, &device);
    let mut features: Vec<f32> = crop(&config, 2)[..context.grid.tokens() * 4].to_vec();
    let run = |features: &[f32]| {
        let data = burn::tensor::TensorData::new(features.to_vec(), [1, context.grid.tokens(), 4]);
        values(heads.summarise(Tensor::from_data(data, &device), context.codes.all(&device), &scores))
    };
    let before = run(&features);
    features[20 * 4..].iter_mut().for_each(|v| *v = 9.0 * *v - 4.0);
    assert_eq!(before, run(&features));
    features[19 * 4] += 1.0;
    assert_ne!(before, run(&features));
}

#[test]
fn with_one_token_behind_the_cut_next_all_is_next() {
    let (config, device) = (micro(PathKind::Drawn, 0.0), Device::flex());
    let (context, mut model) = (context(&config, &device), model(&config, &device));
    let grid = context.grid;
    let raws = [crop(&config, 4), crop(&config, 5)];
    let mut view = CutView::default();
    for (i, raw) in raws.iter().enumerate() {
        let mut rng = sample_rng(1, 7, i as u64);
        let cut = Cut::at(grid.path(PathKind::Drawn, &mut rng), grid.tokens() - 1);
        view.push(raw, &cut, 2, &grid, &config, &mut rng);
    }
    for (sample, weights) in view.suffix_weights.chunks(grid.tokens()).enumerate() {
        let counted: Vec<usize> = (0..grid.tokens()).filter(|t| weights[*t] > 0.0).collect();
        assert_eq!(counted, [view.next[sample]], "both have the same target");
        assert!((weights[view.next[sample]] - 0.5).abs() < 1e-7);
    }
    // With the same output map the two losses are the same number.
    let heads = model.heads.as_mut().unwrap();
    heads.next = heads.next_all.clone();
    let batch = micro_batch(&config, &[&raws[0], &raws[1]], 7);
    let heads = model.heads.as_ref().unwrap();
    let latents = next::latents(&context, &model, heads, &view);
    let one = next::loss(&context, heads, latents.clone(), &batch, &view).unwrap().into_scalar::<f32>();
    let all = next_all::loss(&context, heads, latents, &batch, &view).unwrap().into_scalar::<f32>();
    assert!((one - all).abs() < 1e-6 && one > 0.0, "{one} {all}");
}

#[test]
fn every_sample_of_a_mask_counts_alike_and_visible_tokens_do_not_count() {
    let config = micro(PathKind::Raster, 0.5);
    let batch = micro_batch(&config, &[&crop(&config, 1), &crop(&config, 2)], 3);
    let view = batch.masked.unwrap();
    for weights in view.weights.chunks(32) {
        // ⌊0.4 · 32⌋ = 12 tokens.
        assert_eq!(weights.iter().filter(|w| **w > 0.0).count(), 12);
        assert!((weights.iter().sum::<f32>() - 0.5).abs() < 1e-6);
    }
    assert_ne!(view.weights[..32], view.weights[32..], "each sample has a mask of its own");
}

#[test]
fn suffixes_count_alike_or_by_their_length() {
    for pair_weighting in [false, true] {
        let mut config = micro(PathKind::Raster, 0.0);
        config.cut.pair_weighting = pair_weighting;
        let batch = micro_batch(&config, &[&crop(&config, 1), &crop(&config, 2)], 11);
        let view = &batch.cuts[0];
        for (weights, hidden) in view.suffix_weights.chunks(32).zip(view.hidden.chunks(32)) {
            let suffix = hidden.iter().filter(|h| **h).count() as f32;
            let expected = if pair_weighting { suffix / 16.0 / 2.0 } else { 0.5 };
            assert!((weights.iter().sum::<f32>() - expected).abs() < 1e-5);
            assert!(weights.iter().zip(hidden).all(|(w, h)| (*w > 0.0) == *h));
        }
    }
}

#[test]
fn views_without_weight_are_not_made() {
    let made = |objective| {
        let config = PretrainConfig { objective, ..micro(PathKind::Raster, 0.0) };
        let batch = micro_batch(&config, &[&crop(&config, 1)], 0);
        (batch.masked.is_some(), batch.cuts.len())
    };
    assert_eq!(made(Objective::Random), (true, 0));
    assert_eq!(made(Objective::Next), (false, 1));
    assert_eq!(made(Objective::Curriculum), (true, 1));
}

/// Names of the parameters that a loss gives a gradient other than zero.
fn reached(
    config: &PretrainConfig,
    loss: impl Fn(&ObjectiveContext, &PretrainingNetwork, &MicroBatch) -> Tensor<1>,
) -> Vec<String> {
    let device = Device::flex().autodiff();
    let (context, model) = (context(config, &device), model(config, &device));
    let batch = micro_batch(config, &[&crop(config, 1)], 4);
    let mut gradients = loss(&context, &model, &batch).backward();
    let gradients = NamedGradients::take(&model, &mut gradients);
    model.parameters().into_iter().filter(|(_, _, id)| gradients.has(*id)).map(|(name, ..)| name).collect()
}

#[test]
fn every_objective_trains_the_encoders_and_the_decoder() {
    let config = micro(PathKind::Raster, 0.0);
    let cut_loss = |all: bool| {
        move |context: &ObjectiveContext, model: &PretrainingNetwork, batch: &MicroBatch| {
            let (heads, view) = (model.heads.as_ref().unwrap(), &batch.cuts[0]);
            let latents = next::latents(context, model, heads, view);
            if all {
                next_all::loss(context, heads, latents, batch, view).unwrap()
            } else {
                next::loss(context, heads, latents, batch, view).unwrap()
            }
        }
    };
    let random = reached(&config, |context, model, batch| {
        random::loss(context, &model.network, batch, batch.masked.as_ref().unwrap())
    });
    let (next, next_all) = (reached(&config, cut_loss(false)), reached(&config, cut_loss(true)));
    for (names, objective) in [(&random, "random"), (&next, "next"), (&next_all, "next-all")] {
        for part in ["vit.stages.3.0.mamba.in_proj", "encoder1.", "encoder5.", "decoder5.", "decoder1."] {
            assert!(names.iter().any(|n| n.starts_with(part)), "{objective} does not reach {part}");
        }
    }
    let has = |names: &[String], part: &str| names.iter().any(|n| n.starts_with(part));
    assert!(has(&random, "out.") && !has(&random, "heads."));
    for names in [&next, &next_all] {
        assert!(has(names, "heads.resampler.latents") && has(names, "heads.context.") && !has(names, "out."));
    }
    assert!(has(&next, "heads.next.") && !has(&next, "heads.next_all."));
    assert!(has(&next_all, "heads.next_all.") && !has(&next_all, "heads.next."));
}
