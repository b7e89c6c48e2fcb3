//! Row normalisation with shortcut and rectifier on the CPU, against f64.
#![cfg(all(feature = "flex", feature = "autodiff", not(target_arch = "wasm32")))]
mod common;
use burn::tensor::{Device, read_sync};
use common::normalisation::check_rows;

#[test]
fn values_and_gradients_agree_with_f64_for_every_length() {
    let device = Device::flex();
    for (rows, n) in [(1, 1), (3, 2), (5, 3), (1000, 16), (7, 255), (3, 4096), (2, 4097), (2, 100_003)] {
        read_sync(check_rows(rows, n, [1.0, 0.0], &device, 2e-5));
    }
    read_sync(check_rows(1, 409_600, [1.0, 1000.0], &device, 1e-4));
}
