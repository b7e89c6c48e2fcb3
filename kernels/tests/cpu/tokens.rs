//! The operations around a scan on the CPU against f64.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test ends where something fails")]
use crate::common::gelu::{GeluCase, gelu_cases};
use crate::common::projection::{ProjectionCase, projection_cases};
use crate::common::three_orders::check_three_orders;
use crate::common::tokens::{
    ConvCase, GateCase, NormCase, TokenCase, check, check_not_finite, conv_cases, gate_cases, norm_cases,
};
use crate::common::{HALF_TYPES, error, rounded, tensor, uniform, values};
use burn::tensor::{DType, Device, Tensor, read_sync};
use tu_kernels::projection::Layout;
use tu_kernels::{ScanOrder, causal_conv_silu, gated_direction_sum, gelu, layer_norm_tokens, project};

fn cpu() -> Device {
    Device::flex()
}

#[test]
fn causal_convolutions_agree_with_f64_for_every_shape_and_order() {
    for case in conv_cases() {
        read_sync(check(&case, &cpu(), 1e-5));
    }
}

#[test]
fn three_orders_at_once_agree_with_f64() {
    read_sync(check_three_orders(&cpu(), 1e-5));
}

#[test]
fn gated_sums_agree_with_f64_for_every_shape() {
    for case in gate_cases() {
        read_sync(check(&case, &cpu(), 1e-5));
    }
}

#[test]
fn layer_normalisations_agree_with_f64_for_every_shape() {
    for case in norm_cases() {
        read_sync(check(&case, &cpu(), 2e-5));
    }
    read_sync(check(&NormCase::new([1, 48, 70], [1.0, 1000.0]), &cpu(), 1e-3));
}

#[test]
fn projections_agree_with_f64_for_every_shape_and_layout() {
    for case in projection_cases() {
        read_sync(check(&case, &cpu(), 1e-5));
    }
}

#[test]
fn gelus_agree_with_f64() {
    for case in gelu_cases() {
        read_sync(check(&case, &cpu(), 1e-6));
    }
}

/// The reference is derived by hand; differences of its values are not.
fn check_reference<T: TokenCase + Clone>(case: &T) {
    let value = |case: &mut T| {
        let out = case.reference().swap_remove(0);
        out.iter().zip(case.inputs().pop().unwrap()).map(|(v, g)| v * *g).sum::<f64>()
    };
    let expected = case.reference();
    let mut case = case.clone();
    let inputs = case.inputs().len() - 1;
    for input in 0..inputs {
        for i in 0..expected[input + 1].len() {
            let step = 1e-5;
            let at = case.inputs()[input][i];
            case.inputs()[input][i] = at + step;
            let up = value(&mut case);
            case.inputs()[input][i] = at - step;
            let down = value(&mut case);
            case.inputs()[input][i] = at;
            let (found, expected) = ((up - down) / (2.0 * step), expected[input + 1][i]);
            assert!((found - expected).abs() < 1e-6, "{case:?}: input {input}[{i}]: {expected} for {found}");
        }
    }
}

#[test]
fn the_gradients_of_the_references_are_differences_of_their_values() {
    for order in [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices: 3 }] {
        check_reference(&ConvCase::new([2, 6, 2], 4, order));
    }
    check_reference(&GateCase::new([2, 6, 2], 2));
    check_reference(&NormCase::new([2, 5, 3], [1.0, 0.0]));
    check_reference(&GeluCase::new(9));
    for layouts in [[Layout::Volume, Layout::Tokens], [Layout::Tokens, Layout::Volume]] {
        check_reference(&ProjectionCase::new([2, 5, 3, 4], layouts, true));
    }
}

#[test]
fn what_is_not_finite_goes_where_f64_has_it() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut conv = ConvCase::new([2, 30, 18], 4, ScanOrder::InterSlice { slices: 5 });
        let mut gate = GateCase::new([2, 30, 18], 5);
        let mut norm = NormCase::new([2, 18, 40], [1.0, 0.0]);
        let mut map = ProjectionCase::new([2, 20, 18, 9], [Layout::Tokens, Layout::Volume], true);
        for input in 0..5 {
            for changed in [0, 17] {
                let with = |inputs: Vec<&mut Vec<f64>>| {
                    inputs.into_iter().nth(input).map(|values| core::mem::replace(&mut values[changed], bad))
                };
                let plain = (conv.clone(), gate.clone(), norm.clone(), map.clone());
                if with(conv.inputs()).is_some() {
                    read_sync(check_not_finite(&conv, &cpu()));
                }
                if with(gate.inputs()).is_some() {
                    read_sync(check_not_finite(&gate, &cpu()));
                }
                if with(norm.inputs()).is_some() {
                    read_sync(check_not_finite(&norm, &cpu()));
                }
                if with(map.inputs()).is_some() {
                    read_sync(check_not_finite(&map, &cpu()));
                }
                (conv, gate, norm, map) = plain;
            }
        }
    }
}

#[test]
fn a_constant_token_becomes_the_bias() {
    let (channels, tokens) = (19, 50);
    let mut case = NormCase::new([1, channels, tokens], [1.0, 0.0]);
    case.x.fill(f64::from(3.3f32));
    let y = read_sync(case.run(&cpu())).swap_remove(0);
    let bias: Vec<f32> = case.bias.iter().map(|b| *b as f32).collect();
    assert!(y.chunks(channels).all(|token| token == bias));
}

#[test]
fn two_runs_are_equal_in_every_bit_whatever_the_number_of_threads() {
    let conv = ConvCase::new([2, 3000, 18], 4, ScanOrder::InterSlice { slices: 6 });
    let (gate, norm) = (GateCase::new([2, 300, 18], 6), NormCase::new([2, 18, 3000], [1.0, 0.0]));
    let projection = ProjectionCase::new([2, 30, 20, 5000], [Layout::Tokens, Layout::Volume], true);
    let runs = [1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            read_sync(async {
                let mut found = [conv.run(&cpu()).await, gate.run(&cpu()).await, norm.run(&cpu()).await];
                found[0].extend(projection.run(&cpu()).await);
                found.concat().concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
            })
        })
    });
    assert!(runs.iter().all(|bits| *bits == runs[0]));
}

/// The same tensor with its elements in another order in memory.
fn scattered(tensor: Tensor<3>) -> Tensor<3> {
    let swapped = tensor.swap_dims(1, 2);
    let device = swapped.device();
    Tensor::from_data(swapped.into_data(), &device).swap_dims(1, 2)
}

#[test]
fn swapped_axes_are_read_in_their_logical_order() {
    let dims = [2, 12, 10];
    let of = |seed| tensor::<3>(&uniform(240, seed), dims, &cpu());
    let read = |tensor: Tensor<3>| read_sync(values(tensor));
    let (weight, bias) =
        (tensor::<2>(&uniform(40, 7), [10, 4], &cpu()), tensor(&uniform(10, 8), [10], &cpu()));
    let conv = |x| causal_conv_silu(x, weight.clone(), bias.clone(), ScanOrder::Backward);
    assert_eq!(read(conv(of(1))), read(conv(scattered(of(1)))));
    let gate = |[f, b, s, z]: [Tensor<3>; 4]| gated_direction_sum(f, b, s, z, 3);
    let inputs = [1, 2, 3, 4].map(of);
    assert_eq!(read(gate(inputs.clone())), read(gate(inputs.map(scattered))));
    let ones = Tensor::ones([12], &cpu());
    let norm = |x| layer_norm_tokens(x, ones.clone(), ones.clone());
    assert_eq!(read(norm(of(1))), read(norm(scattered(of(1)))));
    let map = |x| project(x, weight.clone().swap_dims(0, 1), None, Layout::Tokens, Layout::Tokens);
    assert_eq!(read(map(of(1))), read(map(scattered(of(1)))));
}

#[test]
fn half_precision_inputs_are_computed_in_f32() {
    let case = ConvCase::new([1, 40, 8], 4, ScanOrder::Forward);
    let half = |x: &[f64]| tensor::<3>(x, case.dims, &cpu()).cast(DType::F16);
    let (weight, bias) = (tensor(&case.weight, [8, 4], &cpu()), tensor(&case.bias, [8], &cpu()));
    let v = causal_conv_silu(half(&case.x), weight, bias, case.order);
    assert_eq!(v.dtype(), DType::F16);
    assert!(error(&read_sync(values(v.cast(DType::F32))), &case.reference()[0]) < 5e-3);
}

#[test]
fn projections_of_half_types_are_those_of_the_rounded_inputs() {
    let case = ProjectionCase::new([2, 9, 7, 50], [Layout::Volume, Layout::Tokens], true);
    for (dtype, last_bit) in HALF_TYPES {
        let mut case = case.clone();
        case.inputs().into_iter().for_each(|values| *values = rounded(values, dtype));
        let bias = case.bias.clone().unwrap();
        let y = project(
            tensor::<3>(&case.x, [2, 9, 50], &cpu()).cast(dtype),
            tensor::<2>(&case.weight, [7, 9], &cpu()).cast(dtype),
            Some(tensor::<1>(&bias, [7], &cpu()).cast(dtype)),
            Layout::Volume,
            Layout::Tokens,
        );
        assert_eq!(y.dtype(), dtype.into());
        assert!(error(&read_sync(values(y.cast(DType::F32))), &case.reference()[0]) < last_bit);
    }
}

#[test]
fn gelus_go_to_their_limits_and_keep_nan() {
    let of = |x: f32| read_sync(values(gelu(Tensor::<1>::from_floats([x], &cpu()))))[0];
    assert_eq!((of(0.0), of(f32::INFINITY), of(40.0), of(-40.0)), (0.0, f32::INFINITY, 40.0, 0.0));
    assert!(of(f32::NAN).is_nan());
    let half = gelu(Tensor::<1>::from_floats([1.5], &cpu()).cast(DType::F16));
    assert_eq!(half.dtype(), DType::F16);
    assert!((read_sync(values(half.cast(DType::F32)))[0] - 1.399_789).abs() < 1e-3);
    assert_eq!(gelu(Tensor::<2>::zeros([0, 3], &cpu())).dims(), [0, 3]);
}

#[test]
fn an_untracked_input_gets_no_gradient_and_the_others_do() {
    let device = cpu().autodiff();
    let x: Tensor<3> = Tensor::ones([1, 4, 3], &device);
    let weight: Tensor<2> = Tensor::ones([3, 2], &device).require_grad();
    let v = causal_conv_silu(x.clone(), weight.clone(), Tensor::ones([3], &device), ScanOrder::Forward);
    let grads = v.sum().backward();
    assert!(weight.grad(&grads).is_some() && x.grad(&grads).is_none());
}

#[test]
fn an_empty_sequence_stays_empty() {
    let empty = || Tensor::<3>::zeros([2, 0, 3], &cpu());
    let bias = || Tensor::<1>::zeros([3], &cpu());
    let v = causal_conv_silu(empty(), Tensor::zeros([3, 4], &cpu()), bias(), ScanOrder::Forward);
    assert_eq!(v.dims(), [2, 0, 3]);
    assert_eq!(gated_direction_sum(empty(), empty(), empty(), empty(), 1).dims(), [2, 0, 3]);
    assert_eq!(layer_norm_tokens(empty().swap_dims(1, 2), bias(), bias()).dims(), [2, 0, 3]);
    let map = project(empty(), Tensor::zeros([4, 3], &cpu()), None, Layout::Tokens, Layout::Volume);
    assert_eq!(map.dims(), [2, 4, 0]);
}

#[test]
#[should_panic(expected = "10 tokens are no multiple of the slices of InterSlice { slices: 3 }")]
fn slices_that_do_not_divide_the_tokens_are_named() {
    let case = ConvCase::new([1, 10, 2], 4, ScanOrder::Forward);
    let case = ConvCase { order: ScanOrder::InterSlice { slices: 3 }, ..case };
    read_sync(case.run(&cpu()));
}
