//! Layer normalisation on CubeCL devices.
//!
//! With few channels there are many tokens, and each has a unit of its own. Otherwise, and for gradients,
//! a cube takes 16 tokens, for each of them 16 units that share its channels. Statistics are two passes over x.
//! Blocks of 64 channels then pass through shared memory, so that x is read along tokens and y, or its gradient, along
//! channels. Backward, blocks pass twice: for the two means, then for ∂x and for what the cube's tokens contribute to
//! weight and bias, which a second launch adds up. Shared memory: 11 KiB at most.

mod backend;
mod kernels;

pub use backend::{FORWARD_LAUNCHES, GRADIENT_LAUNCHES};

/// Most channels of a token that a unit normalises alone.
const NARROW: usize = 64;
/// Tokens of a cube.
const TOKENS: usize = 16;
/// Units of a token.
const SHARES: usize = 16;
/// Units of a cube.
const UNITS: usize = TOKENS * SHARES;
/// Channels of a block.
const BLOCK: usize = 64;
/// Floats of a block's channel in shared memory: one more than tokens, so that columns fall into different banks.
const STRIDE: usize = TOKENS + 1;
