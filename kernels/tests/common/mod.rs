//! Inputs, reference and comparison shared by the tests of all backends.
#![allow(dead_code, reason = "every test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

pub(crate) mod adamw;
#[cfg(all(
    any(feature = "wgpu", feature = "cuda"),
    feature = "flex",
    feature = "autodiff",
    not(target_arch = "wasm32")
))]
pub(crate) mod adapter;
#[cfg(feature = "autodiff")]
pub(crate) mod convolution;
#[cfg(feature = "autodiff")]
pub(crate) mod gelu;
#[cfg(feature = "autodiff")]
pub(crate) mod normalisation;
#[cfg(feature = "autodiff")]
pub(crate) mod projection;
pub(crate) mod quantise;
#[cfg(feature = "autodiff")]
pub(crate) mod tokens;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use tu_kernels::reference::{ScanInputs, selective_scan_f64, selective_scan_gradients_f64};
use tu_kernels::scan::ScanGradients;
use tu_kernels::{ScanShape, selective_scan};

/// Uniform numbers in [-1, 1), the same for the same seed.
pub(crate) fn uniform(count: usize, seed: u64) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // rounded to f32, so that f32 and f64 see the same number
            f64::from(((state >> 40) as f32) / 8_388_608.0 - 1.0)
        })
        .collect()
}

pub(crate) fn shape(batch: usize, length: usize, channels: usize, states: usize) -> ScanShape {
    ScanShape { batch, length, channels, states }
}

/// Inputs as a trained Mamba has them: steps around 0.1 to 1, decays −1 … −N.
pub(crate) fn inputs(shape: ScanShape, seed: u64) -> ScanInputs {
    let scaled = |count, stream: u64, scale: f64, shift: f64| -> Vec<f64> {
        let values = uniform(count, seed * 16 + stream);
        values.into_iter().map(|x| f64::from((x * scale + shift) as f32)).collect()
    };
    let states = shape.states as f64;
    ScanInputs {
        shape,
        u: scaled(shape.tokens_by_channels(), 1, 1.0, 0.0),
        delta: scaled(shape.tokens_by_channels(), 2, 2.0, -1.5),
        a: scaled(shape.channels_by_states(), 3, 0.49 * states, -0.5 * states),
        b: scaled(shape.tokens_by_states(), 4, 1.0, 0.0),
        c: scaled(shape.tokens_by_states(), 5, 1.0, 0.0),
        d: scaled(shape.channels, 6, 1.0, 0.0),
    }
}

pub(crate) fn tensor<const D: usize>(values: &[f64], dims: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// The six inputs as tensors.
pub(crate) struct Tensors {
    pub(crate) u: Tensor<3>,
    pub(crate) delta: Tensor<3>,
    pub(crate) a: Tensor<2>,
    pub(crate) b: Tensor<3>,
    pub(crate) c: Tensor<3>,
    pub(crate) d: Tensor<1>,
}

impl Tensors {
    pub(crate) fn new(inputs: &ScanInputs, device: &Device) -> Self {
        let ScanShape { batch, length, channels, states } = inputs.shape;
        Self {
            u: tensor(&inputs.u, [batch, length, channels], device),
            delta: tensor(&inputs.delta, [batch, length, channels], device),
            a: tensor(&inputs.a, [channels, states], device),
            b: tensor(&inputs.b, [batch, length, states], device),
            c: tensor(&inputs.c, [batch, length, states], device),
            d: tensor(&inputs.d, [channels], device),
        }
    }

    pub(crate) fn tracked(self) -> Self {
        Self {
            u: self.u.require_grad(),
            delta: self.delta.require_grad(),
            a: self.a.require_grad(),
            b: self.b.require_grad(),
            c: self.c.require_grad(),
            d: self.d.require_grad(),
        }
    }

    pub(crate) fn scan(&self) -> Tensor<3> {
        selective_scan(
            self.u.clone(),
            self.delta.clone(),
            self.a.clone(),
            self.b.clone(),
            self.c.clone(),
            self.d.clone(),
        )
    }
}

pub(crate) async fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data_async().await.unwrap().try_into_vec::<f32>().unwrap()
}

/// Output and gradients of the scan on an autodiff device, for the loss `Σ y ⊙ y_grad`.
pub(crate) async fn run(
    inputs: &ScanInputs,
    y_grad: &[f64],
    device: &Device,
) -> (Vec<f32>, ScanGradients<Vec<f32>>) {
    let ScanShape { batch, length, channels, .. } = inputs.shape;
    let device = device.clone().autodiff();
    let tensors = Tensors::new(inputs, &device).tracked();
    let y = tensors.scan();
    let loss = (y.clone() * tensor(y_grad, [batch, length, channels], &device)).sum();
    let mut grads = loss.backward();
    let gradients = ScanGradients {
        u: values(tensors.u.grad_remove(&mut grads).unwrap()).await,
        delta: values(tensors.delta.grad_remove(&mut grads).unwrap()).await,
        a: values(tensors.a.grad_remove(&mut grads).unwrap()).await,
        b: values(tensors.b.grad_remove(&mut grads).unwrap()).await,
        c: values(tensors.c.grad_remove(&mut grads).unwrap()).await,
        d: values(tensors.d.grad_remove(&mut grads).unwrap()).await,
    };
    (values(y.inner()).await, gradients)
}

/// Numbers as a type holds them.
pub(crate) fn rounded(values: &[f64], dtype: FloatDType) -> Vec<f64> {
    let round = |value: f64| match dtype {
        FloatDType::F16 => half::f16::from_f64(value).to_f64(),
        FloatDType::BF16 => half::bf16::from_f64(value).to_f64(),
        _ => f64::from(value as f32),
    };
    values.iter().copied().map(round).collect()
}

/// The half types, with the relative error that their last bit is worth.
pub(crate) const HALF_TYPES: [(FloatDType, f64); 2] =
    [(FloatDType::F16, 1.0 / 2048.0), (FloatDType::BF16, 1.0 / 256.0)];

/// Largest difference, relative to the largest magnitude of the expected values.
pub(crate) fn error(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
    let worst = found.iter().zip(expected).map(|(&f, &e)| (f64::from(f) - e).abs());
    worst.fold(0.0, |m: f64, d| if d.is_nan() { f64::NAN } else { m.max(d) }) / scale
}

/// Compares values and gradients on `device` with the f64 reference.
pub(crate) async fn check(shape: ScanShape, seed: u64, device: &Device, limit: f64) {
    let inputs = inputs(shape, seed);
    let y_grad = uniform(shape.tokens_by_channels(), seed + 999);
    let (y, gradients) = run(&inputs, &y_grad, device).await;
    let expected = selective_scan_gradients_f64(&inputs, &y_grad);
    for (name, error) in [
        ("y", error(&y, &selective_scan_f64(&inputs))),
        ("u", error(&gradients.u, &expected.u)),
        ("delta", error(&gradients.delta, &expected.delta)),
        ("a", error(&gradients.a, &expected.a)),
        ("b", error(&gradients.b, &expected.b)),
        ("c", error(&gradients.c, &expected.c)),
        ("d", error(&gradients.d, &expected.d)),
    ] {
        assert!(error <= limit, "{name} of {shape:?}, seed {seed}: relative error {error:e} > {limit:e}");
    }
}

/// The shapes every backend is tested with: short and long, odd channels, 1 to 16 states.
pub(crate) fn shapes() -> Vec<ScanShape> {
    let mut shapes = Vec::new();
    for length in [1, 2, 3, 5, 17, 1000] {
        for states in [1, 4, 16] {
            shapes.push(shape(1 + length % 2, length, 5 + 2 * (length % 7), states));
        }
    }
    shapes.extend([shape(1, 65, 16, 16), shape(2, 64, 33, 7), shape(1, 129, 1, 3), shape(3, 200, 48, 16)]);
    shapes
}

/// Positions where the output or a gradient is not finite, in f64 and on the device, must be the same.
pub(crate) async fn check_not_finite(inputs: &ScanInputs, device: &Device) {
    let y_grad = uniform(inputs.shape.tokens_by_channels(), 5);
    let (y, found) = run(inputs, &y_grad, device).await;
    let expected = selective_scan_gradients_f64(inputs, &y_grad);
    let same = |name: &str, found: &[f32], expected: &[f64]| {
        for (i, (f, e)) in found.iter().zip(expected).enumerate() {
            let kind = |x: f64| {
                if x.is_nan() {
                    3
                } else if x.is_infinite() {
                    1 + i32::from(x > 0.0)
                } else {
                    0
                }
            };
            assert_eq!(kind(f64::from(*f)), kind(*e), "{name}[{i}]: {f} instead of {e}");
        }
    };
    same("y", &y, &selective_scan_f64(inputs));
    same("u", &found.u, &expected.u);
    same("delta", &found.delta, &expected.delta);
    same("a", &found.a, &expected.a);
    same("b", &found.b, &expected.b);
    same("c", &found.c, &expected.c);
    same("d", &found.d, &expected.d);
}
