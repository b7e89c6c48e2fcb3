//! Row normalisation on CubeCL devices, in two launches each way.
//!
//! 1. A cube reads a chunk of a row once and writes its statistics: mean and sum of squared deviations of x, and
//!    for the gradient also the mean of g and the sum of products of deviations of x and g, where g is the gradient that φ lets pass.
//! 2. A cube merges the statistics of all chunks of its row and writes its chunk of the result, shortcut and rectifier included.
//!
//! Statistics are taken of `x − x₀` with x₀ the median of a row's first, middle and last value, so that neither a
//! large offset nor an outlier costs digits, and a constant row becomes exactly 0. They are formed over 16 values in two passes in registers
//! and merged pairwise (Chan, Golub and LeVeque 1983), for counts a and b and δ = μ_b − μ_a:
//!
//! ```text
//! μ  = μ_a + δ b/(a+b),      M = M_a + M_b + δ² a b/(a+b),      C = C_a + C_b + δ δ_g a b/(a+b)
//! ```
//! So the error grows with the logarithm of the row's length. With `Σ(x−μ)(g−ḡ) = C` the gradient is
//! `r·(g − ḡ − (x−μ)·r²·C/n)`.

mod backend;
mod kernels;

pub use backend::LAUNCHES;

/// Units of a cube.
const UNITS: usize = 256;
/// Values of a unit.
const PER_UNIT: usize = 16;
/// Values of a cube.
const CHUNK: usize = UNITS * PER_UNIT;
