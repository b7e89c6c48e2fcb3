//! TokenUnify pretraining (Chen et al., arXiv:2405.16847): unlabelled volumes in, a network to fine-tune out.
//!
//! A crop is a grid of K tokens (patches of voxels) visited along a path π. Three objectives share one network:
//!
//! ```text
//! L_random   = −Σ_{i ∈ M} log p(x_i | x_{∖M})             from the dense decoder output
//! L_next     = −log p(x_π(n) | x_π(<n))                    ┐ from the visible tokens' features through a
//! L_next-all = −Σ_{j ≥ n} log p(x_π(j) | x_π(<n))          ┘ Perceiver Resampler and cross-attention
//! L          = α(t) L_random + β(t) L_next + γ(t) L_next-all
//! ```
//!
//! EMmamba looks both ways, so nothing that is to be predicted may be in its input: masked tokens and the suffix behind
//! the cut n are replaced in voxel space. Hence one forward pass on a masked crop and one on a cut crop.

mod batch;
pub mod byol;
mod config;
mod curriculum;
mod cut;
pub mod decision;
mod fill;
mod heads;
mod mask;
mod network;
pub mod objective;
mod panels;
mod perturbation;
mod position;
mod reconstruction;
mod resampler;
pub mod rollout;
mod tokens;
mod train;
mod views;

pub use batch::{CutView, MaskedView, MicroBatch, PretrainBatch};
pub use byol::ByolConfig;
pub use config::{CutConfig, HeadConfig, MaskConfig, PretrainConfig};
pub use curriculum::{CurriculumConfig, ObjectiveWeights};
pub use cut::Cut;
pub use decision::DecisionConfig;
pub use fill::{Fill, hide};
pub use heads::TokenHeads;
pub use mask::{draw_mask, mask_count};
pub use network::PretrainingNetwork;
pub use objective::Objective;
pub use perturbation::perturb;
pub use position::PositionTable;
pub use resampler::{CrossAttention, FeedForward, Resampler};
pub use tokens::{PathKind, TokenGrid};
pub use train::{PretrainOutcome, pretrain};
pub use views::ViewPair;

#[cfg(test)]
mod tests;
