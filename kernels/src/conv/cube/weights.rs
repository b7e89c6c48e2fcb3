//! Gradient of the weight: sums over chunks of the voxels, then the sum of the chunks.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::Float4;
use super::tile::{GRADIENT_VECTORS, LANES, RUN, WeightTile, window_vectors};
use super::values::load_columns;

/// Columns of a cube that adds chunks.
pub(super) const COLUMNS: usize = 16;
/// Parts of the chunks that a cube adds side by side.
pub(super) const PARTS: usize = 16;

/// `Σ y_grad[o, p] · x[i, p + tap − pad]` over chunks of the voxels p, to `sums [chunks · segments, out, in, kz,
/// ky, kx]`; one cube per chunk, kernel plane, block of input channels and block of output channels.
///
/// Reads and writes stay within the tensors whatever the sizes. Positions past the border count as output gradients
/// of 0, so an infinite or NaN input next to the border makes more taps NaN than those that meet it.
#[cube(launch_unchecked)]
pub(super) fn correlate<E: Float>(
    x: &[E],
    y_grad: &[E],
    sums: &mut [f32],
    batch: usize,
    input: usize,
    output: usize,
    depth: usize,
    height: usize,
    width: usize,
    chunks: usize,
    chunk: usize,
    #[comptime] tile: WeightTile,
    #[define(E)] _element: ElemType,
) {
    let groups = comptime![tile.groups()];
    let units = comptime![tile.units()];
    let runs_x = comptime![tile.x / RUN];
    let row_vectors = comptime![tile.row_vectors()];
    let halo_y = comptime![tile.halo_y()];
    let halo_vectors = comptime![tile.halo_vectors()];
    let stride = comptime![tile.gradient_stride()];
    let window_size = comptime![window_vectors(tile.kx)];
    let segments = comptime![tile.segments];
    let (tile_y, tile_x) = comptime![(tile.y, tile.x)];
    let (taps_z, taps_y, taps_x) = comptime![(tile.kz, tile.ky, tile.kx)];
    let (pad_z, pad_y, pad_x) = comptime![(tile.kz / 2, tile.ky / 2, tile.kx / 2)];
    let mut halo = Shared::<[Float4]>::new_slice(halo_vectors);
    let mut gradients = Shared::<[Float4]>::new_slice(comptime![tile.gradient_vectors()]);

    let output_blocks = (output + comptime![tile.output - 1]) / comptime![tile.output];
    let input_blocks = (input + comptime![tile.input - 1]) / comptime![tile.input];
    let first_output = CUBE_POS % output_blocks * comptime![tile.output];
    let place = CUBE_POS / output_blocks;
    let first_input = place % input_blocks * comptime![tile.input];
    let dz = place / input_blocks % taps_z;
    let own_chunk = place / (input_blocks * taps_z);

    let unit = UNIT_POS as usize;
    let group = unit % groups;
    let dy = unit / groups % taps_y;
    let channel = unit / comptime![tile.groups() * tile.ky] % comptime![tile.input];
    let segment = unit / comptime![tile.groups() * tile.ky * tile.input];

    let tiles_x = (width + comptime![tile.x - 1]) / tile_x;
    let tiles_y = (height + comptime![tile.y - 1]) / tile_y;
    let mut first = own_chunk * chunk;
    let mut last = first + chunk;
    let steps = batch * depth * tiles_y * tiles_x;
    if last > steps {
        last = steps;
    }
    if first > last {
        first = last;
    }

    let mut own = Array::<Float4>::new(comptime![tile.kx * GRADIENT_VECTORS]);
    #[unroll]
    for j in 0..comptime![tile.kx * GRADIENT_VECTORS] {
        own[j] = Float4::new(0.0f32);
    }
    for step in first..last {
        let x0 = step % tiles_x * tile_x;
        let y0 = step / tiles_x % tiles_y * tile_y;
        let z = step / (tiles_x * tiles_y) % depth;
        let sample = step / (tiles_x * tiles_y * depth);
        let pz = z + dz;
        let inside = pz >= pad_z && pz < depth + pad_z;
        // the step before has been used
        sync_cube();
        let mut i = unit;
        while i < halo_vectors {
            let column = i % row_vectors * comptime![LANES];
            let row = i / row_vectors % halo_y;
            let source = first_input + i / comptime![tile.row_vectors() * tile.halo_y()];
            let py = y0 + row;
            let mut loaded = Float4::new(0.0f32);
            if inside && source < input && py >= pad_y && py < height + pad_y {
                let from = (((sample * input + source) * depth + pz - pad_z) * height + py - pad_y) * width;
                loaded = load_columns(x, from, x0 + column, width, pad_x);
            }
            halo[i] = loaded;
            i += units;
        }
        let mut i = unit;
        while i < comptime![tile.output / LANES * tile.y * tile.x] {
            let at = i % comptime![tile.y * tile.x];
            let vector = i / comptime![tile.y * tile.x];
            let py = y0 + at / tile_x;
            let px = x0 + at % tile_x;
            let mut loaded = Float4::new(0.0f32);
            if inside && py < height && px < width {
                #[unroll]
                for k in 0..LANES {
                    let o = first_output + vector * comptime![LANES] + k;
                    if o < output {
                        let at = (((sample * output + o) * depth + z) * height + py) * width + px;
                        loaded.insert(k, f32::cast_from(y_grad[at]));
                    }
                }
            }
            gradients[vector * stride + at] = loaded;
            i += units;
        }
        sync_cube();
        for part in 0..comptime![tile.runs() / tile.segments] {
            let run = part * segments + segment;
            let run_y = run / runs_x;
            let run_x = run % runs_x;
            let from = (channel * halo_y + run_y + dy) * row_vectors + run_x * comptime![RUN / LANES];
            let mut window = Array::<f32>::new(comptime![window_vectors(tile.kx) * LANES]);
            #[unroll]
            for v in 0..window_size {
                let four = halo[from + v];
                #[unroll]
                for k in 0..LANES {
                    window[v * LANES + k] = four.extract(k);
                }
            }
            let at = group * comptime![tile.gradient_stride() * GRADIENT_VECTORS] + run * comptime![RUN];
            #[unroll]
            for j in 0..RUN {
                #[unroll]
                for v in 0..GRADIENT_VECTORS {
                    let gradient = gradients[at + v * stride + j];
                    #[unroll]
                    for dx in 0..taps_x {
                        let sum = v * taps_x + dx;
                        own[sum] = fma(gradient, Float4::new(window[j + dx]), own[sum]);
                    }
                }
            }
        }
    }
    let i = first_input + channel;
    if own_chunk < chunks && i < input {
        #[unroll]
        for v in 0..GRADIENT_VECTORS {
            #[unroll]
            for k in 0..LANES {
                let o = first_output + (group * comptime![GRADIENT_VECTORS] + v) * comptime![LANES] + k;
                if o < output {
                    let part = own_chunk * segments + segment;
                    let at = (((part * output + o) * input + i) * taps_z + dz) * taps_y + dy;
                    #[unroll]
                    for dx in 0..taps_x {
                        sums[at * taps_x + dx] = own[v * taps_x + dx].extract(k);
                    }
                }
            }
        }
    }
}

/// Adds `rows` rows of `columns` partial sums, in an order that depends on nothing but their number.
#[cube(launch)]
pub(super) fn add_rows<E: Float>(
    sums: &[f32],
    total: &mut [E],
    rows: usize,
    columns: usize,
    #[define(E)] _element: ElemType,
) {
    let mut parts = Shared::<[f32]>::new_slice(comptime![COLUMNS * PARTS]);
    let lane = UNIT_POS_X as usize;
    let part = UNIT_POS_Y as usize;
    let column = CUBE_POS * comptime![COLUMNS] + lane;
    let mut sum = 0.0f32;
    if column < columns {
        let mut row = part;
        while row < rows {
            sum += sums[row * columns + column];
            row += comptime![PARTS];
        }
    }
    parts[part * comptime![COLUMNS] + lane] = sum;
    sync_cube();
    if part == 0 && column < columns {
        let mut sum = 0.0f32;
        for p in 0..PARTS {
            sum += parts[p * comptime![COLUMNS] + lane];
        }
        total[column] = E::cast_from(sum);
    }
}
