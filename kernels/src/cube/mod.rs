//! The scan on CubeCL devices (wgpu, WebGPU, CUDA), cut into chunks along the sequence.
//!
//! A chunk maps the state at its start, `h`, to the state at its end, `exp(A ΣΔ) h + e`, where `e` is the end
//! state reached from 0 and `ΣΔ` the sum of the chunk's steps. So
//!
//! 1. every chunk, on its own, finds `e` and `ΣΔ`;
//! 2. the recurrence over chunks gives the state at the start of each;
//! 3. every chunk, on its own, starts from there and writes `y`.
//!
//! The backward pass has the same three launches: the gradient of the state runs through the chunks backwards by
//! the same factor `exp(A ΣΔ)`. Within a chunk states are recomputed. Two more launches add up what channels
//! contribute to `B`, `C` and δ, and tokens to the parameters; in a fixed order, without atomics.
//!
//! Every kernel computes the steps from the low rank of `projected` and reads `B` and `C` from its rows: neither the steps nor
//! slices of `projected` are ever stored.
//!
//! Limits: at most 7 buffers and CubeCL's own per launch (WebGPU's default is 8), 256 units and 16 KiB of shared
//! memory per cube, any number of cubes. The largest buffer is the backward pass's, about
//! `B L (E + 2 N ⌈E/16⌉)` floats.

mod backend;
mod carry;
pub(crate) mod forward;
mod gradients;
pub(crate) mod launch;
mod observe;
pub(crate) mod sums;

pub use launch::{FORWARD_LAUNCHES, GRADIENT_LAUNCHES, launches};
pub use observe::{Launched, observe};

/// Channels of a cube in the backward pass, and columns of a cube in sums.
const LANES: usize = 16;
/// Segments that a cube cuts a recurrence or a sum into.
const SEGMENTS: usize = 16;
/// Units of a cube where every unit works alone.
const UNITS: u32 = 64;
/// Most tokens of a chunk in the backward pass, by shared memory.
const MAX_GRADIENT_CHUNK: usize = 64;
/// Tokens whose states the backward pass holds in registers at a time; chunks there are multiples of it.
const STRETCH: usize = 4;
