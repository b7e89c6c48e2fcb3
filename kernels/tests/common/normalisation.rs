//! Row normalisation with shortcut and rectifier in f64, and its comparison with a device.

use burn::tensor::{DType, Device, FloatDType, Tensor};
use tu_kernels::normalise_rows_rectified;

use super::{rounded, tensor, uniform, values};

/// r = 1/√(σ² + ε) of a row.
fn normalised_scale(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    1.0 / (variance + f64::from(1e-5f32)).sqrt()
}

/// φ(x̂ + shortcut), `[rows, n]`; φ multiplies what is not above 0 by `slope`.
pub(crate) fn normalise_rows_f64(x: &[f64], shortcut: Option<&[f64]>, slope: f64, n: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for x in x.chunks(n) {
        let (mean, scale) = (x.iter().sum::<f64>() / n as f64, normalised_scale(x));
        y.extend(x.iter().map(|x| (x - mean) * scale));
    }
    if let Some(shortcut) = shortcut {
        y.iter_mut().zip(shortcut).for_each(|(y, s)| *y += s);
    }
    y.into_iter().map(|v| if v > 0.0 { v } else { slope * v }).collect()
}

/// Gradients of x and of the shortcut for the gradient `g` of y. Which side of 0 a value fell on is read off `y`.
pub(crate) fn gradients_f64(x: &[f64], y: &[f32], g: &[f64], slope: f64, n: usize) -> [Vec<f64>; 2] {
    let passed: Vec<f64> = y.iter().zip(g).map(|(y, g)| if *y > 0.0 { *g } else { slope * g }).collect();
    let mut x_grad = Vec::new();
    for (x, g) in x.chunks(n).zip(passed.chunks(n)) {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n as f64;
        let (mu, scale) = (mean(&mut x.iter().copied()), normalised_scale(x));
        let g_mean = mean(&mut g.iter().copied());
        let along = mean(&mut x.iter().zip(g).map(|(x, g)| (x - mu) * scale * g));
        x_grad.extend(x.iter().zip(g).map(|(x, g)| scale * (g - g_mean - (x - mu) * scale * along)));
    }
    [x_grad, passed]
}

/// y and the gradients of x and of the shortcut (empty where there is none) on a device.
pub(crate) async fn run_normalise_rows(
    x: &[f64],
    shortcut: Option<&[f64]>,
    slope: f32,
    g: &[f64],
    n: usize,
    device: &Device,
) -> [Vec<f32>; 3] {
    run_normalise_rows_in(FloatDType::F32, x, shortcut, slope, g, n, device).await
}

/// [`run_normalise_rows`] of inputs in a type.
pub(crate) async fn run_normalise_rows_in(
    dtype: FloatDType,
    x: &[f64],
    shortcut: Option<&[f64]>,
    slope: f32,
    g: &[f64],
    n: usize,
    device: &Device,
) -> [Vec<f32>; 3] {
    let device = device.clone().autodiff();
    let dims = [x.len() / n, n];
    let x: Tensor<2> = tensor(x, dims, &device).require_grad();
    let shortcut: Option<Tensor<2>> = shortcut.map(|s| tensor(s, dims, &device).require_grad());
    let in_type = |tensor: Tensor<2>| tensor.cast(dtype);
    let y = normalise_rows_rectified(in_type(x.clone()), shortcut.clone().map(in_type), slope);
    assert_eq!(y.dtype(), DType::from(dtype));
    let y = y.cast(FloatDType::F32);
    let mut grads = (y.clone() * tensor(g, dims, &device)).sum().backward();
    let shortcut_grad = match shortcut {
        Some(shortcut) => values(shortcut.grad_remove(&mut grads).unwrap()).await,
        None => Vec::new(),
    };
    [values(y.inner()).await, values(x.grad_remove(&mut grads).unwrap()).await, shortcut_grad]
}

/// Rows of `scale · uniform + offset`, plain, through ReLU, and with a shortcut through a leaky ReLU, compared with f64.
pub(crate) async fn check_rows(
    rows: usize,
    n: usize,
    [scale, offset]: [f64; 2],
    device: &Device,
    limit: f64,
) {
    check_rows_in(FloatDType::F32, rows, n, [scale, offset], device, limit).await;
}

/// [`check_rows`] of inputs rounded to a type.
pub(crate) async fn check_rows_in(
    dtype: FloatDType,
    rows: usize,
    n: usize,
    [scale, offset]: [f64; 2],
    device: &Device,
    limit: f64,
) {
    let x = uniform(rows * n, 3).into_iter().map(|x| f64::from((x * scale + offset) as f32));
    let of = |values: &[f64]| rounded(values, dtype);
    let (x, g) = (of(&x.collect::<Vec<_>>()), of(&uniform(rows * n, 4)));
    let shortcut = of(&uniform(rows * n, 5));
    for (shortcut, slope) in [(None, 1.0f32), (None, 0.0), (Some(shortcut.as_slice()), 0.01)] {
        let [y, x_grad, shortcut_grad] =
            run_normalise_rows_in(dtype, &x, shortcut, slope, &g, n, device).await;
        let slope = f64::from(slope);
        let expected_y = normalise_rows_f64(&x, shortcut, slope, n);
        let [expected_x_grad, passed] = gradients_f64(&x, &y, &g, slope, n);
        let worst = |found: &[f32], expected: &[f64]| -> f64 {
            let differences = found.iter().zip(expected).map(|(f, e)| (f64::from(*f) - e).abs());
            differences.fold(0.0, |m, d| if d.is_nan() { f64::NAN } else { m.max(d) })
        };
        // A gradient is a difference of terms of the size r·g, and of short rows may be far smaller than they are.
        let largest = x.chunks(n).map(normalised_scale).fold(0.0, f64::max);
        assert_eq!(shortcut_grad.len(), shortcut.map_or(0, <[f64]>::len));
        for (name, error) in [
            ("y", worst(&y, &expected_y)),
            ("x_grad", worst(&x_grad, &expected_x_grad) / largest),
            ("shortcut_grad", worst(&shortcut_grad, &passed)),
        ] {
            assert!(
                error <= limit,
                "{name} of {rows} rows of {n}, offset {offset}, slope {slope}: {error:e} > {limit:e}"
            );
        }
    }
}
