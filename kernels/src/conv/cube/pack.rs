//! Weights as the value kernel stages them, zero for channels that do not exist.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::tile::ValueTile;

/// `w [out, in, kz, ky, kx]` to `[block][kz][slice][channel of the slice][ky][kx][channel of the block]`.
///
/// `transposed`: the weights of the input's gradient, where `w` is `[in, out, …]` and taps run backwards.
#[cube(launch)]
pub(super) fn pack_weights<E: Float>(
    w: &[E],
    packed: &mut [f32],
    input: usize,
    output: usize,
    slices: usize,
    total: usize,
    #[comptime] tile: ValueTile,
    #[comptime] transposed: bool,
    #[define(E)] _element: ElemType,
) {
    let channels = comptime![tile.channels];
    let plane = comptime![tile.ky * tile.kx];
    let depth = comptime![tile.kz];
    let at = ABSOLUTE_POS;
    if at < total {
        let place = at / channels;
        let tap = place % plane;
        let channel = (place / plane) % (slices * comptime![tile.slice]);
        let plane_and_block = place / plane / (slices * comptime![tile.slice]);
        let z = plane_and_block % depth;
        let o = plane_and_block / depth * channels + at % channels;
        let mut value = 0.0f32;
        if o < output && channel < input {
            if transposed {
                let tap = comptime![plane - 1] - tap;
                let z = comptime![depth - 1] - z;
                value = f32::cast_from(w[((channel * output + o) * depth + z) * plane + tap]);
            } else {
                value = f32::cast_from(w[((o * input + channel) * depth + z) * plane + tap]);
            }
        }
        packed[at] = value;
    }
}
