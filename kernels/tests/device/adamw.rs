//! AdamW, sums of squares and weighted sums of all parameters on a device (see
//! `common/adapter.rs`), against f64 and the CPU, with all launches counted, burn's included.
use crate::common::adamw::{AdamwCase, adamw_cases};
use crate::common::adapter::{adapter, is_cpu, poison};
use crate::common::{error, tensor, uniform, values};
use burn::backend::{BackendTensor, DispatchTensorKind};
use burn::tensor::{Device, Tensor, read_sync};
use tu_kernels::adamw::cube::{adamw_launches, square_sums_launches, weighted_sums_launches};
use tu_kernels::adamw::{adamw, square_sums, weighted_sums};
use tu_kernels::cube::{launches, observe};

/// A result, and the launches that it took.
fn counted<R>(f: impl FnOnce() -> R) -> (R, usize) {
    let before = launches();
    let (result, launched) = observe(f);
    assert_eq!(launched.total(), launches() - before, "every launch is this crate's own");
    (result, launched.total() as usize)
}

/// Buffers that the adapter binds.
fn limit(device: &Device) -> u32 {
    let tensor = Tensor::<1>::zeros([1], device).into_dispatch();
    let DispatchTensorKind::Cube(BackendTensor::Float(tensor)) = tensor.kind else { panic!("not a GPU") };
    tensor.client.properties().hardware.max_bindings
}

#[test]
fn steps_agree_with_f64_for_every_size() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for case in adamw_cases() {
        read_sync(case.check(&device, 1e-5));
    }
}

#[test]
fn steps_agree_with_the_cpu_and_with_themselves_in_every_bit() {
    let Some((device, _guard)) = adapter() else { return };
    for case in adamw_cases() {
        let (found, again) = (read_sync(case.run(&device)), read_sync(case.run(&device)));
        let cpu = read_sync(case.run(&Device::flex()));
        let wide = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        assert!(error(&found.values, &wide(&cpu.values)) < 1e-6);
        assert!(error(&found.first, &wide(&cpu.first)) < 1e-6);
        assert!(error(&found.second, &wide(&cpu.second)) < 1e-6);
        assert!(found.values == again.values && found.first == again.first && found.second == again.second);
    }
}

#[test]
fn a_step_of_hundreds_of_parameters_takes_a_few_launches_and_none_of_burn() {
    let Some((device, _guard)) = adapter() else { return };
    if is_cpu(&device) {
        eprintln!("SKIPPED: the CPU launches nothing");
        return;
    }
    let limit = limit(&device);
    let case = AdamwCase::new((0..304).map(|i| 1 + i * 53 % 999).collect(), 0);
    let step = &case.steps[0];
    let (found, moments) = (case.values(&device), case.moments(&device));
    let parameters = case.parameters(&found, step);
    let gradients: Vec<_> = parameters.iter().map(|parameter| parameter.gradient.clone()).collect();

    let (sums, taken) = counted(|| square_sums(gradients).unwrap());
    assert_eq!(taken, square_sums_launches(304, limit));
    let norm = taken;
    drop(sums);
    let ((moved, _), taken) = counted(|| adamw(parameters, moments, step));
    assert_eq!(taken, adamw_launches(304, limit));
    let steps = taken;
    let (_, taken) = counted(|| weighted_sums(found.into_iter().zip(moved.clone()).collect(), [0.9, 0.1]));
    assert_eq!(taken, weighted_sums_launches(304, limit));
    println!("{limit} buffers: norm {norm}, AdamW {steps}, moving average {taken} launches");

    // The values just made are views; another step starts from them as from any tensor.
    let parameters = case.parameters(&moved, &case.steps[1]);
    let (_, taken) = counted(|| adamw(parameters, case.moments(&device), &case.steps[1]));
    assert_eq!(taken, adamw_launches(304, limit));
    if limit >= 124 {
        assert!(norm + steps <= 9, "{norm} and {steps}");
    }
}

#[test]
fn values_and_moments_that_somebody_else_holds_are_left_alone() {
    let Some((device, _guard)) = adapter() else { return };
    let case = AdamwCase::new(vec![5, 4097], 2);
    let (old, moments) = (case.values(&device), case.moments(&device));
    let held = moments.clone();
    let (new, moments) = adamw(case.parameters(&old, &case.steps[0]), moments, &case.steps[0]);
    let zeros: Vec<f32> = case.no_moments().iter().map(|v| *v as f32).collect();
    assert_eq!(read_sync(values(held.first)), zeros);
    assert_eq!(read_sync(values(held.second)), zeros);
    let copies: Vec<Vec<f32>> = new.iter().map(|value| read_sync(values(value.clone()))).collect();
    let _ = adamw(case.parameters(&new, &case.steps[1]), moments, &case.steps[1]);
    for (i, (old, (new, copy))) in old.into_iter().zip(new.into_iter().zip(copies)).enumerate() {
        let before = read_sync(values(case.values(&Device::flex())[i].clone()));
        assert_eq!(read_sync(values(old)), before);
        assert_eq!(read_sync(values(new)), copy);
    }
}

#[test]
fn new_values_can_be_computed_with_read_and_moved_like_any_tensor() {
    let Some((device, _guard)) = adapter() else { return };
    let case = AdamwCase::new(vec![7, 4097, 12], 0);
    let (new, _) =
        adamw(case.parameters(&case.values(&device), &case.steps[0]), case.moments(&device), &case.steps[0]);
    for value in new {
        let plain = read_sync(values(value.clone()));
        let doubled = read_sync(values(value.clone() + value.clone()));
        assert!(plain.iter().zip(doubled).all(|(a, b)| 2.0 * a == b));
        assert_eq!(read_sync(values(value.to_device(&Device::flex()))), plain);
    }
}

#[test]
fn sums_of_squares_agree_with_f64_and_find_what_is_not_finite() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    let sizes: Vec<usize> = (0..140).map(|i| 1 + i * 97 % 500).chain([65_537, 1, 3, 4096, 8193]).collect();
    let inputs: Vec<Vec<f64>> = sizes.iter().enumerate().map(|(i, size)| uniform(*size, i as u64)).collect();
    let tensors = || -> Vec<Tensor<1>> {
        inputs.iter().map(|values| tensor(values, [values.len()], &device)).collect()
    };
    let sum =
        |tensors| read_sync(values(square_sums(tensors).unwrap())).into_iter().map(f64::from).sum::<f64>();
    let expected: f64 = inputs.iter().flatten().map(|x| x * x).sum();
    let found = sum(tensors());
    assert!((found / expected - 1.0).abs() < 1e-6, "{found} instead of {expected}");
    assert!(found.to_bits() == sum(tensors()).to_bits());
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for place in [0, 140, 144] {
            let mut tensors = tensors();
            let mut values = inputs[place].clone();
            *values.last_mut().unwrap() = bad;
            tensors[place] = tensor(&values, [values.len()], &device);
            assert!(!sum(tensors).is_finite(), "{bad} in {place}");
        }
    }
}

#[test]
fn weighted_sums_agree_with_f64_and_sum_gradients_exactly() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    let sizes: Vec<usize> = (0..130).map(|i| 1 + i * 97 % 500).chain([65_537, 1, 3, 4096, 8193]).collect();
    let input = |i: usize, seed: u64| uniform(sizes[i], seed + i as u64);
    let pairs = || -> Vec<(Tensor<1>, Tensor<1>)> {
        let one = |i, seed| tensor(&input(i, seed), [sizes[i]], &device);
        (0..sizes.len()).map(|i| (one(i, 1), one(i, 500))).collect()
    };
    for weights in [[0.75, 0.25], [1.0, 1.0]] {
        for (i, sum) in weighted_sums(pairs(), weights).into_iter().enumerate() {
            let expected: Vec<f64> =
                input(i, 1).iter().zip(input(i, 500)).map(|(a, b)| weights[0] * a + weights[1] * b).collect();
            assert!(error(&read_sync(values(sum)), &expected) < 1e-6, "{i}");
        }
    }
}

#[test]
fn transposed_gradients_are_read_in_their_logical_order() {
    let Some((device, _guard)) = adapter() else { return };
    let x = uniform(60, 1);
    let columns: Vec<f64> = (0..60).map(|i| x[i % 6 * 10 + i / 6]).collect();
    let turned: Tensor<2> = tensor::<2>(&columns, [10, 6], &device).transpose();
    let flat: Tensor<1> = turned.reshape([60]);
    let sums = weighted_sums(vec![(flat.clone(), flat)], [1.0, 1.0]);
    let expected: Vec<f64> = x.iter().map(|v| 2.0 * v).collect();
    assert!(error(&read_sync(values(sums[0].clone())), &expected) < 1e-6);
}
