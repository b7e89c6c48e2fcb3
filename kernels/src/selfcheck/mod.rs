//! Checks of a device before it is trusted: every operation of this crate against its CPU twin.
//!
//! A [`Check`] is one operation at one size, with inputs drawn from a seed. It runs on the device and, for comparison,
//! on the CPU: there by this crate's own CPU kernels, or, where the device is the CPU itself, by burn's tensor operations in f64.
//! Errors are the largest difference over the largest magnitude expected:
//!
//! ```text
//! max |found − expected| / max |expected| ≤ tolerance(device, type, kernel, part)
//! ```
//! Before a check runs, memory of the sizes it will use is filled with NaN and given back, so that a result which a kernel
//! leaves unwritten is noticed.
//!
//! [`NetworkSizes::checks`] lists the operations of a network at the sizes it runs them at, [`short_checks`] one small size of
//! each: enough to notice a driver or a compiler that gets a kernel wrong, in little time.

mod check;
mod operations;
mod outcome;
mod short;
mod sizes;
mod tolerance;

pub use check::{Check, Drawn, Operation, Passes};
pub use operations::{
    causal_convolution, convolution, gated_sum, gelu, layer_normalisation, projection, row_normalisation,
    scan,
};
pub use outcome::{Agreement, Results, SelfCheckError, Verdict};
#[cfg(not(target_arch = "wasm32"))]
pub use short::run_short_checks;
pub use short::{run_short_checks_async, short_checks};
pub use sizes::NetworkSizes;
pub use tolerance::{Arithmetic, Kernel, Part, tolerance};
