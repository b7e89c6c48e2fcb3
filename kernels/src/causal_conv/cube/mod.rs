//! The causal convolution on CubeCL devices: a unit walks a run of positions of one channel, with the tokens it
//! sees in registers.
//!
//! Backward, a unit walks K − 1 positions beyond its run, so that it knows every q_t that its tokens contribute to,
//! and writes what its run contributes to the parameters; a second launch adds the runs up.

mod backend;
mod kernels;

pub(crate) use backend::convolve_in_orders;
pub use backend::{FORWARD_LAUNCHES, GRADIENT_LAUNCHES};

/// Positions of a unit forward.
const FORWARD_RUN: usize = 8;
/// Positions of a unit backward.
const GRADIENT_RUN: usize = 32;
