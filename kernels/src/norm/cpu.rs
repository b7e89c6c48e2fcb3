//! CPU twin of row normalisation.
//!
//! Sums run over 16 independent lanes in blocks of 4096 values in f32 and over blocks in f64: vectorised, exact
//! enough for rows of millions, and in one order whatever the number of threads.

use super::{EPSILON, NormGradients};
use crate::cpu::output::filled;
use crate::cpu::simd::{Level, for_every_level};
use crate::cpu::tasks::fill;

const LANES: usize = 16;
const BLOCK: usize = 4096;

/// φ(x̂ + shortcut) of rows of `n` values; φ multiplies what is not above 0 by `slope`.
pub fn forward(x: &[f32], shortcut: Option<&[f32]>, slope: f32, n: usize) -> Vec<f32> {
    let level = Level::detect();
    filled(x.len(), n, |first, y| {
        let x = &x[first..][..n];
        let moments = moments(level, x);
        match shortcut {
            None => rectify(level, x, moments, slope, y),
            Some(shortcut) => add_and_rectify(level, x, &shortcut[first..][..n], moments, slope, y),
        }
    })
}

/// Gradients of `Σ y ⊙ y_grad`, with `y` what [`forward`] gave for the same `x` and `slope`.
pub fn gradients(
    x: &[f32],
    y: &[f32],
    y_grad: &[f32],
    slope: f32,
    n: usize,
    with_shortcut: bool,
) -> NormGradients<Vec<f32>> {
    let level = Level::detect();
    let mut found = filled(x.len(), n, |first, g| {
        pass(level, &y[first..][..n], &y_grad[first..][..n], slope, g);
    });
    let shortcut = with_shortcut.then(|| found.clone());
    fill(&mut found, n, |first, g| differentiate(level, &x[first..][..n], g));
    NormGradients { x: found, shortcut }
}

/// What a row needs to be normalised.
#[derive(Clone, Copy)]
struct Moments {
    mean: f32,
    /// 1/√(variance + ε).
    scale: f32,
}

fn moments(level: Level, x: &[f32]) -> Moments {
    let n = x.len().max(1) as f64;
    let mean = (sum(level, x) / n) as f32;
    let variance = sum_of_squares(level, x, mean) / n;
    Moments { mean, scale: (1.0 / (variance + f64::from(EPSILON)).sqrt()) as f32 }
}

/// g' of a row to the gradient of its x.
fn differentiate(level: Level, x: &[f32], g: &mut [f32]) {
    let n = x.len().max(1) as f64;
    let moments = moments(level, x);
    let mean = (sum(level, g) / n) as f32;
    let along = (sum_of_products(level, x, moments.mean, g) * f64::from(moments.scale) / n) as f32;
    subtract_parts(level, x, moments, [mean, along], g);
}

for_every_level! {
    /// φ(x̂).
    fn rectify = rectify_body(x: &[f32], moments: Moments, slope: f32, y: &mut [f32])
}

#[inline(always)]
fn rectify_body<const FUSED: bool>(x: &[f32], moments: Moments, slope: f32, y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = rectified((x - moments.mean) * moments.scale, slope);
    }
}

for_every_level! {
    /// φ(x̂ + shortcut).
    fn add_and_rectify = add_and_rectify_body(
        x: &[f32],
        shortcut: &[f32],
        moments: Moments,
        slope: f32,
        y: &mut [f32],
    )
}

#[inline(always)]
fn add_and_rectify_body<const FUSED: bool>(
    x: &[f32],
    shortcut: &[f32],
    moments: Moments,
    slope: f32,
    y: &mut [f32],
) {
    for ((y, x), s) in y.iter_mut().zip(x).zip(shortcut) {
        *y = rectified((x - moments.mean) * moments.scale + s, slope);
    }
}

/// φ.
#[inline(always)]
fn rectified(value: f32, slope: f32) -> f32 {
    if value > 0.0 { value } else { slope * value }
}

for_every_level! {
    /// g'.
    fn pass = pass_body(y: &[f32], g: &[f32], slope: f32, passed: &mut [f32])
}

#[inline(always)]
fn pass_body<const FUSED: bool>(y: &[f32], g: &[f32], slope: f32, passed: &mut [f32]) {
    for ((passed, y), g) in passed.iter_mut().zip(y).zip(g) {
        *passed = if *y > 0.0 { *g } else { slope * g };
    }
}

for_every_level! {
    /// r·(g' − mean − x̂·along) in place of g'.
    fn subtract_parts = subtract_parts_body(
        x: &[f32],
        moments: Moments,
        parts: [f32; 2],
        g: &mut [f32],
    )
}

#[inline(always)]
fn subtract_parts_body<const FUSED: bool>(x: &[f32], moments: Moments, parts: [f32; 2], g: &mut [f32]) {
    let ([mean, along], Moments { mean: x_mean, scale }) = (parts, moments);
    for (g, x) in g.iter_mut().zip(x) {
        *g = scale * (*g - mean - (x - x_mean) * scale * along);
    }
}

for_every_level! {
    fn sum = sum_body(a: &[f32]) -> f64
}

#[inline(always)]
fn sum_body<const FUSED: bool>(a: &[f32]) -> f64 {
    sum_of(a, a, |a, _| a)
}

for_every_level! {
    /// Σ (a − mean)².
    fn sum_of_squares = sum_of_squares_body(a: &[f32], mean: f32) -> f64
}

#[inline(always)]
fn sum_of_squares_body<const FUSED: bool>(a: &[f32], mean: f32) -> f64 {
    sum_of(a, a, |a, _| (a - mean) * (a - mean))
}

for_every_level! {
    /// Σ (a − mean)·b.
    fn sum_of_products = sum_of_products_body(a: &[f32], mean: f32, b: &[f32]) -> f64
}

#[inline(always)]
fn sum_of_products_body<const FUSED: bool>(a: &[f32], mean: f32, b: &[f32]) -> f64 {
    sum_of(a, b, |a, b| (a - mean) * b)
}

/// Σ f(aᵢ, bᵢ).
#[inline(always)]
fn sum_of(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let mut total = 0.0;
    for (a, b) in a.chunks(BLOCK).zip(b.chunks(BLOCK)) {
        let mut lanes = [0.0f32; LANES];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                lanes[lane] += f(a[lane], b[lane]);
            }
        }
        let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
        total += f64::from(rest) + lanes.iter().map(|v| f64::from(*v)).sum::<f64>();
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(n: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 7919 + 13) % 1009) as f32 / 100.0 - 3.0).collect()
    }

    #[test]
    fn rows_come_out_with_mean_zero_and_variance_one() {
        for n in [2usize, 5, 16, 17, 4096, 10_001] {
            for row in forward(&noise(3 * n), None, 1.0, n).chunks(n) {
                let mean: f64 = row.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
                let square: f64 = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n as f64;
                assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-3, "n = {n}: {mean} {square}");
            }
        }
    }

    #[test]
    fn constant_and_single_values_become_zero() {
        assert_eq!(forward(&[3.0; 40], None, 1.0, 20), [0.0; 40]);
        assert_eq!(forward(&[3.0, -7.0], None, 1.0, 1), [0.0; 2]);
        let found = gradients(&[3.0; 40], &[0.0; 40], &noise(40), 1.0, 20, false);
        assert!(found.x.iter().all(|v| v.is_finite()));
    }

    #[test]
    fn gradients_agree_with_finite_differences() {
        let n = 37;
        let (x, g) = (noise(2 * n), noise(3 * n)[n..].to_vec());
        let shortcut: Vec<f32> = noise(5 * n)[3 * n..].iter().map(|v| v * 0.3).collect();
        for slope in [0.0f32, 0.01, 1.0] {
            let value = |x: &[f32], shortcut: &[f32]| -> f64 {
                let rows = x.chunks(n).zip(shortcut.chunks(n)).zip(g.chunks(n));
                rows.map(|((x, s), g)| {
                    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
                    let var = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n as f64;
                    let r = 1.0 / (var + f64::from(EPSILON)).sqrt();
                    let terms = x.iter().zip(s).zip(g).map(|((x, s), g)| {
                        let v = (f64::from(*x) - mean) * r + f64::from(*s);
                        f64::from(*g) * if v > 0.0 { v } else { f64::from(slope) * v }
                    });
                    terms.sum::<f64>()
                })
                .sum()
            };
            let y = forward(&x, Some(&shortcut), slope, n);
            let found = gradients(&x, &y, &g, slope, n, true);
            let step = 1.0 / 1024.0;
            let difference = |i: usize, of_x: bool| {
                let moved = |by: f32| {
                    let (mut x, mut s) = (x.clone(), shortcut.clone());
                    if of_x {
                        x[i] += by;
                    } else {
                        s[i] += by;
                    }
                    value(&x, &s)
                };
                (moved(step) - moved(-step)) / (2.0 * f64::from(step))
            };
            for (i, y) in y.iter().enumerate() {
                // no derivative where a step crosses the kink
                if y.abs() < 2.0 * step && slope != 1.0 {
                    continue;
                }
                for (name, found, expected) in [
                    ("x", found.x[i], difference(i, true)),
                    ("shortcut", found.shortcut.as_ref().unwrap()[i], difference(i, false)),
                ] {
                    assert!(
                        (f64::from(found) - expected).abs() < 3e-3,
                        "{name}[{i}], slope {slope}: {found} {expected}"
                    );
                }
            }
        }
    }

    #[test]
    fn values_that_are_not_numbers_stay_in_their_row() {
        let mut x = noise(20);
        x[3] = f32::NAN;
        for slope in [0.0, 1.0] {
            let y = forward(&x, None, slope, 10);
            assert!(y[..10].iter().all(|v| v.is_nan()) && y[10..].iter().all(|v| v.is_finite()));
        }
    }
}
