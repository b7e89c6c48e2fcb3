//! The scan against the f64 reference on a device (see `common/adapter.rs`).
use crate::common::adapter::{adapter, launches_on, poison};
use crate::common::{Tensors, check, check_not_finite, error, inputs, run, shape, shapes, uniform, values};
use burn::tensor::read_sync;
use tu_kernels::ScanShape;
use tu_kernels::cube::{FORWARD_LAUNCHES, GRADIENT_LAUNCHES, launches};
use tu_kernels::reference::{selective_scan_f64, selective_scan_gradients_f64};

#[test]
fn values_and_gradients_agree_with_f64_for_every_shape() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for (seed, shape) in shapes().into_iter().enumerate() {
        read_sync(check(shape, seed as u64 + 1, &device, 1e-4));
    }
    read_sync(check(shape(1, 40, 5, 20), 50, &device, 1e-4));
    read_sync(check(shape(1, 40, 18, 64), 51, &device, 1e-4));
}

#[test]
fn a_very_long_sequence_keeps_its_accuracy() {
    let Some((device, _guard)) = adapter() else { return };
    read_sync(check(shape(1, 102_400, 3, 16), 1, &device, 1e-4));
}

#[test]
fn the_chunk_does_not_change_the_result() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = inputs(shape(2, 333, 19, 4), 7);
    let y_grad = uniform(inputs.shape.tokens_by_channels(), 70);
    let expected = selective_scan_f64(&inputs);
    let expected_u = selective_scan_gradients_f64(&inputs, &y_grad).u;
    let device = device.autodiff();
    for chunk in [1, 2, 7, 16, 64, 333, 1000] {
        let t = Tensors::new(&inputs, &device).tracked();
        let y = t.scan_in_chunks(Some(chunk));
        let weights = crate::common::tensor(&y_grad, y.dims(), &device);
        let grads = (y.clone() * weights).sum().backward();
        let y_error = error(&read_sync(values(y.inner())), &expected);
        let u_error = error(&read_sync(values(t.u.grad(&grads).unwrap())), &expected_u);
        assert!(y_error < 2e-5 && u_error < 2e-5, "chunk {chunk}: {y_error:e}, {u_error:e}");
    }
}

#[test]
fn launches_do_not_grow_with_the_sequence_and_two_runs_are_equal_in_every_bit() {
    let Some((device, _guard)) = adapter() else { return };
    for length in [1, 100, 5000] {
        let inputs = inputs(shape(1, length, 16, 16), 3);
        let y_grad = uniform(inputs.shape.tokens_by_channels(), 4);
        let bits = || {
            let before = launches();
            let (y, g) = read_sync(run(&inputs, &y_grad, &device));
            let expected = launches_on(&device, FORWARD_LAUNCHES + GRADIENT_LAUNCHES);
            assert_eq!(launches() - before, expected);
            [y, g.u, g.projected, g.step_weight, g.step_bias, g.a_log, g.d]
                .concat()
                .iter()
                .map(|x| x.to_bits())
                .collect::<Vec<_>>()
        };
        assert_eq!(bits(), bits());
    }
}

#[test]
fn a_scan_without_gradients_takes_three_launches() {
    let Some((device, _guard)) = adapter() else { return };
    let tensors = Tensors::new(&inputs(shape(1, 2000, 16, 16), 3), &device);
    let before = launches();
    tensors.scan();
    assert_eq!(launches() - before, launches_on(&device, FORWARD_LAUNCHES));
}

#[test]
fn constants_and_forgetting_steps_behave_as_in_the_reference() {
    let Some((device, _guard)) = adapter() else { return };
    for value in [0.0, 1.0] {
        let mut inputs = inputs(shape(1, 70, 3, 4), 9);
        inputs.u.fill(value);
        read_sync(check_not_finite(&inputs, &device));
    }
    let mut inputs = inputs(shape(1, 70, 3, 4), 9);
    inputs.step_bias.fill(60.0);
    assert!(
        error(&read_sync(values(Tensors::new(&inputs, &device).scan())), &selective_scan_f64(&inputs)) < 1e-5
    );
}

#[test]
fn swapped_axes_are_read_in_their_logical_order() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = inputs(shape(2, 40, 18, 5), 6);
    let expected = selective_scan_f64(&inputs);
    let mut tensors = Tensors::new(&inputs, &device);
    let ScanShape { batch, length, channels, .. } = inputs.shape;
    let transposed: Vec<f64> = (0..batch * channels * length)
        .map(|i| {
            let (sequence, e, t) = (i / (channels * length), i / length % channels, i % length);
            inputs.u[(sequence * length + t) * channels + e]
        })
        .collect();
    tensors.u = crate::common::tensor::<3>(&transposed, [batch, channels, length], &device).swap_dims(1, 2);
    assert!(error(&read_sync(values(tensors.scan())), &expected) < 1e-5);
}

/// Rows of a wider tensor that start and end where a device can bind a buffer are read where they lie.
#[test]
fn columns_of_wider_rows_are_read_in_place() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = inputs(shape(1, 40, 16, 16), 6);
    let (length, width) = (inputs.shape.length, inputs.shape.width());
    let row = width + 64;
    let wider: Vec<f64> = (0..length * row)
        .map(|i| if i % row < width { inputs.projected[i / row * width + i % row] } else { f64::NAN })
        .collect();
    let mut tensors = Tensors::new(&inputs, &device);
    let expected = read_sync(values(tensors.scan()));
    tensors.projected = crate::common::tensor::<3>(&wider, [1, length, row], &device).narrow(2, 0, width);
    assert_eq!(read_sync(values(tensors.scan())), expected);
}
