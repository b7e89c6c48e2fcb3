//! Words of bins, and whether logits are finite.

use cubecl::prelude::*;

use super::{CHUNK, PER_UNIT, UNITS, WORDS};
use crate::quantise::BINS_PER_WORD;

/// Units that are left after the first of two rounds of merging.
const FAN: usize = 16;
/// The exponent of a float; all ones in NaN and infinities. Compilers may take it that no float is one of these, but of bits
/// they know nothing.
const EXPONENT: u32 = 0x7f80_0000;

/// Sizes of a window and of the crop in it.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Sizes {
    /// Logits.
    pub(super) logits: usize,
    pub(super) window_z: usize,
    pub(super) window_y: usize,
    pub(super) window_x: usize,
    pub(super) origin_z: usize,
    pub(super) origin_y: usize,
    pub(super) origin_x: usize,
    pub(super) tile_z: usize,
    pub(super) tile_y: usize,
    pub(super) tile_x: usize,
    /// Bins.
    pub(super) bins: usize,
    /// Words of bins.
    pub(super) words: usize,
    pub(super) cubes: usize,
}

/// The logit of a bin.
#[cube]
fn place(bin: usize, sizes: &Sizes) -> usize {
    let x = bin % sizes.tile_x + sizes.origin_x;
    let row = bin / sizes.tile_x;
    let y = row % sizes.tile_y + sizes.origin_y;
    let plane = row / sizes.tile_y;
    let z = plane % sizes.tile_z + sizes.origin_z;
    let channel = plane / sizes.tile_z;
    ((channel * sizes.window_z + z) * sizes.window_y + y) * sizes.window_x + x
}

/// The bin of a logit. Exponentials of negative numbers alone, which stay finite.
#[cube]
fn bin_of(logit: f32) -> u32 {
    let e = (-logit.abs()).exp();
    let affinity = select(logit >= 0.0f32, 1.0f32, e) / (1.0f32 + e);
    let bin = u32::cast_from(affinity * 256.0f32);
    select(bin > 255u32, 255u32, bin)
}

#[cube(launch_unchecked)]
pub(super) fn quantise(logits: &[f32], out: &mut [u32], sizes: Sizes) {
    let mut flags = Shared::<[u32]>::new_slice(comptime![UNITS]);
    let unit = UNIT_POS as usize;
    let mut flag = 0u32;
    for k in 0..comptime![PER_UNIT] {
        let at = CUBE_POS * comptime![CHUNK] + k * comptime![UNITS] + unit;
        if at < sizes.logits {
            let bits = u32::reinterpret(logits[at]);
            if bits & comptime![EXPONENT] == comptime![EXPONENT] {
                flag = 1u32;
            }
        }
    }
    flags[unit] = flag;
    for k in 0..comptime![WORDS / UNITS] {
        let at = CUBE_POS * comptime![WORDS] + k * comptime![UNITS] + unit;
        if at < sizes.words {
            let mut word = 0u32;
            for j in 0..comptime![BINS_PER_WORD] {
                let bin = at * comptime![BINS_PER_WORD] + j;
                if bin < sizes.bins {
                    word |= bin_of(logits[place(bin, &sizes)]) << (8 * j as u32);
                }
            }
            out[at] = word;
        }
    }
    sync_cube();
    if unit < comptime![FAN] {
        let mut any = 0u32;
        for k in 0..comptime![UNITS / FAN] {
            any |= flags[unit + k * comptime![FAN]];
        }
        flags[unit] = any;
    }
    sync_cube();
    if unit == 0 && CUBE_POS < sizes.cubes {
        let mut any = 0u32;
        for k in 0..comptime![FAN] {
            any |= flags[k];
        }
        out[sizes.words + CUBE_POS] = any;
    }
}
