//! Sums over rows of what cubes contributed to parameters, in a fixed order.

use cubecl::prelude::*;

use super::launch::{count, cubes};
use super::{LANES, SEGMENTS};
use burn_cubecl::tensor::CubeTensor;

/// Sizes of contributions: `rows` of `taps + 1` times `channels`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Contributions {
    pub(crate) rows: usize,
    pub(crate) taps: usize,
    pub(crate) channels: usize,
}

impl Contributions {
    /// Floats of all rows.
    pub(crate) fn floats(&self) -> usize {
        self.rows * (self.taps + 1) * self.channels
    }

    /// One launch that adds the rows of `parts [rows, taps + 1, channels]` to `weight [channels, taps]` and, the
    /// last tap, `bias [channels]`.
    pub(crate) fn add_up(&self, parts: CubeTensor, weight: &CubeTensor, bias: &CubeTensor) {
        let client = parts.client.clone();
        let columns = (self.taps + 1) * self.channels;
        count();
        // SAFETY: the kernel compares its column with the columns of `parts`, which holds every row, and the two
        // outputs hold a float for each.
        unsafe {
            add_rows::launch_unchecked(
                &client,
                cubes(columns.div_ceil(LANES)),
                CubeDim::new_2d(LANES as u32, SEGMENTS as u32),
                parts.into_buffer_arg(),
                weight.clone().into_buffer_arg(),
                bias.clone().into_buffer_arg(),
                self.rows,
                self.channels,
                self.taps,
            );
        }
    }
}

/// Adds rows: 16 columns of a cube, 16 units for each.
#[cube(launch_unchecked)]
fn add_rows(
    parts: &[f32],
    weight: &mut [f32],
    bias: &mut [f32],
    rows: usize,
    channels: usize,
    #[comptime] taps: usize,
) {
    let mut sums = Shared::<[f32]>::new_slice(comptime![LANES * SEGMENTS]);
    let lane = UNIT_POS_X as usize;
    let segment = UNIT_POS_Y as usize;
    let column = CUBE_POS * comptime![LANES] + lane;
    let columns = channels * comptime![taps + 1];
    let mut sum = 0.0f32;
    if column < columns {
        let mut row = segment;
        while row < rows {
            sum += parts[row * columns + column];
            row += comptime![SEGMENTS];
        }
    }
    sums[segment * comptime![LANES] + lane] = sum;
    sync_cube();
    if segment == 0 && column < columns {
        let mut total = 0.0f32;
        for s in 0..SEGMENTS {
            total += sums[s * comptime![LANES] + lane];
        }
        let tap = column / channels;
        let channel = column % channels;
        if tap < taps {
            weight[channel * taps + tap] = total;
        } else {
            bias[channel] = total;
        }
    }
}
