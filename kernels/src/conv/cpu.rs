//! CPU twin of the size-keeping convolution, vectorised over voxels: by [minimal filtering](super::winograd) where the kernel
//! has three or five taps along y, [direct](super::direct) elsewhere.
//!
//! ```text
//! y[o,v]   = Σ_{i,t} w[o,i,t] · x[i, v + t]
//! ∂x       = the same with the kernel turned and its channels exchanged
//! ∂w[o,i,t] = Σ_v ∂y[o,v] · x[i, v + t]
//! ```
//! Results do not depend on the number of threads.

use super::{ConvShape, direct, winograd};
use crate::cpu::simd::Level;

/// `x [B, in, D, H, W]`, `w [out, in, kz, ky, kx]` to `y [B, out, D, H, W]`.
pub fn forward(x: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    forward_on(Level::detect(), x, w, shape)
}

/// Gradient of the input: `gy [B, out, D, H, W]` and `w` to `[B, in, D, H, W]`.
pub fn input_gradient(gy: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    input_gradient_on(Level::detect(), gy, w, shape)
}

/// Gradient of the weight, `[out, in, kz, ky, kx]`.
pub fn weight_gradient(x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    weight_gradient_on(Level::detect(), x, gy, shape)
}

fn forward_on(level: Level, x: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    let taps = shape.taps();
    convolve(level, x, shape, |o, i, t| w[(o * shape.input + i) * taps + t])
}

fn input_gradient_on(level: Level, gy: &[f32], w: &[f32], shape: &ConvShape) -> Vec<f32> {
    let taps = shape.taps();
    convolve(level, gy, &shape.transposed(), |o, i, t| w[(i * shape.input + o) * taps + taps - 1 - t])
}

fn weight_gradient_on(level: Level, x: &[f32], gy: &[f32], shape: &ConvShape) -> Vec<f32> {
    if winograd::suits(shape) {
        winograd::weight_gradient(level, x, gy, shape)
    } else {
        direct::weight_gradient(level, x, gy, shape)
    }
}

/// The convolution with the weights `tap(o, i, t)`.
fn convolve(
    level: Level,
    x: &[f32],
    shape: &ConvShape,
    tap: impl Fn(usize, usize, usize) -> f32 + Sync + Send,
) -> Vec<f32> {
    if winograd::suits(shape) {
        winograd::convolve(level, x, &winograd::transformed_weights(level, shape, tap), shape)
    } else {
        direct::convolve(level, x, &direct::packed_weights(level, shape, tap), shape)
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
            let expected = naive(&x, &w, &gy, &s);
            for level in Level::available() {
                let found = [
                    forward_on(level, &x, &w, &s),
                    input_gradient_on(level, &gy, &w, &s),
                    weight_gradient_on(level, &x, &gy, &s),
                ];
                for (what, (a, b)) in ["y", "gx", "gw"].iter().zip(found.iter().zip(&expected)) {
                    assert_eq!(a.len(), b.len());
                    for (p, q) in a.iter().zip(b) {
                        let error = (f64::from(*p) - q).abs();
                        assert!(error <= 2e-4 * (1.0 + q.abs()), "{what} of {s:?}, {level:?}: {p} {q}");
                    }
                }
            }
        }
    }
}
