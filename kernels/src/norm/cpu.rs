//! CPU twin of row normalisation.
//!
//! Sums run over 16 independent lanes in blocks of 4096 values in f32 and over blocks in f64: vectorised, exact
//! enough for rows of millions, and in one order whatever the number of threads.

use super::EPSILON;

const LANES: usize = 16;
const BLOCK: usize = 4096;

/// x̂ of rows of `n` values.
pub fn forward(x: &[f32], n: usize) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for_each_row(&mut y, n, |row, y| {
        let x = &x[row * n..][..n];
        let (mean, scale) = moments(x);
        for (y, x) in y.iter_mut().zip(x) {
            *y = (x - mean) * scale;
        }
    });
    y
}

/// Gradient of the input for the gradient `y_grad` of x̂.
pub fn gradient(x: &[f32], y_grad: &[f32], n: usize) -> Vec<f32> {
    let mut x_grad = vec![0.0; x.len()];
    for_each_row(&mut x_grad, n, |row, x_grad| {
        let (x, g) = (&x[row * n..][..n], &y_grad[row * n..][..n]);
        let (mean, scale) = moments(x);
        let g_mean = (sum(g, g, |g, _| g) / n as f64) as f32;
        let g_along = (sum(x, g, |x, g| (x - mean) * g) * f64::from(scale) / n as f64) as f32;
        for ((out, x), g) in x_grad.iter_mut().zip(x).zip(g) {
            *out = scale * (g - g_mean - (x - mean) * scale * g_along);
        }
    });
    x_grad
}

/// Mean and 1/√(variance + ε).
fn moments(x: &[f32]) -> (f32, f32) {
    let n = x.len().max(1) as f64;
    let mean = (sum(x, x, |x, _| x) / n) as f32;
    let variance = sum(x, x, |x, _| (x - mean) * (x - mean)) / n;
    (mean, (1.0 / (variance + f64::from(EPSILON)).sqrt()) as f32)
}

/// Σ f(aᵢ, bᵢ).
fn sum(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f64 {
    let blocks = a.chunks(BLOCK).zip(b.chunks(BLOCK));
    blocks
        .map(|(a, b)| {
            let mut lanes = [0.0f32; LANES];
            let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
            for (a, b) in a.iter().zip(b) {
                for lane in 0..LANES {
                    lanes[lane] += f(a[lane], b[lane]);
                }
            }
            let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| f(*a, *b)).sum();
            f64::from(rest) + lanes.iter().map(|v| f64::from(*v)).sum::<f64>()
        })
        .sum()
}

fn for_each_row(values: &mut [f32], n: usize, task: impl Fn(usize, &mut [f32]) + Sync + Send) {
    #[cfg(not(target_arch = "wasm32"))]
    {
        use rayon::prelude::*;
        values.par_chunks_mut(n.max(1)).enumerate().for_each(|(row, v)| task(row, v));
    }
    #[cfg(target_arch = "wasm32")]
    values.chunks_mut(n.max(1)).enumerate().for_each(|(row, v)| task(row, v));
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
            for row in forward(&noise(3 * n), n).chunks(n) {
                let mean: f64 = row.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
                let square: f64 = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n as f64;
                assert!(mean.abs() < 1e-5 && (square - 1.0).abs() < 1e-3, "n = {n}: {mean} {square}");
            }
        }
    }

    #[test]
    fn constant_and_single_values_become_zero() {
        assert_eq!(forward(&[3.0; 40], 20), [0.0; 40]);
        assert_eq!(forward(&[3.0, -7.0], 1), [0.0; 2]);
        assert!(gradient(&[3.0; 40], &noise(40), 20).iter().all(|v| v.is_finite()));
    }

    #[test]
    fn the_gradient_agrees_with_finite_differences() {
        let n = 37;
        let (x, g) = (noise(2 * n), noise(3 * n)[n..].to_vec());
        let value = |x: &[f32]| -> f64 {
            x.chunks(n)
                .zip(g.chunks(n))
                .map(|(x, g)| {
                    let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / n as f64;
                    let var = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n as f64;
                    let r = 1.0 / (var + f64::from(EPSILON)).sqrt();
                    x.iter().zip(g).map(|(x, g)| (f64::from(*x) - mean) * r * f64::from(*g)).sum::<f64>()
                })
                .sum()
        };
        let found = gradient(&x, &g, n);
        for i in 0..2 * n {
            let step = 1.0 / 64.0;
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += step;
            down[i] -= step;
            let expected = (value(&up) - value(&down)) / (2.0 * f64::from(step));
            assert!((f64::from(found[i]) - expected).abs() < 1e-3, "{i}: {} {expected}", found[i]);
        }
    }

    #[test]
    fn values_that_are_not_numbers_stay_in_their_row() {
        let mut x = noise(20);
        x[3] = f32::NAN;
        let y = forward(&x, 10);
        assert!(y[..10].iter().all(|v| v.is_nan()) && y[10..].iter().all(|v| v.is_finite()));
    }
}
