//! The scan on the CPU: f32, vectorised over blocks of [`LANES`] channels, one task per batch entry, block of
//! channels and group of states.
//!
//! States are independent of each other until `y = Σ_n C h` sums them, so groups of states occupy further
//! cores where the channels alone would not. How the work is cut depends on the shape only and partial sums
//! are added in a fixed order: results do not depend on the number of threads.
//!
//! Forward memory: one partial `y` per group of states. The backward pass keeps the state of one
//! token in [`CHECKPOINT`] and recomputes the tokens between.

mod backward;
mod flex;
mod forward;
pub(crate) mod lanes;
pub(crate) mod math;
pub(crate) mod output;
pub(crate) mod product;
pub(crate) mod scratch;
pub(crate) mod simd;
pub(crate) mod tasks;

pub use backward::gradients;
pub use forward::forward;
pub use math::{exp, sigmoid, softplus};

/// Channels that one task advances together; with 512-bit registers one register holds them.
pub const LANES: usize = 16;

/// Tokens between two stored states in the backward pass unless the caller chooses.
pub const CHECKPOINT: usize = 64;

/// One value per channel of a block.
pub(crate) type Lanes = [f32; LANES];

/// A scan's inputs as contiguous slices, see [`selective_scan`](crate::selective_scan) for their layout.
#[derive(Clone, Copy, Debug)]
pub struct ScanSlices<'a> {
    /// Sizes of all slices.
    pub shape: crate::ScanShape,
    /// `[B, L, E]`
    pub u: &'a [f32],
    /// `[B, L, R + 2N]`: δ, B, C
    pub projected: &'a [f32],
    /// `[G·E, R]`
    pub step_weight: &'a [f32],
    /// `[G·E]`
    pub step_bias: &'a [f32],
    /// `[G·E, N]`
    pub a_log: &'a [f32],
    /// `[G·E]`
    pub d: &'a [f32],
}

impl ScanSlices<'_> {
    /// δ, B and C of a token.
    #[inline(always)]
    fn columns(&self, token: usize) -> [&[f32]; 3] {
        let width = self.shape.width();
        let (low, states) = self.projected[token * width..][..width].split_at(self.shape.rank);
        let (b, c) = states.split_at(self.shape.states);
        [low, b, c]
    }

    /// The first row of parameters that belongs to a sequence.
    #[inline(always)]
    fn parameters(&self, sequence: usize) -> usize {
        self.shape.first_parameter(sequence)
    }

    /// `d` of every channel of a sequence.
    fn skip(&self, sequence: usize) -> &[f32] {
        &self.d[self.parameters(sequence)..][..self.shape.channels]
    }
}
