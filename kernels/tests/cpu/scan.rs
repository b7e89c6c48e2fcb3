//! The CPU scan against the f64 reference.
use crate::common::{
    Column, Tensors, check, check_not_finite, error, inputs, place, run, shape, shapes, uniform, values,
};
use burn::tensor::{Device, read_sync};
use tu_kernels::cpu::{ScanSlices, forward};
use tu_kernels::reference::{ScanInputs, selective_scan_f64};

fn cpu() -> Device {
    Device::flex()
}

#[test]
fn values_and_gradients_agree_with_f64_for_every_shape() {
    for (seed, shape) in shapes().into_iter().enumerate() {
        read_sync(check(shape, seed as u64 + 1, &cpu(), 2e-5));
    }
}

#[test]
fn a_very_long_sequence_keeps_its_accuracy() {
    read_sync(check(shape(1, 102_400, 3, 16), 1, &cpu(), 1e-4));
}

#[test]
fn two_runs_are_equal_in_every_bit_whatever_the_number_of_threads() {
    let inputs = inputs(shape(1, 700, 20, 16), 3);
    let y_grad = uniform(inputs.shape.tokens_by_channels(), 4);
    let runs = [1, 1, 2, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (y, g) = pool.install(|| read_sync(run(&inputs, &y_grad, &cpu())));
        [y, g.u, g.projected, g.step_weight, g.step_bias, g.a_log, g.d]
            .concat()
            .iter()
            .map(|x| x.to_bits())
            .collect::<Vec<_>>()
    });
    assert!(runs.iter().all(|bits| *bits == runs[0]));
}

#[test]
fn a_sequence_does_not_depend_on_its_neighbours_in_the_batch() {
    let both = inputs(shape(2, 150, 19, 4), 8);
    let y = values_of(&both);
    let half = |x: &[f64]| x[..x.len() / 2].to_vec();
    let first = ScanInputs {
        shape: shape(1, 150, 19, 4),
        u: half(&both.u),
        projected: half(&both.projected),
        ..both.clone()
    };
    assert!(error(&y[..y.len() / 2], &selective_scan_f64(&first)) < 1e-5);
    let alone = values_of(&first);
    let close = y.iter().zip(&alone).all(|(a, b)| (a - b).abs() < 1e-5);
    assert!(close, "the first sequence changed with the second");
}

fn values_of(inputs: &ScanInputs) -> Vec<f32> {
    read_sync(values(Tensors::new(inputs, &cpu()).scan()))
}

#[test]
fn swapped_axes_and_slices_are_read_in_their_logical_order() {
    let inputs = inputs(shape(2, 40, 18, 5), 6);
    let mut tensors = Tensors::new(&inputs, &cpu());
    let expected = read_sync(values(tensors.scan()));
    tensors.u = read_back(tensors.u.swap_dims(1, 2), &cpu()).swap_dims(1, 2);
    tensors.projected = read_back(tensors.projected.swap_dims(0, 1), &cpu()).swap_dims(0, 1);
    tensors.a_log = read_back(tensors.a_log.transpose(), &cpu()).transpose();
    assert_eq!(read_sync(values(tensors.scan())), expected);
}

fn read_back<const D: usize>(tensor: burn::tensor::Tensor<D>, device: &Device) -> burn::tensor::Tensor<D> {
    burn::tensor::Tensor::from_data(tensor.into_data(), device)
}

#[test]
fn nan_infinity_and_constants_behave_as_in_the_reference() {
    use Column::{B, C, Low};
    let plain = inputs(shape(1, 70, 3, 4), 9);
    let with = |change: fn(&mut ScanInputs)| {
        let mut inputs = plain.clone();
        change(&mut inputs);
        inputs
    };
    let column = |column: Column, value: f64| {
        let mut inputs = plain.clone();
        inputs.projected[place(&plain.shape, 12, &column)] = value;
        inputs
    };
    for (name, inputs) in [
        ("NaN in u", with(|i| i.u[31] = f64::NAN)),
        ("NaN in δ", column(Low(0), f64::NAN)),
        ("NaN in a", with(|i| i.a_log[2] = f64::NAN)),
        ("NaN in B", column(B(2), f64::NAN)),
        ("NaN in d", with(|i| i.d[1] = f64::NAN)),
        ("infinite u", with(|i| i.u[31] = f64::INFINITY)),
        ("infinite B", column(B(2), f64::NEG_INFINITY)),
        ("infinite C", column(C(1), f64::INFINITY)),
        ("step 0", with(|i| i.step_bias.fill(f64::NEG_INFINITY))),
        ("all 0", with(|i| i.u.fill(0.0))),
        ("all 1", with(|i| i.u.fill(1.0))),
    ] {
        println!("{name}");
        read_sync(check_not_finite(&inputs, &cpu()));
    }
}

#[test]
fn a_step_of_infinity_forgets_everything() {
    let mut inputs = inputs(shape(1, 4, 2, 3), 2);
    inputs.projected.fill(0.0);
    inputs.step_bias.fill(f64::INFINITY);
    inputs.u.fill(0.0);
    // ∞ · 0 is NaN in the drive, as in the reference
    assert!(values_of(&inputs).iter().all(|y| y.is_nan()));
    assert!(selective_scan_f64(&inputs).iter().all(|y| y.is_nan()));
}

#[test]
fn half_precision_inputs_are_scanned_in_f32() {
    let inputs = inputs(shape(1, 300, 8, 16), 5);
    let half = burn::tensor::DType::F16;
    let t = Tensors::new(&inputs, &cpu());
    let y = tu_kernels::selective_scan(
        t.u.cast(half),
        t.projected.cast(half),
        t.step_weight.cast(half),
        t.step_bias.cast(half),
        t.a_log.cast(half),
        t.d.cast(half),
    );
    assert_eq!(y.dtype(), half);
    let y = read_sync(values(y.cast(burn::tensor::DType::F32)));
    assert!(error(&y, &selective_scan_f64(&inputs)) < 5e-3);
}

#[test]
fn an_untracked_input_gets_no_gradient_and_the_others_do() {
    let inputs = inputs(shape(1, 10, 4, 2), 1);
    let device = cpu().autodiff();
    let mut tensors = Tensors::new(&inputs, &device);
    tensors.a_log = tensors.a_log.require_grad();
    let grads = tensors.scan().sum().backward();
    assert!(tensors.a_log.grad(&grads).is_some() && tensors.u.grad(&grads).is_none());
}

#[test]
fn an_empty_scan_is_empty() {
    let shape = shape(1, 0, 4, 2);
    let slices = ScanSlices {
        shape,
        u: &[],
        projected: &[],
        step_weight: &[0.0; 8],
        step_bias: &[0.0; 4],
        a_log: &[0.0; 8],
        d: &[0.0; 4],
    };
    assert!(forward(&slices).is_empty());
}

#[test]
#[should_panic(expected = "`projected` is [1, 5, 7] but the others ask for [1, 5, 6]")]
fn a_wrong_shape_is_named() {
    let device = cpu();
    let mut tensors = Tensors::new(&inputs(shape(1, 5, 4, 2), 1), &device);
    tensors.projected = burn::tensor::Tensor::zeros([1, 5, 7], &device);
    tensors.scan();
}

#[test]
fn the_distance_of_kept_states_does_not_change_the_gradients() {
    let inputs = inputs(shape(2, 150, 19, 4), 7);
    let y_grad = uniform(inputs.shape.tokens_by_channels(), 70);
    let expected = tu_kernels::reference::selective_scan_gradients_f64(&inputs, &y_grad).u;
    let device = cpu().autodiff();
    for chunk in [1, 2, 7, 64, 150, 1000] {
        let t = Tensors::new(&inputs, &device).tracked();
        let y = t.scan_in_chunks(Some(chunk));
        let weights = crate::common::tensor(&y_grad, y.dims(), &device);
        let grads = (y * weights).sum().backward();
        let error = error(&read_sync(values(t.u.grad(&grads).unwrap())), &expected);
        assert!(error < 1e-5, "chunk {chunk}: {error:e}");
    }
}
