//! One optimiser step: the objectives' losses and gradients over the forward passes of a batch.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Tensor};

use super::super::byol::{self, ByolTarget};
use super::super::objective::{ObjectiveContext, dbmim, next, next_all, random};
use super::super::{MicroBatch, ObjectiveWeights, PretrainBatch, PretrainConfig, PretrainingNetwork};
use super::Trainer;
use crate::metrics_log::{ObjectiveMetrics, StepMetrics, TermMetrics};
use crate::training::{NamedGradients, Replica, TrainError, optimise, share_out, target_momentum};

/// Losses of a step or one of its passes before weighting, each times its share, and the gradients of their weighted sum.
#[derive(Default)]
struct Accumulated {
    gradients: NamedGradients,
    /// Of random, next and next-all prediction.
    tokens: [f64; 3],
    byol: f64,
    spread: f64,
    policy: f64,
    masked_share: f64,
}

impl Accumulated {
    /// Adds a later pass; gradients go to `device`.
    fn add(&mut self, pass: Self, device: &Device) {
        self.gradients.add(pass.gradients.on(device));
        for (sum, loss) in self.tokens.iter_mut().zip(pass.tokens) {
            *sum += loss;
        }
        self.byol += pass.byol;
        self.spread += pass.spread;
        self.policy += pass.policy;
        self.masked_share += pass.masked_share;
    }

    fn is_finite(&self) -> bool {
        self.tokens.iter().chain([&self.byol, &self.policy]).all(|loss| loss.is_finite())
    }
}

/// What computes a pass on one device.
struct Pass<'a> {
    config: &'a PretrainConfig,
    context: ObjectiveContext,
    model: PretrainingNetwork,
    target: Option<ByolTarget>,
}

impl Replica for Pass<'_> {
    fn on(&self, device: &Device) -> Self {
        Self {
            config: self.config,
            context: ObjectiveContext { device: device.clone(), ..self.context.clone() },
            model: self.model.clone().fork(device),
            target: self.target.clone().map(|target| target.fork(device)),
        }
    }
}

impl Trainer<'_> {
    /// One optimiser step over all forward passes of a batch.
    pub(super) fn optimiser_step(
        &mut self,
        batch: &PretrainBatch,
        data_wait_seconds: f64,
    ) -> Result<StepMetrics, TrainError> {
        let started = Instant::now();
        let (config, step) = (self.config, batch.step);
        let weights = config.weights_at(step);
        let mut sum = Accumulated::default();
        let share = 1.0 / batch.micro_batches.len().max(1) as f64;
        let first = Pass {
            config,
            context: self.context.clone(),
            model: self.model.clone(),
            target: self.target.clone(),
        };
        let plain = self.context.device.clone().without_autodiff();
        share_out(
            first,
            &self.other_devices,
            batch.micro_batches.iter().collect(),
            |pass, passed| pass.run(passed, weights, share),
            |found| {
                sum.add(found, &plain);
                if sum.is_finite() {
                    return Ok(());
                }
                Err(TrainError::NotFinite { step, what: "loss", samples: batch.describe() })
            },
        )?;
        let gradients = std::mem::take(&mut sum.gradients);
        let span = (step, config.steps);
        let update =
            optimise(&mut self.model, &mut self.optimiser, gradients, &config.optimiser, span, || {
                batch.describe()
            })?;
        self.average = self.average.take().map(|average| average.follow(&self.model.network, step + 1));
        let momentum = target_momentum(config.byol_config().momentum, step, config.steps);
        self.target = self.target.take().map(|target| target.follow(&self.model, momentum));
        let seconds = started.elapsed().as_secs_f64();
        let per_second = (config.batch * config.accumulate) as f64 / seconds.max(1e-9);
        let objectives = self.objective_metrics(&sum, weights, per_second);
        Ok(StepMetrics {
            step: step + 1,
            loss: objectives.terms().filter_map(|(_, term)| Some(term.weight * term.loss?)).sum(),
            lr: update.lr,
            gradient_norm: update.gradient_norm,
            seconds,
            voxels_per_second: per_second * config.crop_zyx.iter().product::<usize>() as f64,
            data_wait_seconds,
            objectives: Some(objectives),
        })
    }

    fn objective_metrics(
        &self,
        sum: &Accumulated,
        weights: ObjectiveWeights,
        crops_per_second: f64,
    ) -> ObjectiveMetrics {
        let term = |weight: f64, loss: f64| TermMetrics { loss: (weight > 0.0).then_some(loss), weight };
        let byol = self.model.byol.is_some().then(|| term(1.0, sum.byol));
        let policy = self
            .model
            .policy
            .is_some()
            .then(|| TermMetrics { loss: Some(sum.policy), weight: self.config.decision_config().weight });
        ObjectiveMetrics {
            random: term(weights.random, sum.tokens[0]),
            next: term(weights.next, sum.tokens[1]),
            next_all: term(weights.next_all, sum.tokens[2]),
            byol,
            policy,
            masked_share: policy.map(|_| sum.masked_share),
            spread: byol.map(|_| sum.spread),
            tokens_per_second: crops_per_second * self.context.grid.tokens() as f64,
        }
    }
}

impl Pass<'_> {
    /// Losses and gradients of one micro-batch. Each view has a backward pass of its own: the gradient of a sum is the
    /// sum of gradients, and only one view's activations are held at a time.
    fn run(
        &self,
        micro: &MicroBatch,
        weights: ObjectiveWeights,
        share: f64,
    ) -> Result<Accumulated, TrainError> {
        let mut found = Accumulated::default();
        let sum = &mut found;
        if let Some(view) = &micro.masked {
            let loss = random::loss(&self.context, &self.model.network, micro, view);
            sum.tokens[0] += share * scalar(&loss)?;
            self.backward(&loss.mul_scalar(weights.random * share), sum);
        }
        if let (Some(undecided), Some(policy)) = (&micro.undecided, &self.model.policy) {
            let network = &self.model.network;
            let losses = dbmim::losses(&self.context, network, policy, micro, undecided, self.config)?;
            sum.tokens[0] += share * scalar(&losses.reconstruction)?;
            sum.policy += share * scalar(&losses.policy)?;
            sum.masked_share += share * losses.masked_share;
            self.backward(&losses.reconstruction.mul_scalar(weights.random * share), sum);
            let weight = self.config.decision_config().weight;
            self.backward(&losses.policy.mul_scalar(weight * share), sum);
        }
        if let (Some(views), Some(heads), Some(target)) = (&micro.views, &self.model.byol, &self.target) {
            let context = &self.context;
            let (loss, spread) =
                byol::loss(&context.grid, &self.model, heads, target, views, &context.device);
            sum.byol += share * scalar(&loss)?;
            sum.spread += share * scalar(&spread)?;
            self.backward(&loss.mul_scalar(share), sum);
        }
        let share = share / micro.cuts.len().max(1) as f64;
        for view in &micro.cuts {
            let Some(heads) = &self.model.heads else { continue };
            let latents = next::latents(&self.context, &self.model, heads, view);
            let mut total: Option<Tensor<1>> = None;
            let terms = [
                (1, weights.next, next::loss(&self.context, heads, latents.clone(), micro, view)),
                (2, weights.next_all, next_all::loss(&self.context, heads, latents, micro, view)),
            ];
            for (index, weight, loss) in terms {
                let Some(loss) = loss.filter(|_| weight > 0.0) else { continue };
                sum.tokens[index] += share * scalar(&loss)?;
                let term = loss.mul_scalar(weight * share);
                total = Some(match total {
                    Some(total) => total + term,
                    None => term,
                });
            }
            if let Some(total) = total {
                self.backward(&total, sum);
            }
        }
        Ok(found)
    }

    fn backward(&self, loss: &Tensor<1>, sum: &mut Accumulated) {
        let mut gradients = loss.backward();
        sum.gradients.add(NamedGradients::take(&self.model, &mut gradients));
    }
}

fn scalar(loss: &Tensor<1>) -> Result<f64, TrainError> {
    let value = loss.clone().try_into_scalar::<f32>();
    value.map(f64::from).map_err(|e| TrainError::Device(format!("computing the loss ({e:?})")))
}
