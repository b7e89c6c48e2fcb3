//! AdamW, sums of squares and weighted sums of all parameters on the CPU, against f64 and against single operations.
use crate::common::adamw::{AdamwCase, adamw_cases};
use crate::common::{tensor, uniform, values};
use burn::tensor::{Device, Tensor, read_sync};
use tu_kernels::adamw::{AdamwStep, Moments, adamw, square_sums, weighted_sums};

#[test]
fn steps_agree_with_f64_for_every_size() {
    for case in adamw_cases() {
        read_sync(case.check(&Device::flex(), 1e-5));
    }
}

/// A step by burn's operations on single tensors.
fn step_by_operations(
    case: &AdamwCase,
    found: &mut [Tensor<1>],
    moments: &mut [[Tensor<1>; 2]],
    step: &AdamwStep,
) {
    let [beta1, beta2] = step.betas;
    let t = step.step as i32;
    for (parameter, moments) in case.parameters(found, step).into_iter().zip(moments) {
        let index = (0..case.sizes.len()).find(|i| case.start(*i) == parameter.start).unwrap();
        let gradient =
            if step.clip == 1.0 { parameter.gradient } else { parameter.gradient.mul_scalar(step.clip) };
        let [first, second] = moments.clone();
        let first = first.mul_scalar(beta1) + gradient.clone().mul_scalar(1.0 - beta1);
        let second = second.mul_scalar(beta2) + gradient.square().mul_scalar(1.0 - beta2);
        let root = second.clone().div_scalar(1.0 - beta2.powi(t)).sqrt().add_scalar(step.epsilon);
        let direction = first.clone().mul_scalar(step.learning_rate / (1.0 - beta1.powi(t))) / root;
        found[index] = parameter.value.mul_scalar(1.0 - parameter.decay) - direction;
        *moments = [first, second];
    }
}

#[test]
fn steps_give_the_bits_of_single_tensor_operations() {
    let device = Device::flex();
    for case in adamw_cases() {
        let mut found = case.values(&device);
        let mut moments: Vec<_> =
            case.sizes.iter().map(|size| [0, 1].map(|_| Tensor::<1>::zeros([*size], &device))).collect();
        for step in &case.steps {
            step_by_operations(&case, &mut found, &mut moments, step);
        }
        let trained = read_sync(case.run(&device));
        let mut at = 0;
        let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        for (i, (value, [first, second])) in found.into_iter().zip(moments).enumerate() {
            let size = case.sizes[i];
            let own = case.start(i)..case.start(i) + size;
            assert_eq!(bits(&trained.values[at..at + size]), bits(&read_sync(values(value))), "value {i}");
            assert_eq!(bits(&trained.first[own.clone()]), bits(&read_sync(values(first))), "first {i}");
            assert_eq!(bits(&trained.second[own]), bits(&read_sync(values(second))), "second {i}");
            at += size;
        }
    }
}

#[test]
fn moments_that_somebody_else_holds_are_left_alone() {
    let device = Device::flex();
    let case = AdamwCase::new(vec![5, 4097], 2);
    let moments = case.moments(&device);
    let held = moments.clone();
    let _ = adamw(case.parameters(&case.values(&device), &case.steps[0]), moments, &case.steps[0]);
    let zeros: Vec<f32> = case.no_moments().iter().map(|v| *v as f32).collect();
    assert_eq!(read_sync(values(held.first)), zeros);
    assert_eq!(read_sync(values(held.second)), zeros);
}

#[test]
#[should_panic(expected = "not behind those of the parameter before")]
fn moments_that_overlap_are_refused() {
    let device = Device::flex();
    let case = AdamwCase::new(vec![5, 5], 0);
    let mut parameters = case.parameters(&case.values(&device), &case.steps[0]);
    parameters[1].start = 4;
    let _ = adamw(parameters, case.moments(&device), &case.steps[0]);
}

#[test]
#[should_panic(expected = "a gradient has 3 elements")]
fn a_gradient_of_another_length_is_refused() {
    let device = Device::flex();
    let case = AdamwCase::new(vec![5], 0);
    let mut parameters = case.parameters(&case.values(&device), &case.steps[0]);
    parameters[0].gradient = Tensor::zeros([3], &device);
    let _ = adamw(parameters, case.moments(&device), &case.steps[0]);
}

#[test]
fn sums_of_squares_are_those_of_single_tensor_operations_and_find_what_is_not_finite() {
    let device = Device::flex();
    assert!(square_sums(Vec::new()).is_none());
    let tensors: Vec<Tensor<1>> =
        [1, 3, 65_537].map(|size| tensor(&uniform(size, size as u64), [size], &device)).into();
    let single: Vec<f32> = tensors.iter().flat_map(|t| read_sync(values(t.clone().square().sum()))).collect();
    assert_eq!(read_sync(values(square_sums(tensors.clone()).unwrap())), single);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut tensors = tensors.clone();
        tensors[1] = tensor(&[0.0, bad, 0.0], [3], &device);
        let sums = read_sync(values(square_sums(tensors).unwrap()));
        assert!(!sums.iter().sum::<f32>().is_finite());
    }
}

#[test]
fn weighted_sums_give_the_bits_of_single_tensor_operations() {
    let device = Device::flex();
    let make = |seed| [1, 3, 65_537, 20_000].map(|size| tensor::<1>(&uniform(size, seed), [size], &device));
    let (a, b) = (make(1), make(2));
    for weights in [[0.999, 1.0 - 0.999], [1.0, 1.0]] {
        let sums = weighted_sums(a.iter().cloned().zip(b.iter().cloned()).collect(), weights);
        for ((a, b), sum) in a.iter().zip(&b).zip(sums) {
            let single = a.clone().mul_scalar(weights[0]) + b.clone().mul_scalar(weights[1]);
            assert_eq!(read_sync(values(sum)), read_sync(values(single)));
        }
    }
    let plain = read_sync(values(a[2].clone() + b[2].clone()));
    let sums = weighted_sums(vec![(a[2].clone(), b[2].clone())], [1.0, 1.0]);
    assert_eq!(read_sync(values(sums[0].clone())), plain);
    assert!(weighted_sums(Vec::new(), [1.0, 1.0]).is_empty());
}

#[test]
fn no_parameters_leave_the_moments_as_they_are() {
    let device = Device::flex();
    let case = AdamwCase::new(vec![4], 0);
    let (found, Moments { first, .. }) = adamw(Vec::new(), case.moments(&device), &case.steps[0]);
    assert!(found.is_empty());
    assert_eq!(read_sync(values(first)), [0.0; 4]);
}
