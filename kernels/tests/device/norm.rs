//! Row normalisation against f64 on a device (see `common/adapter.rs`).
use crate::common::adapter::{adapter, launches_on, offered, poison};
use crate::common::normalisation::{
    check_rows, check_rows_in, gradients_f64, normalise_rows_f64, run_normalise_rows,
};
use crate::common::{HALF_TYPES, error, tensor, uniform, values};
use burn::tensor::read_sync;
use tu_kernels::cube::launches;
use tu_kernels::norm::cube::LAUNCHES;
use tu_kernels::normalise_rows;

#[test]
fn values_and_gradients_agree_with_f64_for_every_length() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for (rows, n) in
        [(1, 1), (3, 2), (5, 3), (1000, 16), (7, 255), (2, 257), (3, 4096), (2, 4097), (2, 100_003)]
    {
        read_sync(check_rows(rows, n, [1.0, 0.0], &device, 2e-5));
    }
}

#[test]
fn rows_of_a_million_keep_their_accuracy_far_from_zero() {
    let Some((device, _guard)) = adapter() else { return };
    read_sync(check_rows(1, 1_100_000, [1.0, 0.0], &device, 1e-5));
    read_sync(check_rows(1, 409_600, [1.0, 1000.0], &device, 1e-4));
    read_sync(check_rows(2, 70_000, [1e-3, 0.5], &device, 1e-4));
}

#[test]
fn an_outlier_at_the_start_of_a_row_costs_no_accuracy() {
    let Some((device, _guard)) = adapter() else { return };
    let n = 50_000;
    let (mut x, g) = (uniform(n, 1), uniform(n, 2));
    x[0] = 5000.0;
    let [y, x_grad, _] = read_sync(run_normalise_rows(&x, None, 1.0, &g, n, &device));
    let expected = normalise_rows_f64(&x, None, 1.0, n);
    // all but the outlier, at their own magnitude
    let scale = expected[1..].iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let worst = y[1..].iter().zip(&expected[1..]).map(|(f, e)| (f64::from(*f) - e).abs());
    assert!(worst.fold(0.0, f64::max) / scale < 1e-4);
    assert!(error(&x_grad, &gradients_f64(&x, &y, &g, 1.0, n)[0]) < 1e-4);
}

#[test]
fn constant_and_single_values_become_exactly_zero() {
    let Some((device, _guard)) = adapter() else { return };
    for (n, value) in [(1, -7.0), (19, 3.3), (10_001, 1e6)] {
        let x = vec![f64::from(value as f32); 2 * n];
        let [y, x_grad, _] = read_sync(run_normalise_rows(&x, None, 1.0, &uniform(2 * n, 1), n, &device));
        assert!(y.iter().all(|v| *v == 0.0));
        assert!(x_grad.iter().all(|v| v.is_finite()));
    }
}

#[test]
fn values_that_are_not_numbers_stay_in_their_row() {
    let Some((device, _guard)) = adapter() else { return };
    let n = 5000;
    for bad in [f64::NAN, f64::INFINITY] {
        let mut x = uniform(3 * n, 1);
        x[n + 4500] = bad;
        let [y, x_grad, _] = read_sync(run_normalise_rows(&x, None, 1.0, &uniform(3 * n, 2), n, &device));
        for found in [y, x_grad] {
            assert!(found[n..2 * n].iter().all(|v| v.is_nan()), "{bad}");
            assert!(found[..n].iter().chain(&found[2 * n..]).all(|v| v.is_finite()), "{bad}");
        }
    }
}

#[test]
fn launches_are_two_each_way_and_two_runs_are_equal_in_every_bit() {
    let Some((device, _guard)) = adapter() else { return };
    for (rows, n) in [(1, 1), (40, 900), (2, 40_000)] {
        let (x, g, shortcut) = (uniform(rows * n, 1), uniform(rows * n, 2), uniform(rows * n, 3));
        let bits = || {
            let before = launches();
            let found = read_sync(run_normalise_rows(&x, Some(&shortcut), 0.01, &g, n, &device));
            assert_eq!(launches() - before, launches_on(&device, 2 * LAUNCHES));
            found.concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        assert!(bits() == bits());
    }
}

#[test]
fn transposed_rows_are_read_in_their_logical_order() {
    let Some((device, _guard)) = adapter() else { return };
    let x = uniform(6 * 50, 1);
    let expected = normalise_rows_f64(&x, None, 1.0, 50);
    let columns: Vec<f64> = (0..300).map(|i| x[i % 6 * 50 + i / 6]).collect();
    let y = normalise_rows(tensor::<2>(&columns, [50, 6], &device).transpose());
    assert!(error(&read_sync(values(y)), &expected) < 1e-5);
}

#[test]
fn half_types_lose_what_their_last_bit_is_worth_and_no_more() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for (dtype, bit) in HALF_TYPES.into_iter().filter(|(dtype, _)| offered(&device, *dtype)) {
        for (rows, n) in [(1, 1), (3, 2), (7, 255), (2, 4097), (2, 40_003)] {
            read_sync(check_rows_in(dtype, rows, n, [1.0, 0.5], &device, 4.0 * bit));
        }
    }
}
