//! EMmamba, the network that turns electron-microscopy intensities into affinities.
//!
//! ```text
//! raw [B,1,D,H,W] ─► encoder1 ───────────────────────────────► decoder2 ─► decoder1 ─► out ─► sigmoid
//!        └─► vit: stem ─► GSC ─► Mamba ─┬─► encoder2 ─► …  skip connections  … ▲
//!                         down ◄────────┘
//! ```
//!
//! * [`EmMambaConfig`] and [`Preset`] say which network, [`EmMamba`] is the network ([`config`], [`network`]);
//! * [`layers`] holds its parts, one per file;
//! * [`model_file`] reads and writes the one model file that the browser and the native tools share, under the
//!   parameter names of the published checkpoints ([`names`]);
//! * [`known_answer`] proves that a device computes a model right;
//! * [`Network`] is what both hosts run: a normalised window in, affinities out ([`inference`]).
//!
//! Axis order is `[batch, channel, z, y, x]` throughout; tokens are `[batch, token, channel]` with x fastest.

pub mod config;
pub mod cost;
pub mod inference;
pub mod initialiser;
pub mod intensity;
pub mod known_answer;
pub mod layers;
pub mod metadata;
pub mod model_file;
pub mod names;
pub mod network;
pub mod precision;
mod reflections;
pub mod shapes;

pub use config::{ConfigError, EmMambaConfig, Preset, ZPlan};
pub use cost::ForwardCost;
pub use inference::{Network, NetworkError, PendingBins};
pub use intensity::IntensityRule;
pub use known_answer::{KnownAnswer, KnownAnswerError};
pub use metadata::{ModelMetadata, Provenance};
pub use model_file::{ModelFileError, StoredFloat, load, replace_metadata, save, save_tensors, sha256_hex};
pub use names::{NamedTensor, named_tensors};
pub use network::EmMamba;
pub use precision::{Precision, UnknownPrecision};
pub use shapes::published_shapes;
