//! Quantisation on CubeCL devices, in one launch.
//!
//! A cube looks at 4096 logits and writes whether all of them are finite, and it computes its share of the words of bins, whose
//! logits it reads again. No buffer has to be cleared, and nothing depends on the order of cubes.

mod backend;
mod kernels;

pub use backend::LAUNCHES;

/// Units of a cube.
const UNITS: usize = 256;
/// Logits that a unit looks at.
const PER_UNIT: usize = 16;
/// Logits that a cube looks at.
const CHUNK: usize = UNITS * PER_UNIT;
/// Words that a cube computes; a tile has no more bins than its window has logits.
const WORDS: usize = CHUNK / crate::quantise::BINS_PER_WORD;
