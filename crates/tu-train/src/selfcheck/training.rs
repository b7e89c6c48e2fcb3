//! Three steps of fine-tuning, with the loss, the gradients and the optimiser of a real run.

use std::time::Instant;

use burn::tensor::Device;
use tu_model::Precision;

use super::limits::Limits;
use super::plan::{Plan, STEPS};
use super::quiet::quietly;
use super::row::{Row, Stage};
use crate::data::{Batch, Crop, TargetConfig};
use crate::finetune::{BatchTensors, LossKind, Modules, loss_of_logits, select_modules};
use crate::phantom::{PhantomConfig, phantom};
use crate::training::{AdamW, NamedGradients, OptimiserConfig, optimise};

/// What one step came to.
struct Step {
    loss: f64,
    gradient_norm: f64,
    milliseconds: f64,
}

/// Loss and gradient norm of every step.
pub(super) fn check(plan: &Plan, add: &mut impl FnMut(Row)) {
    if !plan.trains() {
        return;
    }
    let [z, y, x] = plan.window_zyx;
    let shape = format!("{z}×{y}×{x}, {}", plan.precision);
    let names =
        |step: usize| [format!("loss of step {}", step + 1), format!("gradient norm of step {}", step + 1)];
    let found = steps(plan, &plan.device, plan.precision);
    let both = found.and_then(|found| Ok((found, steps(plan, &Device::flex(), Precision::F32)?)));
    let (found, expected) = match both {
        Ok(both) => both,
        Err(cause) => {
            for name in (0..STEPS as usize).flat_map(names) {
                add(Row::failed(Stage::Training, name, &shape, &cause));
            }
            return;
        }
    };
    let limits = Limits::of(plan);
    let relative = |found: f64, expected: f64| (found - expected).abs() / expected.abs();
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let errors = [
            (relative(found.loss, expected.loss), limits.loss),
            (relative(found.gradient_norm, expected.gradient_norm), limits.gradient_norm),
        ];
        for (name, pair) in names(step).into_iter().zip(errors) {
            add(Row::new(Stage::Training, name, &shape, pair, found.milliseconds));
        }
    }
}

/// A window of synthetic EM with its labels.
pub(super) fn sample(window_zyx: [usize; 3], seed: u64) -> Result<Crop, String> {
    let config = PhantomConfig { shape_zyx: window_zyx, seed: seed + 1, ..PhantomConfig::default() };
    let made = phantom(&config).map_err(|error| error.to_string())?;
    let raw = made.raw.into_iter().map(|value| f32::from(value) / 255.0).collect();
    Ok(Crop { raw, labels: made.labels, volume: "phantom".to_owned(), origin_zyx: [0; 3] })
}

fn steps(plan: &Plan, device: &Device, precision: Precision) -> Result<Vec<Step>, String> {
    const LOSS: LossKind = LossKind::WeightedMse;
    let target = TargetConfig { loss: LOSS, ignore_unlabelled: false, widen_borders: false };
    let config = OptimiserConfig { warmup_steps: 0, ..OptimiserConfig::default() };
    quietly(|| {
        let device = device.clone().autodiff();
        let (model, _) =
            select_modules(plan.network(&device)?, Modules::All).map_err(|error| error.to_string())?;
        let mut model = model.with_precision(precision);
        let mut optimiser = AdamW::new(&config, &model);
        let mut found = Vec::new();
        for step in 0..STEPS {
            let crop = sample(plan.window_zyx, step)?;
            let batch = Batch::of_crops(vec![crop], step, plan.window_zyx, target);
            let began = Instant::now();
            let t = BatchTensors::new(batch, &device);
            let logits = model.forward_logits(t.input);
            let loss = loss_of_logits(LOSS, logits, t.affinities, t.weights, t.normaliser);
            let mut gradients = loss.backward();
            let loss = loss.try_into_scalar::<f32>().map_err(|error| format!("{error:?}"))?;
            let gradients = NamedGradients::take(&model, &mut gradients);
            let described = || "phantom".to_owned();
            let update = optimise(&mut model, &mut optimiser, gradients, &config, (step, STEPS), described)
                .map_err(|error| error.to_string())?;
            found.push(Step {
                loss: f64::from(loss),
                gradient_norm: update.gradient_norm,
                milliseconds: 1e3 * began.elapsed().as_secs_f64(),
            });
        }
        Ok(found)
    })?
}
