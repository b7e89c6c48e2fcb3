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
pub(crate) mod three_orders;
#[cfg(feature = "autodiff")]
pub(crate) mod tokens;

use burn::tensor::{Device, FloatDType, Tensor, TensorData};
use tu_kernels::ScanShape;
use tu_kernels::reference::{ScanInputs, selective_scan_f64, selective_scan_gradients_f64};
use tu_kernels::scan::{ScanGradients, selective_scan_in_chunks};
#[cfg(all(feature = "flex", feature = "autodiff"))]
use tu_kernels::selfcheck::NetworkSizes;

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

/// Sizes with one set of parameters and a rank that depends on the channels.
pub(crate) fn shape(batch: usize, length: usize, channels: usize, states: usize) -> ScanShape {
    ScanShape { batch, length, channels, states, rank: 1 + channels % 3, groups: 1 }
}

/// Inputs as a trained Mamba has them: steps around 0.1 to 1, rates −1 … −N.
pub(crate) fn inputs(shape: ScanShape, seed: u64) -> ScanInputs {
    let scaled = |count, stream: u64, scale: f64, shift: f64| -> Vec<f64> {
        let values = uniform(count, seed * 16 + stream);
        values.into_iter().map(|x| f64::from((x * scale + shift) as f32)).collect()
    };
    let (states, rows) = (shape.states as f64, shape.groups * shape.channels);
    let (low, high) = ((0.01 * states).ln(), states.ln());
    ScanInputs {
        shape,
        u: scaled(shape.tokens_by_channels(), 1, 1.0, 0.0),
        projected: scaled(shape.tokens_by_width(), 2, 1.0, 0.0),
        step_weight: scaled(rows * shape.rank, 3, 1.5 / shape.rank as f64, 0.0),
        step_bias: scaled(rows, 4, 1.0, -1.5),
        a_log: scaled(rows * shape.states, 5, 0.5 * (high - low), 0.5 * (high + low)),
        d: scaled(rows, 6, 1.0, 0.0),
    }
}

/// The column of the δ, B or C of a token.
pub(crate) enum Column {
    Low(usize),
    B(usize),
    C(usize),
}

/// The place of a column of a token in `projected`.
pub(crate) fn place(shape: &ScanShape, token: usize, column: &Column) -> usize {
    let column = match column {
        Column::Low(r) => *r,
        Column::B(n) => shape.rank + n,
        Column::C(n) => shape.rank + shape.states + n,
    };
    token * shape.width() + column
}

pub(crate) fn tensor<const D: usize>(values: &[f64], dims: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|&x| x as f32).collect();
    Tensor::from_data(TensorData::new(values, dims), device)
}

/// The six inputs as tensors.
pub(crate) struct Tensors {
    pub(crate) u: Tensor<3>,
    pub(crate) projected: Tensor<3>,
    pub(crate) step_weight: Tensor<2>,
    pub(crate) step_bias: Tensor<1>,
    pub(crate) a_log: Tensor<2>,
    pub(crate) d: Tensor<1>,
}

impl Tensors {
    pub(crate) fn new(inputs: &ScanInputs, device: &Device) -> Self {
        let ScanShape { batch, length, channels, states, rank, groups } = inputs.shape;
        let rows = groups * channels;
        Self {
            u: tensor(&inputs.u, [batch, length, channels], device),
            projected: tensor(&inputs.projected, [batch, length, inputs.shape.width()], device),
            step_weight: tensor(&inputs.step_weight, [rows, rank], device),
            step_bias: tensor(&inputs.step_bias, [rows], device),
            a_log: tensor(&inputs.a_log, [rows, states], device),
            d: tensor(&inputs.d, [rows], device),
        }
    }

    pub(crate) fn tracked(self) -> Self {
        Self {
            u: self.u.require_grad(),
            projected: self.projected.require_grad(),
            step_weight: self.step_weight.require_grad(),
            step_bias: self.step_bias.require_grad(),
            a_log: self.a_log.require_grad(),
            d: self.d.require_grad(),
        }
    }

    pub(crate) fn scan(&self) -> Tensor<3> {
        self.scan_in_chunks(None)
    }

    pub(crate) fn scan_in_chunks(&self, chunk: Option<usize>) -> Tensor<3> {
        selective_scan_in_chunks(
            self.u.clone(),
            self.projected.clone(),
            self.step_weight.clone(),
            self.step_bias.clone(),
            self.a_log.clone(),
            self.d.clone(),
            chunk,
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
        projected: values(tensors.projected.grad_remove(&mut grads).unwrap()).await,
        step_weight: values(tensors.step_weight.grad_remove(&mut grads).unwrap()).await,
        step_bias: values(tensors.step_bias.grad_remove(&mut grads).unwrap()).await,
        a_log: values(tensors.a_log.grad_remove(&mut grads).unwrap()).await,
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

/// Compares values and gradients on `device` with the f64 reference. Columns of δ, B and C are compared on their own: their
/// gradients differ in size.
pub(crate) async fn check(shape: ScanShape, seed: u64, device: &Device, limit: f64) {
    let inputs = inputs(shape, seed);
    let y_grad = uniform(shape.tokens_by_channels(), seed + 999);
    let (y, gradients) = run(&inputs, &y_grad, device).await;
    let expected = selective_scan_gradients_f64(&inputs, &y_grad);
    let (rank, states) = (shape.rank, shape.states);
    let columns = |from: usize, count: usize| {
        let rows = gradients.projected.chunks_exact(shape.width());
        let found: Vec<f32> = rows.flat_map(|row| row[from..from + count].iter().copied()).collect();
        let rows = expected.projected.chunks_exact(shape.width());
        let expected: Vec<f64> = rows.flat_map(|row| row[from..from + count].iter().copied()).collect();
        error(&found, &expected)
    };
    for (name, error) in [
        ("y", error(&y, &selective_scan_f64(&inputs))),
        ("u", error(&gradients.u, &expected.u)),
        ("δ", columns(0, rank)),
        ("B", columns(rank, states)),
        ("C", columns(rank + states, states)),
        ("step_weight", error(&gradients.step_weight, &expected.step_weight)),
        ("step_bias", error(&gradients.step_bias, &expected.step_bias)),
        ("a_log", error(&gradients.a_log, &expected.a_log)),
        ("d", error(&gradients.d, &expected.d)),
    ] {
        assert!(error <= limit, "{name} of {shape:?}, seed {seed}: relative error {error:e} > {limit:e}");
    }
}

/// The shapes every backend is tested with: short and long, odd channels, 1 to 16 states, ranks up to 24, sets of parameters.
pub(crate) fn shapes() -> Vec<ScanShape> {
    let mut shapes = Vec::new();
    for length in [1, 2, 3, 5, 17, 1000] {
        for states in [1, 4, 16] {
            shapes.push(shape(1 + length % 2, length, 5 + 2 * (length % 7), states));
        }
    }
    shapes.extend([shape(1, 65, 16, 16), shape(2, 64, 33, 7), shape(1, 129, 1, 3), shape(3, 200, 48, 16)]);
    shapes.extend([
        ScanShape { rank: 24, ..shape(1, 37, 20, 16) },
        ScanShape { rank: 5, groups: 3, ..shape(3, 75, 17, 4) },
        ScanShape { groups: 2, ..shape(4, 33, 40, 16) },
    ]);
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
    same("projected", &found.projected, &expected.projected);
    same("step_weight", &found.step_weight, &expected.step_weight);
    same("step_bias", &found.step_bias, &expected.step_bias);
    same("a_log", &found.a_log, &expected.a_log);
    same("d", &found.d, &expected.d);
}

/// The sizes of a network of the same widths for voxels that are as long along z as in the plane.
#[cfg(all(feature = "flex", feature = "autodiff"))]
pub(crate) fn convolving_over_z(sizes: NetworkSizes) -> NetworkSizes {
    NetworkSizes { kernels: [[3; 3]; 5], z_strides: [1, 2, 2, 2], z_down_kernels: [3, 2, 2, 2], ..sizes }
}
