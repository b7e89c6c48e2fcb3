//! The three directions of a block at once, against f64.

use burn::tensor::{Device, Tensor};
use tu_kernels::ScanOrder;
use tu_kernels::three_orders::{causal_conv_silu_in_orders, gated_sum_of_orders};

use super::tokens::{ConvCase, GateCase, TokenCase};
use super::{error, tensor, values};

/// Batch, tokens, channels, taps and slices.
pub(crate) const SIZES: [[usize; 5]; 6] = [
    [1, 1, 1, 4, 1],
    [2, 12, 5, 4, 3],
    [1, 60, 17, 4, 60],
    [2, 60, 16, 3, 1],
    [1, 63, 33, 7, 9],
    [1, 1200, 16, 4, 6],
];

/// Rows of two tensors `[B, L, E]` side by side, `[B, L, 2E]`.
fn side_by_side(first: &[f64], second: &[f64], channels: usize) -> Vec<f64> {
    let rows = first.chunks_exact(channels).zip(second.chunks_exact(channels));
    rows.flat_map(|(first, second)| [first, second].concat()).collect()
}

/// Values on a device; what belongs to the other operation in a row of xz is NaN.
pub(crate) async fn check_three_orders(device: &Device, limit: f64) {
    for [batch, length, channels, taps, slices] in SIZES {
        let dims = [batch, length, channels];
        let nan = vec![f64::NAN; batch * length * channels];
        let orders = [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices }];
        let cases = [0, 1, 2].map(|i| {
            let mut case = ConvCase::new(dims, taps, orders[i]);
            case.weight.rotate_left(i % (channels * taps));
            case.bias.iter_mut().for_each(|b| *b += f64::from(i as f32));
            case
        });
        let weight: Vec<f64> = cases.iter().flat_map(|case| case.weight.clone()).collect();
        let bias: Vec<f64> = cases.iter().flat_map(|case| case.bias.clone()).collect();
        let xz = side_by_side(&cases[0].x, &nan, channels);
        let v = causal_conv_silu_in_orders(
            tensor::<3>(&xz, [batch, length, 2 * channels], device),
            tensor::<3>(&weight, [3, channels, taps], device),
            tensor::<2>(&bias, [3, channels], device),
            slices,
        );
        assert_eq!(v.dims(), [3 * batch, length, channels]);
        let expected: Vec<f64> = cases.iter().flat_map(|case| case.reference().swap_remove(0)).collect();
        let found = error(&values(v).await, &expected);
        assert!(found <= limit, "convolutions of {dims:?}, {taps} taps, {slices} slices: {found:e}");

        let case = GateCase::new(dims, slices);
        let [forward, backward, slice, z] = &case.given;
        let y: Tensor<3> =
            tensor(&[&forward[..], backward, slice].concat(), [3 * batch, length, channels], device);
        let xz = tensor(&side_by_side(&nan, z, channels), [batch, length, 2 * channels], device);
        let out = gated_sum_of_orders(y, xz, slices);
        let found = error(&values(out).await, &case.reference()[0]);
        assert!(found <= limit, "gated sum of {dims:?}, {slices} slices: {found:e}");
    }
}
