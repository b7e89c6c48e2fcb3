//! Settings of the optimiser and its learning-rate schedule.

use serde::{Deserialize, Serialize};

use super::TrainError;

/// AdamW with a half-cycle cosine learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimiserConfig {
    /// Peak learning rate. Default: 1e-3.
    pub lr: f64,
    /// Learning rate at the last step. Default: 1e-6.
    pub min_lr: f64,
    /// Steps of linear rise to `lr`. Default: 50.
    pub warmup_steps: u64,
    /// Decay of the first moment. Default: 0.9.
    pub beta1: f64,
    /// Decay of the second moment. Default: 0.95.
    pub beta2: f64,
    /// Added to the root of the second moment. Default: 1e-8.
    pub epsilon: f64,
    /// Decoupled weight decay; never applied to biases, 1-D tensors, `A_log*`, `D*` and the time-step bias. Default: 0.05.
    pub weight_decay: f64,
    /// Largest norm of all gradients together, applied before the step; 0 turns it off. Default: 1.
    pub clip_norm: f64,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            lr: 1e-3,
            min_lr: 1e-6,
            warmup_steps: 50,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.05,
            clip_norm: 1.0,
        }
    }
}

impl OptimiserConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        let positive = [self.lr, self.epsilon, 1.0 - self.beta1, 1.0 - self.beta2];
        let non_negative = [self.min_lr, self.weight_decay, self.clip_norm, self.beta1, self.beta2];
        if positive.iter().any(|v| !v.is_finite() || *v <= 0.0)
            || non_negative.iter().any(|v| !v.is_finite() || *v < 0.0)
        {
            return Err(TrainError::Config(
                "optimiser: lr and epsilon must be positive, betas in [0, 1), min_lr, weight_decay and clip_norm not negative"
                    .into(),
            ));
        }
        Ok(())
    }
}
