//! The tiled convolution against f64 and its CPU twin on a device (see `common/adapter.rs`).
use crate::common::adapter::{adapter, is_cpu, launches_on, limit_of_products, offered, poison};
use crate::common::convolution::{ConvInputs, ConvResult, conv_shape, conv_shapes};
use crate::common::{HALF_TYPES, error, tensor, values};
use burn::tensor::{Device, read_sync};
use tu_kernels::conv::cube::{PACKED_LAUNCHES, VALUE_LAUNCHES, WEIGHT_GRADIENT_LAUNCHES};
use tu_kernels::conv::{ConvAlgorithm, PackedWeight, conv_same_packed, conv_same_with};
use tu_kernels::cube::{launches, observe};

const TILED: ConvAlgorithm = ConvAlgorithm::Tiled;
/// Launches of values and gradients.
const BOTH_WAYS: u64 = 2 * VALUE_LAUNCHES + WEIGHT_GRADIENT_LAUNCHES;

#[test]
fn values_and_gradients_agree_with_f64_for_every_shape() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for (seed, shape) in conv_shapes().into_iter().enumerate() {
        read_sync(ConvInputs::new(shape, seed as u64 + 1).check(&device, TILED, 1e-5));
    }
}

/// Above 32,768 positions burn's weight gradient has been seen wrong on a software driver.
#[test]
fn values_and_gradients_agree_with_the_cpu_twin_above_32768_positions() {
    let Some((device, _guard)) = adapter() else { return };
    for shape in
        [conv_shape(2, [16, 16], [5, 61, 67], [3, 3, 3]), conv_shape(1, [8, 32], [3, 160, 96], [1, 5, 5])]
    {
        let inputs = ConvInputs::new(shape, 5);
        let found = read_sync(inputs.run(&device, TILED));
        let twin = read_sync(inputs.run(&Device::flex(), TILED));
        for (name, found, twin) in [
            ("y", &found.y, &twin.y),
            ("x_grad", &found.x_grad, &twin.x_grad),
            ("w_grad", &found.w_grad, &twin.w_grad),
        ] {
            let twin: Vec<f64> = twin.iter().map(|v| f64::from(*v)).collect();
            let error = error(found, &twin);
            assert!(error < 2e-5, "{name} of {shape:?}: {error:e}");
        }
    }
}

#[test]
fn launches_are_two_for_each_of_values_and_gradients_and_two_runs_are_equal_in_every_bit() {
    let Some((device, _guard)) = adapter() else { return };
    for shape in [
        conv_shape(1, [1, 1], [1, 2, 3], [1, 3, 3]),
        conv_shape(1, [24, 40], [2, 30, 30], [1, 5, 5]),
        conv_shape(1, [8, 8], [20, 40, 40], [3, 3, 3]),
    ] {
        let inputs = ConvInputs::new(shape, 3);
        let bits = || {
            let before = launches();
            let ConvResult { y, x_grad, w_grad } = read_sync(inputs.run(&device, TILED));
            assert_eq!(launches() - before, launches_on(&device, BOTH_WAYS));
            [y, x_grad, w_grad].concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>()
        };
        assert!(bits() == bits(), "{shape:?}");
    }
}

/// One packing serves volumes of every size, in one launch, with the bits of a convolution that packs for itself.
#[test]
fn weights_packed_once_serve_every_size() {
    let Some((device, _guard)) = adapter() else { return };
    if is_cpu(&device) {
        eprintln!("SKIPPED: the CPU reads weights as they are");
        return;
    }
    poison(&device);
    for (channels, kernel) in [
        ([1, 1], [1, 3, 3]),
        ([24, 40], [1, 5, 5]),
        ([8, 8], [3, 3, 3]),
        ([13, 64], [3, 3, 3]),
        ([5, 3], [1, 15, 15]),
    ] {
        let [input, output] = channels;
        let weight = |inputs: &ConvInputs| {
            tensor::<5>(&inputs.w, [output, input, kernel[0], kernel[1], kernel[2]], &device)
        };
        let first = ConvInputs::new(conv_shape(1, channels, [1, 2, 3], kernel), 3);
        let packed = PackedWeight::for_algorithm(weight(&first), TILED).unwrap();
        for (batch, size) in [(1, [1, 1, 1]), (2, [5, 17, 23]), (1, [3, 70, 96])] {
            let mut inputs = ConvInputs::new(conv_shape(batch, channels, size, kernel), 4);
            inputs.w.clone_from(&first.w);
            let x = tensor::<5>(&inputs.x, [batch, input, size[0], size[1], size[2]], &device);
            let before = launches();
            let y = conv_same_packed(x.clone(), &packed);
            assert_eq!(launches() - before, launches_on(&device, PACKED_LAUNCHES));
            let own = read_sync(values(conv_same_with(x, weight(&first), TILED)));
            assert!(read_sync(values(y)) == own, "{channels:?}, {kernel:?}, {size:?}");
            assert!(error(&own, &inputs.reference().y) < 1e-5);
        }
    }
}

#[test]
fn weights_are_packed_by_one_pipeline() {
    let Some((device, _guard)) = adapter() else { return };
    if is_cpu(&device) {
        eprintln!("SKIPPED: the CPU reads weights as they are");
        return;
    }
    let pack = || {
        for (channels, kernel) in [([3, 4], [1, 3, 3]), ([24, 40], [1, 5, 5]), ([8, 8], [3, 3, 3])] {
            let inputs = ConvInputs::new(conv_shape(1, channels, [1, 2, 3], kernel), 3);
            let dims = [channels[1], channels[0], kernel[0], kernel[1], kernel[2]];
            let weight = tensor::<5>(&inputs.w, dims, &device);
            assert!(PackedWeight::for_algorithm(weight, TILED).is_some());
        }
    };
    let ((), launched) = observe(pack);
    assert_eq!(
        (launched.of("pack_weights"), launched.total(), launched.pipelines),
        (3, 3, 1),
        "{launched:?}"
    );
}

#[test]
fn weights_are_left_as_they_are_where_they_are_read_so() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = ConvInputs::new(conv_shape(1, [3, 4], [1, 2, 3], [1, 3, 3]), 3);
    let weight = |device: &Device| tensor::<5>(&inputs.w, [4, 3, 1, 3, 3], device);
    assert!(PackedWeight::new(weight(&Device::flex())).is_none());
    assert!(PackedWeight::new(weight(&device.clone().autodiff())).is_none());
    assert!(PackedWeight::for_algorithm(weight(&device), ConvAlgorithm::Burn).is_none());
}

/// No matrix units on plain wgpu without their features, or no `autotune`: the tiled one runs by itself.
#[test]
fn the_device_decides_unless_told_otherwise() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = ConvInputs::new(conv_shape(1, [3, 4], [2, 6, 7], [1, 3, 3]), 1);
    let launched = |algorithm, limit| {
        let before = launches();
        read_sync(inputs.check(&device, algorithm, limit));
        launches() - before
    };
    assert_eq!(launched(ConvAlgorithm::Burn, limit_of_products(&device, 1e-5)), 0);
    assert_eq!(launched(TILED, 1e-5), launches_on(&device, BOTH_WAYS));
    if !cfg!(feature = "autotune") {
        assert_eq!(launched(ConvAlgorithm::ByDevice, 1e-5), launches_on(&device, BOTH_WAYS));
    }
}

#[test]
fn a_kernel_beyond_shared_memory_is_left_to_burn() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = ConvInputs::new(conv_shape(1, [1, 1], [1, 9, 8], [1, 41, 41]), 1);
    read_sync(inputs.check(&device, TILED, limit_of_products(&device, 1e-5)));
}

#[test]
fn swapped_axes_are_read_in_their_logical_order() {
    let Some((device, _guard)) = adapter() else { return };
    let inputs = ConvInputs::new(conv_shape(1, [4, 3], [2, 5, 5], [1, 3, 3]), 2);
    let expected = inputs.reference().y;
    let x = tensor::<5>(&inputs.x, [1, 4, 2, 5, 5], &device);
    let w = tensor::<5>(&inputs.w, [3, 4, 1, 3, 3], &device);
    // swapped, copied in that order, and swapped back
    let swapped = |t: burn::tensor::Tensor<5>| {
        let copied = t.swap_dims(1, 4);
        let dims = copied.dims();
        let data: Vec<f64> = read_sync(values(copied)).iter().map(|v| f64::from(*v)).collect();
        tensor::<5>(&data, dims, &device).swap_dims(1, 4)
    };
    let y = conv_same_with(swapped(x), swapped(w), TILED);
    assert!(error(&read_sync(values(y)), &expected) < 1e-5);
}

#[test]
fn what_is_not_finite_goes_where_f64_has_it() {
    let Some((device, _guard)) = adapter() else { return };
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut inputs = ConvInputs::new(conv_shape(1, [3, 9], [3, 11, 12], [1, 5, 5]), 4);
        // channel 1, in the middle, so that no tap of it meets the border
        inputs.x[((3 + 1) * 11 + 5) * 12 + 6] = bad;
        let (found, expected) = (read_sync(inputs.run(&device, TILED)), inputs.reference());
        for (name, found, expected) in
            [("y", &found.y, &expected.y), ("w_grad", &found.w_grad, &expected.w_grad)]
        {
            for (at, (f, e)) in found.iter().zip(expected).enumerate() {
                assert_eq!(f.is_nan(), e.is_nan(), "{name}[{at}] for {bad}: {f} instead of {e}");
                assert_eq!(f.is_finite(), e.is_finite(), "{name}[{at}] for {bad}: {f} instead of {e}");
            }
        }
        assert!(found.x_grad.iter().all(|v| v.is_finite()));
    }
}

#[test]
fn a_constant_input_gives_the_sum_of_the_weights_that_meet_it() {
    let Some((device, _guard)) = adapter() else { return };
    let shape = conv_shape(1, [2, 3], [2, 9, 10], [1, 3, 3]);
    let mut inputs = ConvInputs::new(shape, 6);
    inputs.x.fill(1.0);
    let y = read_sync(inputs.run(&device, TILED)).y;
    for o in 0..3 {
        let whole: f64 = inputs.w[o * 18..(o + 1) * 18].iter().sum();
        assert!((f64::from(y[(o * 2 * 9 + 4) * 10 + 5]) - whole).abs() < 1e-5);
    }
    read_sync(inputs.check(&device, TILED, 1e-5));
}

#[test]
fn half_types_are_read_and_written_as_they_are_and_summed_in_f32() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for (dtype, bit) in HALF_TYPES.into_iter().filter(|(dtype, _)| offered(&device, *dtype)) {
        for (seed, shape) in conv_shapes().into_iter().enumerate() {
            let before = launches();
            // the last rounding alone: sums of rounded products would be off by more
            read_sync(ConvInputs::new(shape, seed as u64 + 1).check_in(dtype, &device, TILED, bit));
            assert_eq!(launches() - before, launches_on(&device, BOTH_WAYS), "{shape:?}");
        }
    }
}
