//! Values of the convolution, and of its input gradient.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

use super::Float4;
use super::tile::{LANES, RUN, ValueTile, window_vectors};

/// Four floats of a padded row: `x[from + column − pad …]`, zero outside.
#[cube]
pub(super) fn load_columns<E: Float>(
    x: &[E],
    from: usize,
    column: usize,
    width: usize,
    #[comptime] pad: usize,
) -> Float4 {
    let mut loaded = Float4::new(0.0f32);
    #[unroll]
    for k in 0..LANES {
        let at = column + k;
        if at >= pad && at < width + pad {
            loaded.insert(k, f32::cast_from(x[from + at - pad]));
        }
    }
    loaded
}

/// `y [batch, output, depth, height, width]` of `x [batch, input, …]` and packed weights; one cube per tile of voxels and
/// output channels. Cubes past the last tile write nothing.
///
/// Reads and writes stay within the tensors whatever the sizes.
#[cube(launch_unchecked)]
pub(super) fn convolve<E: Float>(
    x: &[E],
    packed: &[Float4],
    y: &mut [E],
    batch: usize,
    input: usize,
    output: usize,
    depth: usize,
    height: usize,
    width: usize,
    slices: usize,
    #[comptime] tile: ValueTile,
    #[define(E)] _element: ElemType,
) {
    let groups = comptime![tile.groups()];
    let units = comptime![tile.units()];
    let runs_x = comptime![tile.x / RUN];
    let row_vectors = comptime![tile.row_vectors()];
    let halo_y = comptime![tile.halo_y()];
    let halo_vectors = comptime![tile.halo_vectors()];
    let weight_vectors = comptime![tile.weight_vectors()];
    let channel_vectors = comptime![tile.ky * tile.kx * tile.groups()];
    let window_size = comptime![window_vectors(tile.kx)];
    let (tile_z, tile_y, tile_x) = comptime![(tile.z, tile.y, tile.x)];
    let (taps_z, taps_y, taps_x) = comptime![(tile.kz, tile.ky, tile.kx)];
    let (pad_z, pad_y, pad_x) = comptime![(tile.kz / 2, tile.ky / 2, tile.kx / 2)];
    let mut halo = Shared::<[Float4]>::new_slice(halo_vectors);
    let mut weights = Shared::<[Float4]>::new_slice(weight_vectors);

    // Tiles of the same voxels lie next to each other, so that their inputs are still cached.
    let blocks = (output + comptime![tile.channels - 1]) / comptime![tile.channels];
    let tiles_x = (width + comptime![tile.x - 1]) / tile_x;
    let tiles_y = (height + comptime![tile.y - 1]) / tile_y;
    let tiles_z = (depth + comptime![tile.z - 1]) / tile_z;
    let block = CUBE_POS % blocks;
    let place = CUBE_POS / blocks;
    let x0 = place % tiles_x * tile_x;
    let y0 = place / tiles_x % tiles_y * tile_y;
    let z0 = place / (tiles_x * tiles_y) % tiles_z * tile_z;
    let sample = place / (tiles_x * tiles_y * tiles_z);

    // Channels vary fastest over units: they share their inputs.
    let unit = UNIT_POS as usize;
    let group = unit % groups;
    let run = unit / groups;
    let run_x = run % runs_x;
    let run_y = run / runs_x % tile_y;
    let run_z = run / comptime![tile.x / RUN * tile.y];

    let mut sums = Array::<Float4>::new(RUN);
    #[unroll]
    for j in 0..RUN {
        sums[j] = Float4::new(0.0f32);
    }
    for dz in 0..taps_z {
        for slice in 0..slices {
            // the slice before has been used
            sync_cube();
            let mut i = unit;
            while i < halo_vectors {
                let column = i % row_vectors * comptime![LANES];
                let row = i / row_vectors % halo_y;
                let plane = i / comptime![tile.row_vectors() * tile.halo_y()];
                let channel = slice * comptime![tile.slice] + plane / tile_z;
                let py = y0 + row;
                let pz = z0 + plane % tile_z + dz;
                let mut loaded = Float4::new(0.0f32);
                if sample < batch
                    && channel < input
                    && py >= pad_y
                    && py < height + pad_y
                    && pz >= pad_z
                    && pz < depth + pad_z
                {
                    let from =
                        (((sample * input + channel) * depth + pz - pad_z) * height + py - pad_y) * width;
                    loaded = load_columns(x, from, x0 + column, width, pad_x);
                }
                halo[i] = loaded;
                i += units;
            }
            let first = slice * comptime![tile.slice];
            let staged = ((block * taps_z + dz) * input + first) * channel_vectors;
            let mut i = unit;
            while i < weight_vectors {
                let mut loaded = Float4::new(0.0f32);
                if first + i / channel_vectors < input {
                    loaded = packed[staged + i];
                }
                weights[i] = loaded;
                i += units;
            }
            sync_cube();
            for row in 0..comptime![tile.slice * tile.ky] {
                let channel = row / taps_y;
                let dy = row % taps_y;
                let from = ((channel * tile_z + run_z) * halo_y + run_y + dy) * row_vectors
                    + run_x * comptime![RUN / LANES];
                let mut window = Array::<f32>::new(comptime![window_vectors(tile.kx) * LANES]);
                #[unroll]
                for v in 0..window_size {
                    let four = halo[from + v];
                    #[unroll]
                    for k in 0..LANES {
                        window[v * LANES + k] = four.extract(k);
                    }
                }
                #[unroll]
                for dx in 0..taps_x {
                    let weight = weights[(row * taps_x + dx) * groups + group];
                    #[unroll]
                    for j in 0..RUN {
                        sums[j] = fma(weight, Float4::new(window[j + dx]), sums[j]);
                    }
                }
            }
        }
    }
    let py = y0 + run_y;
    let pz = z0 + run_z;
    if sample < batch && py < height && pz < depth {
        #[unroll]
        for k in 0..LANES {
            let o = block * comptime![tile.channels] + group * comptime![LANES] + k;
            if o < output {
                let from = (((sample * output + o) * depth + pz) * height + py) * width;
                #[unroll]
                for j in 0..RUN {
                    let px = x0 + run_x * comptime![RUN] + j;
                    if px < width {
                        y[from + px] = E::cast_from(sums[j].extract(k));
                    }
                }
            }
        }
    }
}
