//! Gradient checkpointing: what is let go and computed again gives the gradients of what is kept.
#![cfg(all(feature = "flex", feature = "autodiff", not(target_arch = "wasm32")))]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]
mod common;
use burn::tensor::{Device, Tensor, read_sync};
use common::{tensor, uniform, values};
use tu_kernels::{
    ScanOrder, causal_conv_silu, conv_same, gated_direction_sum, gelu, layer_norm_tokens,
    normalise_rows_rectified, selective_scan,
};

const DEPTH: usize = 2;
const SIDE: usize = 6;
const CHANNELS: usize = 4;
const LENGTH: usize = DEPTH * SIDE * SIDE;

/// Gradients of a chain through every operation, with respect to its input and two weights.
fn gradients(device: &Device) -> Vec<Vec<f32>> {
    let leaf = |count, seed| uniform(count, seed);
    let x: Tensor<5> = tensor(&leaf(CHANNELS * LENGTH, 1), [1, CHANNELS, DEPTH, SIDE, SIDE], device);
    let w: Tensor<5> = tensor(&leaf(CHANNELS * CHANNELS * 9, 2), [CHANNELS, CHANNELS, 1, 3, 3], device);
    let taps: Tensor<2> = tensor(&leaf(CHANNELS * 4, 3), [CHANNELS, 4], device);
    let (x, w, taps) = (x.require_grad(), w.require_grad(), taps.require_grad());
    let one: Tensor<1> = tensor(&leaf(CHANNELS, 4), [CHANNELS], device);
    let one = one.require_grad();
    let rows = |volume: Tensor<5>| volume.reshape([CHANNELS, LENGTH]);
    let y = normalise_rows_rectified(rows(conv_same(x.clone(), w.clone())), None, 0.01);
    let y = gelu(normalise_rows_rectified(y, Some(rows(x.clone())), 0.0));
    let tokens = layer_norm_tokens(y.reshape([1, CHANNELS, LENGTH]), one.clone(), one.clone());
    let directions =
        [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices: DEPTH }].map(|order| {
            let v = causal_conv_silu(tokens.clone(), taps.clone(), one.clone(), order);
            let a_log: Tensor<2> = tensor(&[0.0; CHANNELS], [CHANNELS, 1], device);
            let projected = v.clone().narrow(2, 0, 3);
            selective_scan(v, projected, a_log.clone(), one.clone(), a_log, one.clone())
        });
    let [forward, backward, slice] = directions;
    let out = gated_direction_sum(forward, backward, slice, tokens, DEPTH);
    let g: Tensor<3> = tensor(&leaf(CHANNELS * LENGTH, 5), [1, LENGTH, CHANNELS], device);
    let mut grads = (out * g).sum().backward();
    vec![
        read_sync(values(x.grad_remove(&mut grads).unwrap())),
        read_sync(values(w.grad_remove(&mut grads).unwrap())),
        read_sync(values(taps.grad_remove(&mut grads).unwrap())),
        read_sync(values(one.grad_remove(&mut grads).unwrap())),
    ]
}

#[test]
fn gradients_with_and_without_checkpointing_are_equal_in_every_bit() {
    let device = Device::flex().autodiff();
    let kept = gradients(&device);
    let again = gradients(&device.gradient_checkpointing());
    assert!(kept.iter().flatten().any(|g| *g != 0.0));
    assert_eq!(kept, again);
}
