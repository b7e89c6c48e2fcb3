//! The kernels on a device, which `common/adapter.rs` opens, against f64 and their CPU twins. One program, since each holds the
//! whole tensor stack.
#![cfg(all(
    any(feature = "wgpu", feature = "cuda"),
    feature = "flex",
    feature = "autodiff",
    not(target_arch = "wasm32")
))]

#[path = "../common/mod.rs"]
mod common;

mod adamw;
mod conv;
mod network;
mod norm;
mod quantise;
mod scan;
mod selfcheck;
mod tokens;
