//! The parts of EMmamba.  Parameters keep the shapes of the published checkpoints, so that a checkpoint maps
//! onto them one to one; what is transposed or folded is so at use.

pub mod conv;
pub mod gsc;
pub mod linear;
pub mod mamba;
pub mod mlp;
pub mod norm;
pub mod prepared;
pub mod res_block;
pub mod up;

pub use conv::Conv;
pub use gsc::GatedSpatialConv;
pub use linear::Linear;
pub use mamba::{MambaLayer, TomMamba};
pub use mlp::ChannelMlp;
pub use res_block::ResBlock;
pub use up::UpBlock;
