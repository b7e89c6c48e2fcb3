//! Self-checks on the CPU: its kernels agree with burn's tensor operations and the scan in f64, and a wrong operation is named.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]
use crate::common::convolving_over_z;
use burn::tensor::{Device, FloatDType, Tensor, read_sync};
use tu_kernels::selfcheck::{Kernel, NetworkSizes, Passes, SelfCheckError, run_short_checks, short_checks};

fn sizes() -> NetworkSizes {
    NetworkSizes { batch: 2, ..NetworkSizes::with_z_kept([4, 8, 12, 20, 32], 5, [3, 48, 64]) }
}

#[test]
fn every_kernel_of_the_cpu_agrees_with_operations_that_are_not_ours() {
    run_short_checks(&Device::flex(), Passes::Values).unwrap();
    run_short_checks(&Device::flex().autodiff(), Passes::ValuesAndGradients).unwrap();
    let mut wrong = Vec::new();
    let window_zyx = [16, 32, 32];
    let strided = NetworkSizes { z_strides: [2; 4], slices: Some(2), window_zyx, ..sizes() };
    let over_z = convolving_over_z(NetworkSizes { window_zyx, ..sizes() });
    for network in [sizes(), strided, over_z] {
        for check in network.checks() {
            for dtype in [FloatDType::F32, FloatDType::F16, FloatDType::BF16] {
                if dtype == FloatDType::F32 || check.runs_in_half_types() {
                    let verdict =
                        read_sync(check.verdict(&Device::flex(), dtype, Passes::ValuesAndGradients)).unwrap();
                    if !verdict.agrees() {
                        wrong.push(verdict.to_string());
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_kernel_is_in_the_short_form() {
    for kernel in Kernel::ALL {
        assert!(short_checks().iter().any(|check| check.kernel() == kernel), "{kernel}");
    }
}

/// What goes wrong: a result, one element of it, a gradient alone, what is not a number, a gradient that is missing.
#[test]
fn a_wrong_operation_is_named_with_what_is_wrong_about_it() {
    type Fault = fn(Tensor<1>) -> Tensor<1>;
    let faults: [(&str, Fault); 5] = [
        ("values off by", |y| y.clone() + y.detach() * 0.001),
        ("values off by", |y| {
            let count = y.dims()[0];
            let last = y.clone().narrow(0, count - 1, 1) + 0.01;
            Tensor::cat(vec![y.narrow(0, 0, count - 1), last], 0)
        }),
        ("gradient of", |y| y.clone() * 1.001 - y.detach() * 0.001),
        ("NaN", |y| y.clone() + (y.detach() - 10.0).log() * 0.0),
        ("no gradient", Tensor::detach),
    ];
    for (at, kernel) in short_checks().iter().map(|check| check.kernel()).enumerate() {
        for (expected, fault) in faults {
            let [right, check] = [0, 1].map(|_| short_checks().swap_remove(at));
            let wrong = check.with_operation(Box::new(move |x| fault(right.apply(x))));
            let found =
                read_sync(wrong.verdict(&Device::flex(), FloatDType::F32, Passes::ValuesAndGradients));
            let text = match found {
                Ok(verdict) => {
                    assert!(!verdict.agrees(), "{verdict} passes with a fault: {expected}");
                    verdict.to_string()
                }
                Err(error @ SelfCheckError::Unreadable { .. }) => error.to_string(),
                Err(error) => panic!("{error}"),
            };
            assert!(text.contains(&kernel.to_string()) && text.contains(expected), "{text}");
        }
    }
}
