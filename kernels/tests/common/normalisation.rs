//! Row normalisation in f64, and its comparison with a device.

use burn::tensor::{Device, Tensor};
use tu_kernels::normalise_rows;

use super::{tensor, uniform, values};

/// r = 1/√(σ² + ε) of a row.
fn normalised_scale(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    1.0 / (variance + f64::from(1e-5f32)).sqrt()
}

/// x̂ and the gradient of x for the gradient `g` of x̂, both `[rows, n]`.
pub(crate) fn normalise_rows_f64(x: &[f64], g: &[f64], n: usize) -> [Vec<f64>; 2] {
    let mut found = [Vec::new(), Vec::new()];
    for (x, g) in x.chunks(n).zip(g.chunks(n)) {
        let mean = |values: &mut dyn Iterator<Item = f64>| values.sum::<f64>() / n as f64;
        let mu = mean(&mut x.iter().copied());
        let scale = normalised_scale(x);
        let g_mean = mean(&mut g.iter().copied());
        let along = mean(&mut x.iter().zip(g).map(|(x, g)| (x - mu) * scale * g));
        found[0].extend(x.iter().map(|x| (x - mu) * scale));
        found[1].extend(x.iter().zip(g).map(|(x, g)| scale * (g - g_mean - (x - mu) * scale * along)));
    }
    found
}

/// x̂ and gradient on a device.
pub(crate) async fn run_normalise_rows(x: &[f64], g: &[f64], n: usize, device: &Device) -> [Vec<f32>; 2] {
    let device = device.clone().autodiff();
    let dims = [x.len() / n, n];
    let x: Tensor<2> = tensor(x, dims, &device).require_grad();
    let y = normalise_rows(x.clone());
    let mut grads = (y.clone() * tensor(g, dims, &device)).sum().backward();
    [values(y.inner()).await, values(x.grad_remove(&mut grads).unwrap()).await]
}

/// Rows of `scale · uniform + offset` compared with f64.
pub(crate) async fn check_rows(
    rows: usize,
    n: usize,
    [scale, offset]: [f64; 2],
    device: &Device,
    limit: f64,
) {
    let x = uniform(rows * n, 3).into_iter().map(|x| f64::from((x * scale + offset) as f32));
    let (x, g) = (x.collect::<Vec<_>>(), uniform(rows * n, 4));
    let found = run_normalise_rows(&x, &g, n, device).await;
    let expected = normalise_rows_f64(&x, &g, n);
    let worst = |i: usize| -> f64 {
        let differences = found[i].iter().zip(&expected[i]).map(|(f, e)| (f64::from(*f) - e).abs());
        differences.fold(0.0, |m, d| if d.is_nan() { f64::NAN } else { m.max(d) })
    };
    // A gradient is a difference of terms of the size r·g, and of short rows may be far smaller than they are.
    let largest = x.chunks(n).map(normalised_scale).fold(0.0, f64::max);
    for (name, error) in [("y", worst(0)), ("x_grad", worst(1) / largest)] {
        assert!(error <= limit, "{name} of {rows} rows of {n}, offset {offset}: {error:e} > {limit:e}");
    }
}
