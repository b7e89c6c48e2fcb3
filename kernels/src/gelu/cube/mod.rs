//! The Gaussian error linear unit on CubeCL devices, a unit per element.

mod backend;
mod kernels;

pub use backend::LAUNCHES;
