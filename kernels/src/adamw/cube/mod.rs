//! The operations on all parameters on CubeCL devices.
//!
//! A launch binds as many tensors as the device allows, at most [`MAX_BUFFERS`] buffers, and cuts each into chunks of
//! 4096 elements, a cube for each; which tensor a cube works on follows from its number. So the launches of a step are the
//! number of parameters, divided by about 60 for AdamW where a device binds many buffers, by 3 where it binds 8.
//!
//! New values are views into one buffer per launch, each at the alignment of the device. They are never written again, so
//! a parameter that somebody else holds keeps its values.

mod backend;
mod groups;
mod kernels;

pub use groups::{MAX_BUFFERS, adamw_launches, square_sums_launches, weighted_sums_launches};

/// Units of a cube.
const UNITS: usize = 256;
/// Elements of a unit.
const PER_UNIT: usize = 16;
/// Elements of a cube.
const CHUNK: usize = UNITS * PER_UNIT;
