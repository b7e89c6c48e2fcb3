//! The operations around a scan against f64 on a device (see `common/adapter.rs`).
use crate::common::adapter::{adapter, launches_on, limit_of_products, poison};
use crate::common::gelu::gelu_cases;
use crate::common::projection::projection_cases;
use crate::common::three_orders::{SIZES, check_three_orders};
use crate::common::tokens::{
    ConvCase, GateCase, NormCase, TokenCase, check, check_not_finite, conv_cases, gate_cases, norm_cases,
};
use crate::common::{error, tensor, values};
use burn::tensor::{Device, Tensor, read_sync};
use tu_kernels::cube::{launches, observe};
use tu_kernels::{
    ScanOrder, causal_conv, causal_conv_silu, gate, gated_direction_sum, layer_norm, layer_norm_tokens,
};

#[test]
fn causal_convolutions_agree_with_f64_for_every_shape_and_order() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for case in conv_cases() {
        read_sync(check(&case, &device, 1e-5));
    }
}

#[test]
fn three_orders_at_once_agree_with_f64_in_one_launch_each() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    let before = launches();
    read_sync(check_three_orders(&device, 1e-5));
    let expected = 2 * tu_kernels::three_orders::cube::LAUNCHES * SIZES.len() as u64;
    assert_eq!(launches() - before, launches_on(&device, expected));
}

/// 64 floats are as far as an adapter may ask a binding to be aligned.
#[test]
fn halves_of_wider_rows_are_read_in_place() {
    let Some((device, _guard)) = adapter() else { return };
    let conv = ConvCase::new([2, 12, 64], 4, ScanOrder::InterSlice { slices: 3 });
    let gate = GateCase::new([2, 12, 64], 3);
    let halves = |x: &[f64], z: &[f64]| {
        let rows: Vec<f64> =
            x.chunks_exact(64).zip(z.chunks_exact(64)).flat_map(|(x, z)| [x, z].concat()).collect();
        tensor::<3>(&rows, [2, 12, 128], &device)
    };
    let xz = halves(&conv.x, &gate.given[3]);
    let (weight, bias) = (tensor(&conv.weight, [64, 4], &device), tensor(&conv.bias, [64], &device));
    let directions: [Tensor<3>; 3] = [0, 1, 2].map(|i| tensor(&gate.given[i], [2, 12, 64], &device));
    let [forward, backward, slice] = directions;
    let ((v, out), launched) = observe(|| {
        let [x, z] = [0, 64].map(|start| xz.clone().narrow(2, start, 64));
        let v = causal_conv_silu(x, weight, bias, conv.order);
        (v, gated_direction_sum(forward, backward, slice, z, 3))
    });
    assert_eq!(launched.total(), 2, "{launched:?}");
    assert!(error(&read_sync(values(v)), &conv.reference()[0]) < 1e-5);
    assert!(error(&read_sync(values(out)), &gate.reference()[0]) < 1e-5);
}

#[test]
fn gated_sums_agree_with_f64_for_every_shape() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for case in gate_cases() {
        read_sync(check(&case, &device, 1e-5));
    }
}

#[test]
fn layer_normalisations_agree_with_f64_for_every_shape() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for case in norm_cases() {
        read_sync(check(&case, &device, 2e-5));
    }
    read_sync(check(&NormCase::new([1, 48, 70], [1.0, 1000.0]), &device, 1e-3));
}

#[test]
fn projections_agree_with_f64_for_every_shape_and_layout() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for case in projection_cases() {
        read_sync(check(&case, &device, limit_of_products(&device, 1e-5)));
    }
}

#[test]
fn gelus_agree_with_f64_in_one_launch_each_way() {
    let Some((device, _guard)) = adapter() else { return };
    poison(&device);
    for case in gelu_cases() {
        let before = launches();
        read_sync(check(&case, &device, 2e-6));
        assert_eq!(launches() - before, launches_on(&device, 2 * tu_kernels::gelu::cube::LAUNCHES));
    }
}

/// More cubes than WebGPU allows along one axis.
#[test]
fn more_than_65535_cubes_agree_with_f64() {
    let Some((device, _guard)) = adapter() else { return };
    read_sync(check(&NormCase::new([1, 1, 70_000 * 16], [1.0, 0.0]), &device, 2e-5));
}

#[test]
fn values_that_are_not_numbers_go_where_f64_has_them() {
    let Some((device, _guard)) = adapter() else { return };
    let mut conv = ConvCase::new([2, 70, 18], 4, ScanOrder::InterSlice { slices: 5 });
    let mut gate = GateCase::new([2, 30, 18], 5);
    let mut norm = NormCase::new([2, 18, 40], [1.0, 0.0]);
    conv.x[17] = f64::NAN;
    gate.given[1][17] = f64::NAN;
    norm.x[17] = f64::NAN;
    read_sync(check_not_finite(&conv, &device));
    read_sync(check_not_finite(&gate, &device));
    read_sync(check_not_finite(&norm, &device));
}

#[test]
fn a_constant_token_becomes_the_bias() {
    let Some((device, _guard)) = adapter() else { return };
    for channels in [19, 83] {
        let mut case = NormCase::new([1, channels, 50], [1.0, 0.0]);
        case.x.fill(f64::from(3.3f32));
        let y = read_sync(case.run(&device)).swap_remove(0);
        let bias: Vec<f32> = case.bias.iter().map(|b| *b as f32).collect();
        assert!(y.chunks(channels).all(|token| token == bias));
    }
}

/// The bits of values and gradients, and the launches they took.
fn bits<T: TokenCase>(case: &T, device: &Device) -> (Vec<u32>, u64) {
    let before = launches();
    let found = read_sync(case.run(device));
    (found.concat().iter().map(|v| v.to_bits()).collect(), launches() - before)
}

#[test]
fn launches_do_not_grow_with_the_input_and_two_runs_are_equal_in_every_bit() {
    let Some((device, _guard)) = adapter() else { return };
    let on_device = |launches| launches_on(&device, launches);
    for length in [1, 100, 4000] {
        let conv = ConvCase::new([1, length, 17], 4, ScanOrder::Backward);
        let (found, count) = bits(&conv, &device);
        assert_eq!(
            count,
            on_device(causal_conv::cube::FORWARD_LAUNCHES + causal_conv::cube::GRADIENT_LAUNCHES)
        );
        assert!(found == bits(&conv, &device).0);
        let gated = GateCase::new([1, length, 5], 1);
        let (found, count) = bits(&gated, &device);
        assert_eq!(count, on_device(gate::cube::FORWARD_LAUNCHES + gate::cube::GRADIENT_LAUNCHES));
        assert!(found == bits(&gated, &device).0);
        let norm = NormCase::new([1, 17, length], [1.0, 0.0]);
        let (found, count) = bits(&norm, &device);
        assert_eq!(
            count,
            on_device(layer_norm::cube::FORWARD_LAUNCHES + layer_norm::cube::GRADIENT_LAUNCHES)
        );
        assert!(found == bits(&norm, &device).0);
        let norm = NormCase::new([1, 70, length], [1.0, 0.0]);
        let (found, count) = bits(&norm, &device);
        assert_eq!(
            count,
            on_device(layer_norm::cube::FORWARD_LAUNCHES + layer_norm::cube::GRADIENT_LAUNCHES)
        );
        assert!(found == bits(&norm, &device).0);
    }
}

#[test]
fn swapped_axes_are_read_in_their_logical_order() {
    let Some((device, _guard)) = adapter() else { return };
    let swapped = |x: &[f64], [b, l, e]: [usize; 3]| {
        let order = (0..b * l * e).map(|i| x[(i / (e * l) * l + i % l) * e + i / l % e]);
        tensor::<3>(&order.collect::<Vec<_>>(), [b, e, l], &device).swap_dims(1, 2)
    };
    let case = GateCase::new([2, 12, 10], 3);
    let [f, b, s, z] = case.given.each_ref().map(|x| swapped(x, case.dims));
    let out = read_sync(values(gated_direction_sum(f, b, s, z, 3)));
    assert!(error(&out, &case.reference()[0]) < 1e-5);
    let case = NormCase::new([2, 12, 10], [1.0, 0.0]);
    let parameter = |x: &[f64]| tensor::<1>(x, [12], &device);
    let y = layer_norm_tokens(swapped(&case.x, case.dims), parameter(&case.weight), parameter(&case.bias));
    assert!(error(&read_sync(values(y)), &case.reference()[0]) < 1e-5);
}
