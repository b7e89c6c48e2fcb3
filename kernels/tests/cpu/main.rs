//! The kernels on the CPU, against f64, burn's operations and each other.
#![cfg(all(feature = "flex", feature = "autodiff", not(target_arch = "wasm32")))]

#[path = "../common/mod.rs"]
mod common;

mod adamw;
mod conv;
mod norm;
mod quantise;
mod scan;
mod selfcheck;
mod tokens;
