//! Values and gradients, element by element.

use cubecl::prelude::*;

use crate::cube::forward::sigmoid;

/// The place in `[B, L, E]`, inter-slice order, of an element in raster order.
#[cube]
pub(crate) fn inter_slice(id: usize, length: usize, channels: usize, slices: usize) -> usize {
    let e = id % channels;
    let token = id / channels % length;
    let from = id / channels / length * length;
    let plane = length / slices;
    (from + token % plane * slices + token / plane) * channels + e
}

/// The place in `[B, L, E]`, reversed order, of an element in raster order.
#[cube]
pub(crate) fn reversed(id: usize, length: usize, channels: usize) -> usize {
    let e = id % channels;
    let token = id / channels % length;
    let from = id / channels / length * length;
    (from + length - 1 - token) * channels + e
}

/// `sum · SiLU(z)`.
#[cube]
pub(crate) fn gated(sum: f32, z: f32) -> f32 {
    sum * (z * sigmoid(z))
}

/// An element of the three directions' sum, each read in its own order.
#[cube]
fn sum_of_directions(
    forward: &[f32],
    backward: &[f32],
    slice: &[f32],
    id: usize,
    length: usize,
    channels: usize,
    slices: usize,
) -> f32 {
    forward[id] + backward[reversed(id, length, channels)] + slice[inter_slice(id, length, channels, slices)]
}

/// The gated sum of `items` elements. `row` is the distance between the rows of two tokens in z.
#[cube(launch_unchecked)]
pub(super) fn gate(
    forward: &[f32],
    backward: &[f32],
    slice: &[f32],
    z: &[f32],
    out: &mut [f32],
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    items: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let sum = sum_of_directions(forward, backward, slice, id, length, channels, slices);
        let z = z[id / channels * row + id % channels];
        out[id] = gated(sum, z);
    }
}

/// ∂z of `items` elements.
#[cube(launch_unchecked)]
pub(super) fn differentiate_gate(
    forward: &[f32],
    backward: &[f32],
    slice: &[f32],
    z: &[f32],
    out_grad: &[f32],
    z_grad: &mut [f32],
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    items: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let sum = sum_of_directions(forward, backward, slice, id, length, channels, slices);
        let z = z[id / channels * row + id % channels];
        let s = sigmoid(z);
        z_grad[id] = out_grad[id] * sum * (s * (1.0f32 + z * (1.0f32 - s)));
    }
}

/// ∂y of the three directions, of `items` elements.
#[cube(launch_unchecked)]
pub(super) fn differentiate_directions(
    z: &[f32],
    out_grad: &[f32],
    forward: &mut [f32],
    backward: &mut [f32],
    slice: &mut [f32],
    length: usize,
    channels: usize,
    row: usize,
    slices: usize,
    items: usize,
) {
    let id = ABSOLUTE_POS;
    if id < items {
        let z = z[id / channels * row + id % channels];
        let through = gated(out_grad[id], z);
        forward[id] = through;
        backward[reversed(id, length, channels)] = through;
        slice[inter_slice(id, length, channels, slices)] = through;
    }
}
