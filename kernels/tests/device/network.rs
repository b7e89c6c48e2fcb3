//! Every operation at the sizes at which networks run it, on a device (see `common/adapter.rs`), against its CPU twin, which other
//! tests compare with f64; on the CPU itself, against burn's tensor operations and the scan in f64.
//!
//! A software driver takes minutes for `tiny` alone. So by default one window of `tiny` is checked in f32, what networks run in half
//! types on a smaller window, and of `base` what needs more than 65,535 cubes along an axis. `TU_TEST_SHAPES=all`, for a GPU,
//! checks `tiny`, `small` and `base`, one window and two, the window of the shipped model, in every type that the device offers.
use std::time::Instant;

use crate::common::adapter::{adapter, offered};
use crate::common::convolving_over_z;
use burn::tensor::{Device, FloatDType, read_sync};
use tu_kernels::ScanOrder;
use tu_kernels::selfcheck::{
    Check, NetworkSizes, Passes, SelfCheckError, causal_convolution, gated_sum, gelu, layer_normalisation,
    scan,
};

/// What training sees.
const WINDOW_ZYX: [usize; 3] = [16, 160, 160];
/// What the shipped model sees: a tile of 32×96×96 and its halo.
const SHIPPED_WINDOW_ZYX: [usize; 3] = [40, 128, 128];
/// Small, yet with more than one chunk in the norms of its first levels.
const SMALL_WINDOW_ZYX: [usize; 3] = [4, 64, 64];

const TINY: ([usize; 5], usize) = ([8, 16, 32, 64, 128], 5);
const SMALL: ([usize; 5], usize) = ([16, 32, 64, 128, 256], 3);
const BASE: ([usize; 5], usize) = ([32, 64, 128, 256, 512], 5);

const F32: &[FloatDType] = &[FloatDType::F32];
const HALF: &[FloatDType] = &[FloatDType::F16, FloatDType::BF16];

fn sizes((widths, kernel): ([usize; 5], usize), window_zyx: [usize; 3], batch: usize) -> NetworkSizes {
    NetworkSizes { batch, ..NetworkSizes::with_z_kept(widths, kernel, window_zyx) }
}

/// Whether `TU_TEST_SHAPES=all`; says so where not.
fn all_shapes(what: &str) -> bool {
    let all = std::env::var("TU_TEST_SHAPES").is_ok_and(|value| value == "all");
    if !all {
        eprintln!("SKIPPED: {what}; TU_TEST_SHAPES=all checks it");
    }
    all
}

/// Runs all checks in all types, prints what each came to, and fails with a list of those that do not agree.
fn agree(device: &Device, checks: Vec<Check>, types: &[FloatDType]) {
    let types: Vec<FloatDType> =
        types.iter().copied().filter(|dtype| *dtype == FloatDType::F32 || offered(device, *dtype)).collect();
    let (mut failures, mut count) = (Vec::new(), 0);
    for check in checks {
        for &dtype in &types {
            if dtype != FloatDType::F32 && !check.runs_in_half_types() {
                continue;
            }
            count += 1;
            let began = Instant::now();
            let verdict = read_sync(check.verdict(device, dtype, Passes::ValuesAndGradients));
            let wrong = match &verdict {
                Ok(verdict) => !verdict.agrees(),
                Err(_) => true,
            };
            let text = verdict.as_ref().map_or_else(SelfCheckError::to_string, ToString::to_string);
            eprintln!(
                "{} {:5.1} s  {text}",
                if wrong { "WRONG" } else { "right" },
                began.elapsed().as_secs_f64()
            );
            if wrong {
                failures.push(text);
            }
        }
    }
    assert!(
        failures.is_empty(),
        "{} of {count} checks do not agree:\n{}",
        failures.len(),
        failures.join("\n")
    );
}

#[test]
fn every_operation_of_tiny_agrees() {
    let Some((device, _guard)) = adapter() else { return };
    agree(&device, sizes(TINY, WINDOW_ZYX, 1).checks(), F32);
}

#[test]
fn volumes_of_two_small_windows_agree_in_half_types() {
    let Some((device, _guard)) = adapter() else { return };
    agree(&device, sizes(TINY, SMALL_WINDOW_ZYX, 2).checks(), HALF);
}

#[test]
fn more_than_65535_cubes_agree() {
    let Some((device, _guard)) = adapter() else { return };
    let ([width, ..], _) = BASE;
    let [depth, height, length] = [WINDOW_ZYX[0], WINDOW_ZYX[1] / 2, WINDOW_ZYX[2] / 2];
    let (length, inner) = (depth * height * length, 2 * width);
    let order = ScanOrder::InterSlice { slices: depth };
    let scan =
        scan(tu_kernels::ScanShape { batch: 1, length, channels: inner, states: 16, rank: 2, groups: 1 });
    let checks = vec![
        layer_normalisation([1, width, length]),
        causal_convolution([1, length, inner], 4, order),
        scan,
        gated_sum([1, length, inner], depth),
        gelu(inner * length),
    ];
    agree(&device, checks, F32);
}

/// What `TU_TEST_SHAPES=all` adds, each by itself: with `autotune` a device times many kernels for every size it meets.
fn agree_if_asked(what: &str, sizes: NetworkSizes, types: &[FloatDType]) {
    let Some((device, _guard)) = adapter() else { return };
    if all_shapes(what) {
        agree(&device, sizes.checks(), types);
    }
}

#[test]
fn every_operation_of_small_agrees() {
    agree_if_asked("small", sizes(SMALL, WINDOW_ZYX, 1), F32);
}

#[test]
fn every_operation_of_base_agrees() {
    agree_if_asked("base", sizes(BASE, WINDOW_ZYX, 1), F32);
}

#[test]
fn every_operation_in_the_window_of_the_shipped_model_agrees() {
    agree_if_asked("the window of the shipped model", sizes(TINY, SHIPPED_WINDOW_ZYX, 1), F32);
}

#[test]
fn volumes_of_tiny_agree_in_half_types() {
    agree_if_asked("tiny in half types", sizes(TINY, WINDOW_ZYX, 1), HALF);
}

#[test]
fn volumes_of_small_agree_in_half_types() {
    agree_if_asked("small in half types", sizes(SMALL, WINDOW_ZYX, 1), HALF);
}

#[test]
fn volumes_of_base_agree_in_half_types() {
    agree_if_asked("base in half types", sizes(BASE, WINDOW_ZYX, 1), HALF);
}

#[test]
fn two_windows_of_tiny_agree() {
    agree_if_asked("two windows of tiny", sizes(TINY, WINDOW_ZYX, 2), F32);
}

#[test]
fn two_windows_of_small_agree() {
    agree_if_asked("two windows of small", sizes(SMALL, WINDOW_ZYX, 2), F32);
}

#[test]
fn two_windows_of_base_agree() {
    agree_if_asked("two windows of base", sizes(BASE, WINDOW_ZYX, 2), F32);
}

/// Two slices of z at every level, as the networks of the published checkpoints are built.
#[test]
fn every_operation_of_a_network_that_strides_z_agrees() {
    let Some((device, _guard)) = adapter() else { return };
    let tiny = sizes(TINY, [16, 32, 32], 1);
    agree(&device, NetworkSizes { z_strides: [2; 4], slices: Some(2), ..tiny }.checks(), F32);
}

/// As a network is built for voxels that are as long along z as in the plane.
#[test]
fn every_operation_of_a_network_that_convolves_over_z_agrees() {
    let Some((device, _guard)) = adapter() else { return };
    agree(&device, convolving_over_z(sizes(TINY, [16, 32, 32], 1)).checks(), F32);
}
