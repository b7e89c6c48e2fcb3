//! Weights as the value kernel stages them, zero for output channels that do not exist.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use crate::conv::ConvShape;

/// Floats of packed weights whose blocks have so many output channels.
pub(super) fn packed_floats(shape: &ConvShape, channels: usize) -> usize {
    shape.output.next_multiple_of(channels) * shape.input * shape.taps()
}

/// `w [out, in, kz, ky, kx]` to `[block][kz][in][ky][kx][channel of the block]`.
///
/// `transposed` 1: the weights of the input's gradient, where `w` is `[in, out, …]` and taps run backwards. Nothing but the
/// element type is a constant, so one pipeline packs all weights.
#[cube(launch)]
pub(super) fn pack_weights<E: Float>(
    w: &[E],
    packed: &mut [f32],
    input: usize,
    output: usize,
    depth: usize,
    plane: usize,
    channels: usize,
    transposed: usize,
    total: usize,
    #[define(E)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at < total {
        let place = at / channels;
        let tap = place % plane;
        let channel = place / plane % input;
        let z = place / (plane * input) % depth;
        let o = place / (plane * input * depth) * channels + at % channels;
        let mut value = 0.0f32;
        if o < output {
            let mut from = ((o * input + channel) * depth + z) * plane + tap;
            if transposed == 1 {
                from = ((channel * output + o) * depth + depth - 1 - z) * plane + plane - 1 - tap;
            }
            value = f32::cast_from(w[from]);
        }
        packed[at] = value;
    }
}
