//! Row normalisation with shortcut and rectifier on the CPU, against f64.
use crate::common::HALF_TYPES;
use crate::common::normalisation::{check_rows, check_rows_in};
use burn::tensor::{Device, read_sync};

#[test]
fn values_and_gradients_agree_with_f64_for_every_length() {
    let device = Device::flex();
    for (rows, n) in [(1, 1), (3, 2), (5, 3), (1000, 16), (7, 255), (3, 4096), (2, 4097), (2, 100_003)] {
        read_sync(check_rows(rows, n, [1.0, 0.0], &device, 2e-5));
    }
    read_sync(check_rows(1, 409_600, [1.0, 1000.0], &device, 1e-4));
}

#[test]
fn half_types_lose_what_their_last_bit_is_worth_and_no_more() {
    let device = Device::flex();
    for (dtype, bit) in HALF_TYPES {
        for (rows, n) in [(1, 1), (3, 2), (7, 255), (2, 40_003)] {
            read_sync(check_rows_in(dtype, rows, n, [1.0, 0.5], &device, 4.0 * bit));
        }
    }
}
