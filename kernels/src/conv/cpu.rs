//! CPU twin of the size-keeping convolution: direct, register-tiled, vectorised over voxels.
//!
//! ```text
//! y[o,z,q]        = Σ_{i,dz,dy,dx} w[o,i,dz,dy,dx] · x[i, z+dz−pz, q + dy·S + dx]
//! ∂x              = the same with the kernel flipped and its channels swapped
//! ∂w[o,i,dz,dy,dx] = Σ_{z,q} ∂y[o,z,q] · x[i, z+dz−pz, q + dy·S + dx]
//! ```
//! Planes are copied with a zero border, and q runs over the *flattened* padded plane of row stride S, so that
//! a vector may cross rows: any width vectorises alike, and the few columns computed in the border are dropped.
//! A block of output channels × a run of voxels stays in registers while all taps pass by.  Work is shared
//! out over planes (values) or channel pairs (weights), each summed in one fixed order: results do not depend
//! on the number of threads.  Small planes, which are mostly border, and ∂w of many channels are left to
//! [`patches`].

use super::{ConvShape, lanes, patches};
use crate::cpu::output::{NewPlanes, filled, planes};
use crate::cpu::tasks::for_each;

/// Least share of a run over a padded plane that has to be of use.
const LEAST_KEPT_PERCENT: usize = 80;
/// Fewest channels for which gathering patches pays.
const FEWEST_CHANNELS: usize = 32;

impl ConvShape {
    /// Row stride of a padded plane.
    fn stride(&self) -> usize {
        self.size_zyx[2] + self.kernel_zyx[2] - 1
    }

    /// Floats of a padded input plane, with room for the taps of the last, partly used vector.
    fn padded_plane(&self) -> usize {
        let [_, ky, kx] = self.kernel_zyx;
        self.output_plane() + (ky - 1) * self.stride() + kx - 1
    }

    /// Floats of an output plane at the padded row stride, rounded up to whole vectors.
    fn output_plane(&self) -> usize {
        (self.size_zyx[1] * self.stride()).next_multiple_of(lanes::MAX_LANES)
    }

    /// Whether so much of a run over a padded plane would be thrown away that matrix products are faster.
    fn is_mostly_border(&self) -> bool {
        let [_, height, width] = self.size_zyx;
        let channels = self.input.min(self.output);
        channels >= FEWEST_CHANNELS && 100 * height * width < LEAST_KEPT_PERCENT * self.output_plane()
    }
}

/// `x [B, in, D, H, W]`, `w [out, in, kz, ky, kx]` to `y [B, out, D, H, W]`.
pub fn forward(x: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    if shape.is_mostly_border() {
        return patches::forward(x, w, shape);
    }
    let tap = |o: usize, i: usize, t: usize| w[(o * shape.input + i) * shape.taps() + t];
    convolve(x, &pack(shape, tap), shape)
}

/// Gradient of the input: `gy [B, out, D, H, W]` and `w` to `[B, in, D, H, W]`.
pub fn input_gradient(gy: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    if shape.is_mostly_border() {
        return patches::input_gradient(gy, w, shape);
    }
    let taps = shape.taps();
    let turned = shape.transposed();
    let tap = |o: usize, i: usize, t: usize| w[(i * shape.input + o) * taps + taps - 1 - t];
    convolve(gy, &pack(&turned, tap), &turned)
}

/// Gradient of the weight, `[out, in, kz, ky, kx]`.
pub fn weight_gradient(x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    if shape.is_mostly_border() || shape.input.max(shape.output) >= FEWEST_CHANNELS {
        return patches::weight_gradient(x, gy, shape);
    }
    let [d, h, width] = shape.size_zyx;
    let [kz, ky, kx] = shape.kernel_zyx;
    let (stride, plane, out_plane) = (shape.stride(), shape.padded_plane(), shape.output_plane());
    let x_padded = filled(shape.batch * shape.input * d * plane, plane, |first, padded| {
        pad(&x[first / plane * h * width..], padded, shape);
    });
    let gy_padded = filled(shape.batch * shape.output * d * out_plane, out_plane, |first, chunk| {
        for row in 0..h {
            let from = (first / out_plane * h + row) * width;
            chunk[row * stride..row * stride + width].copy_from_slice(&gy[from..from + width]);
        }
    });
    let tile = lanes::weight_tile(kx);
    let blocks = shape.output.div_ceil(tile.channels);
    let pair = shape.taps() * tile.channels;
    let planes = Planes { x: &x_padded, gy: &gy_padded, plane, out_plane };
    // [block][input][tap][channel of the block]
    let packed = filled(blocks * shape.input * pair, pair, |first, sums| {
        let task = first / pair;
        let (block, input) = (task / shape.input, task % shape.input);
        let first = block * tile.channels;
        for dz in 0..kz {
            let pairs: Vec<lanes::PlanePair<'_>> = (0..shape.batch * d)
                .filter_map(|p| {
                    let (b, z) = (p / d, p % d);
                    let source = (z + dz).checked_sub(kz / 2).filter(|s| *s < d)?;
                    let gy = std::array::from_fn(|o| {
                        // Channels past the end repeat the last one; their sums are not kept.
                        let o = (first + o).min(shape.output - 1);
                        planes.gradient((b * shape.output + o) * d + z)
                    });
                    Some((planes.input((b * shape.input + input) * d + source), gy))
                })
                .collect();
            for dy in 0..ky {
                let sums = &mut sums[(dz * ky + dy) * kx * tile.channels..][..kx * tile.channels];
                lanes::correlate(&tile, &pairs, dy * stride, h * stride, sums);
            }
        }
    });
    let mut gw = vec![0.0; shape.output * shape.input * shape.taps()];
    for (o, row) in gw.chunks_exact_mut(shape.input * shape.taps()).enumerate() {
        let (block, lane) = (o / tile.channels, o % tile.channels);
        for (i, taps) in row.chunks_exact_mut(shape.taps()).enumerate() {
            let from = &packed[(block * shape.input + i) * pair..][..pair];
            for (value, sums) in taps.iter_mut().zip(from.chunks_exact(tile.channels)) {
                *value = sums[lane];
            }
        }
    }
    gw
}

struct Planes<'a> {
    x: &'a [f32],
    gy: &'a [f32],
    plane: usize,
    out_plane: usize,
}

impl Planes<'_> {
    fn input(&self, p: usize) -> &[f32] {
        &self.x[p * self.plane..(p + 1) * self.plane]
    }

    fn gradient(&self, p: usize) -> &[f32] {
        &self.gy[p * self.out_plane..(p + 1) * self.out_plane]
    }
}

/// Weights as the kernel reads them: `[block][in][kz][ky][kx][channel of the block]`, zero past the end.
fn pack(shape: &ConvShape, tap: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let tile = lanes::value_tile();
    let blocks = shape.output.div_ceil(tile.channels);
    let mut packed = Vec::with_capacity(blocks * shape.input * shape.taps() * tile.channels);
    for block in 0..blocks {
        for i in 0..shape.input {
            for t in 0..shape.taps() {
                for lane in 0..tile.channels {
                    let o = block * tile.channels + lane;
                    packed.push(if o < shape.output { tap(o, i, t) } else { 0.0 });
                }
            }
        }
    }
    packed
}

/// One output plane of every channel per task.
fn convolve(x: &[f32], packed: &[f32], shape: &ConvShape) -> Vec<f32> {
    let [d, h, width] = shape.size_zyx;
    let [kz, ky, kx] = shape.kernel_zyx;
    let tile = lanes::value_tile();
    let plane_shape =
        lanes::PlaneShape { kernel_yx: [ky, kx], stride: shape.stride(), plane: shape.output_plane() };
    let task = |y: &NewPlanes, task: usize| {
        let (b, z) = (task / d, task % d);
        let sources: Vec<(usize, usize)> = (0..kz)
            .filter_map(|dz| (z + dz).checked_sub(kz / 2).filter(|s| *s < d).map(|s| (dz, s)))
            .collect();
        let plane = shape.padded_plane();
        let mut padded = vec![0.0; sources.len() * shape.input * plane];
        for (slot, (_, source)) in sources.iter().enumerate() {
            for i in 0..shape.input {
                let from = ((b * shape.input + i) * d + source) * h * width;
                pad(&x[from..], &mut padded[(slot * shape.input + i) * plane..][..plane], shape);
            }
        }
        let mut out = vec![0.0; tile.channels * shape.output_plane()];
        let per_block = shape.input * shape.taps() * tile.channels;
        for (block, weights) in packed.chunks_exact(per_block).enumerate() {
            let taps: Vec<(&[f32], &[f32])> = sources
                .iter()
                .enumerate()
                .flat_map(|(slot, (dz, _))| {
                    let padded = &padded;
                    (0..shape.input).map(move |i| {
                        let w =
                            &weights[(i * kz + dz) * ky * kx * tile.channels..][..ky * kx * tile.channels];
                        (&padded[(slot * shape.input + i) * plane..][..plane], w)
                    })
                })
                .collect();
            lanes::convolve_plane(&tile, &taps, &plane_shape, &mut out);
            let first = block * tile.channels;
            for o in first..(first + tile.channels).min(shape.output) {
                let from = &out[(o - first) * shape.output_plane()..];
                y.write((b * shape.output + o) * d + z, |plane| {
                    for (row, target) in plane.chunks_exact_mut(width).enumerate() {
                        target.copy_from_slice(&from[row * shape.stride()..][..width]);
                    }
                });
            }
        }
    };
    planes(shape.batch * shape.output * d, h * width, |y| {
        for_each(shape.batch * d, |index| task(y, index));
    })
}

/// Copies a plane into the middle of a zero-bordered one.
fn pad(plane: &[f32], padded: &mut [f32], shape: &ConvShape) {
    let [_, h, width] = shape.size_zyx;
    let [_, ky, kx] = shape.kernel_zyx;
    let stride = shape.stride();
    for row in 0..h {
        let at = (row + ky / 2) * stride + kx / 2;
        padded[at..at + width].copy_from_slice(&plane[row * width..(row + 1) * width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize, seed: u32) -> Vec<f32> {
        let mut s = seed.wrapping_mul(747_796_405).wrapping_add(1);
        (0..n)
            .map(|_| {
                s = s.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (s >> 8) as f32 / 8_388_608.0 - 1.0
            })
            .collect()
    }

    /// Every product of the sums above, once, in f64: (y, ∂x, ∂w).
    fn naive(x: &[f32], w: &[f32], gy: &[f32], s: &ConvShape) -> [Vec<f64>; 3] {
        let [d, h, wd] = s.size_zyx;
        let [kz, ky, kx] = s.kernel_zyx;
        let mut out = [vec![0.0; gy.len()], vec![0.0; x.len()], vec![0.0; w.len()]];
        for b in 0..s.batch {
            for o in 0..s.output {
                for i in 0..s.input {
                    for t in 0..kz * ky * kx {
                        let (tz, ty, tx) = (t / (ky * kx), t / kx % ky, t % kx);
                        let wi = (o * s.input + i) * kz * ky * kx + t;
                        for v in 0..d * h * wd {
                            let (z, y, xx) = (v / (h * wd) + tz, v / wd % h + ty, v % wd + tx);
                            let (pz, py, px) = (kz / 2, ky / 2, kx / 2);
                            if z < pz || y < py || xx < px || z >= d + pz || y >= h + py || xx >= wd + px {
                                continue;
                            }
                            let xi = (((b * s.input + i) * d + z - pz) * h + y - py) * wd + xx - px;
                            let yi = (b * s.output + o) * d * h * wd + v;
                            out[0][yi] += f64::from(w[wi]) * f64::from(x[xi]);
                            out[1][xi] += f64::from(w[wi]) * f64::from(gy[yi]);
                            out[2][wi] += f64::from(x[xi]) * f64::from(gy[yi]);
                        }
                    }
                }
            }
        }
        out
    }

    #[test]
    fn values_and_gradients_equal_the_plain_sums_for_odd_shapes_and_kernels() {
        for (n, (batch, input, output, size_zyx, kernel_zyx)) in [
            (1, 1, 1, [1, 1, 1], [1, 5, 5]),
            (1, 1, 8, [2, 16, 16], [1, 5, 5]),
            (2, 3, 5, [3, 7, 9], [1, 5, 5]),
            (1, 9, 17, [1, 6, 6], [1, 3, 3]),
            (1, 4, 6, [5, 6, 11], [3, 3, 3]),
            (2, 2, 3, [2, 33, 40], [1, 7, 7]),
            (1, 3, 2, [2, 5, 1], [3, 5, 3]),
            (1, 2, 2, [1, 9, 9], [1, 1, 9]),
            // small planes, by matrix products
            (2, 33, 35, [3, 6, 5], [1, 5, 5]),
            (1, 32, 40, [5, 3, 3], [3, 3, 3]),
            (1, 40, 32, [1, 1, 1], [1, 5, 5]),
            (1, 90, 32, [9, 12, 2], [1, 5, 7]),
        ]
        .into_iter()
        .enumerate()
        {
            let s = ConvShape { batch, input, output, size_zyx, kernel_zyx };
            let seed = n as u32 * 3;
            let x = noise(batch * input * s.voxels(), seed);
            let w = noise(output * input * s.taps(), seed + 1);
            let gy = noise(batch * output * s.voxels(), seed + 2);
            let found = [forward(&x, &w, &s), input_gradient(&gy, &w, &s), weight_gradient(&x, &gy, &s)];
            for (what, (a, b)) in ["y", "gx", "gw"].iter().zip(found.iter().zip(naive(&x, &w, &gy, &s))) {
                for (p, q) in a.iter().zip(&b) {
                    assert!((f64::from(*p) - q).abs() <= 2e-4 * (1.0 + q.abs()), "{what} of {s:?}: {p} {q}");
                }
            }
        }
    }
}
