//! The gated sum on CubeCL devices, a unit per element. The gradients of z and of the directions are launches of
//! their own: together they would bind nine buffers, and WebGPU's default is eight.

mod backend;
pub(crate) mod kernels;

pub use backend::{FORWARD_LAUNCHES, GRADIENT_LAUNCHES};
