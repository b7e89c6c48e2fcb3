//! Fine-tuning: labelled volumes in, an affinity network out.
//!
//! ```text
//! crops ─► augmentation ─► labels → affinities ─► forward ─► loss ─► backward ─► clip ─► AdamW
//!   ▲ (seed, step, sample)                                                            │
//!   └── checkpoint every n steps ◄── validation: segment, score, keep the best ◄──────┘
//! ```

mod config;
mod curves;
mod error;
mod loss;
mod optimiser;
mod progress;
mod schedule;
mod state;
mod stop;
mod train;
mod validation;

pub use config::{FinetuneConfig, LossKind, Modules, OptimiserConfig, ValidationConfig};
pub use curves::draw_curves;
pub use error::TrainError;
pub use loss::{BatchTensors, loss_of_logits};
pub use optimiser::{AdamW, NamedGradients, decays, select_modules};
pub use schedule::learning_rate;
pub use state::TrainingState;
pub use stop::StopSignal;
pub use train::{TrainOptions, TrainOutcome, finetune};
pub use validation::{Validation, ValidationResult};
