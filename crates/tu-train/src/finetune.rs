//! Fine-tuning: labelled volumes in, an affinity network out.
//!
//! ```text
//! crops ─► augmentation ─► labels → affinities ─► forward ─► loss ─► backward ─► clip ─► AdamW
//!   ▲ (seed, step, sample)                                                            │
//!   └── checkpoint every n steps ◄── validation: segment, score, keep the best ◄──────┘
//! ```

mod config;
mod labelled_region;
mod loss;
mod modules;
mod train;
mod validation;

pub use crate::training::{
    AdamW, NamedGradients, OptimiserConfig, StopSignal, TrainError, TrainOptions, TrainingState, decays,
    draw_curves, learning_rate,
};
pub use config::{FinetuneConfig, LossKind, Modules, ValidationConfig};
pub use labelled_region::{LabelledRegion, PostProcessing, ShiftedGrid, ValidationResult};
pub use loss::{BatchTensors, loss_of_logits};
pub use modules::select_modules;
pub use train::{TrainOutcome, finetune};
pub use validation::Validation;
