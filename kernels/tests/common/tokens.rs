//! The operations around a scan in f64, and their comparison with a device.

use burn::tensor::{Device, Tensor};
use tu_kernels::reference::sigmoid;
use tu_kernels::{ScanOrder, causal_conv_silu, gated_direction_sum, layer_norm_tokens};

use super::{tensor, uniform, values};

/// An operation with its inputs and the gradient of its output.
pub(crate) trait TokenCase: core::fmt::Debug {
    /// Names of the output and of the inputs.
    const NAMES: &'static [&'static str];

    /// The inputs, and last the gradient of the output.
    fn inputs(&mut self) -> Vec<&mut Vec<f64>>;

    /// The output and the gradients of all inputs, in f64.
    fn reference(&self) -> Vec<Vec<f64>>;

    /// The magnitude that errors of an output are relative to: that of its largest value.
    fn magnitude(&self, _output: usize, expected: &[f64]) -> f64 {
        expected.iter().fold(1e-30, |m: f64, x| m.max(x.abs()))
    }

    /// The same on a device.
    async fn run(&self, device: &Device) -> Vec<Vec<f32>>;
}

/// Compares a device with f64.
pub(crate) async fn check<T: TokenCase>(case: &T, device: &Device, limit: f64) {
    let found = case.run(device).await;
    for (i, (found, expected)) in found.iter().zip(case.reference()).enumerate() {
        assert_eq!(found.len(), expected.len());
        let differences = found.iter().zip(&expected).map(|(f, e)| (f64::from(*f) - e).abs());
        let worst = differences.fold(0.0, |m: f64, d| if d.is_nan() { f64::NAN } else { m.max(d) });
        let (name, error) = (T::NAMES[i], worst / case.magnitude(i, &expected));
        assert!(error <= limit, "{name} of {case:?}: relative error {error:e} > {limit:e}");
    }
}

/// Positions that are NaN or infinite, in f64 and on the device, must be the same.
pub(crate) async fn check_not_finite<T: TokenCase>(case: &T, device: &Device) {
    for ((name, found), expected) in T::NAMES.iter().zip(case.run(device).await).zip(case.reference()) {
        for (i, (f, e)) in found.iter().zip(&expected).enumerate() {
            let same = f.is_nan() == e.is_nan() && f.is_finite() == e.is_finite();
            assert!(same, "{name}[{i}] of {case:?}: {f} instead of {e}");
        }
    }
}

/// Tokens in the order of their visits, written down directly.
pub(crate) fn visits(order: ScanOrder, length: usize) -> Vec<usize> {
    match order {
        ScanOrder::Forward => (0..length).collect(),
        ScanOrder::Backward => (0..length).rev().collect(),
        ScanOrder::InterSlice { slices } => {
            let plane = length / slices;
            (0..plane).flat_map(|p| (0..slices).map(move |s| s * plane + p)).collect()
        }
    }
}

fn silu(a: f64) -> f64 {
    a * sigmoid(a)
}

fn silu_slope(a: f64) -> f64 {
    let s = sigmoid(a);
    s * (1.0 + a * (1.0 - s))
}

/// A causal convolution.
#[derive(Clone)]
pub(crate) struct ConvCase {
    pub(crate) dims: [usize; 3],
    pub(crate) taps: usize,
    pub(crate) order: ScanOrder,
    pub(crate) x: Vec<f64>,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) v_grad: Vec<f64>,
}

impl core::fmt::Debug for ConvCase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "causal convolution {:?}, {} taps, {:?}", self.dims, self.taps, self.order)
    }
}

impl ConvCase {
    pub(crate) fn new(dims: [usize; 3], taps: usize, order: ScanOrder) -> Self {
        let [batch, length, channels] = dims;
        let size = batch * length * channels;
        Self {
            dims,
            taps,
            order,
            x: uniform(size, 1).iter().map(|x| f64::from((3.0 * x) as f32)).collect(),
            weight: uniform(channels * taps, 2),
            bias: uniform(channels, 3),
            v_grad: uniform(size, 4),
        }
    }
}

impl TokenCase for ConvCase {
    const NAMES: &'static [&'static str] = &["v", "x_grad", "weight_grad", "bias_grad"];

    fn inputs(&mut self) -> Vec<&mut Vec<f64>> {
        vec![&mut self.x, &mut self.weight, &mut self.bias, &mut self.v_grad]
    }

    fn reference(&self) -> Vec<Vec<f64>> {
        let ([batch, length, channels], taps) = (self.dims, self.taps);
        let order = visits(self.order, length);
        let [mut v, mut x_grad] = [vec![0.0; self.x.len()], vec![0.0; self.x.len()]];
        let (mut weight_grad, mut bias_grad) = (vec![0.0; channels * taps], vec![0.0; channels]);
        for sequence in 0..batch {
            for e in 0..channels {
                for t in 0..length {
                    let at = |token: usize| (sequence * length + token) * channels + e;
                    // the token that each tap sees, none before the start
                    let seen = |k: usize| (t + k + 1).checked_sub(taps).map(|p| at(order[p]));
                    let mut a = self.bias[e];
                    for k in 0..taps {
                        a += self.weight[e * taps + k] * seen(k).map_or(0.0, |i| self.x[i]);
                    }
                    v[at(t)] = silu(a);
                    let q = self.v_grad[at(t)] * silu_slope(a);
                    bias_grad[e] += q;
                    for k in 0..taps {
                        weight_grad[e * taps + k] += q * seen(k).map_or(0.0, |i| self.x[i]);
                        if let Some(i) = seen(k) {
                            x_grad[i] += q * self.weight[e * taps + k];
                        }
                    }
                }
            }
        }
        vec![v, x_grad, weight_grad, bias_grad]
    }

    async fn run(&self, device: &Device) -> Vec<Vec<f32>> {
        let ([_, _, channels], device) = (self.dims, device.clone().autodiff());
        let x: Tensor<3> = tensor(&self.x, self.dims, &device).require_grad();
        let weight: Tensor<2> = tensor(&self.weight, [channels, self.taps], &device).require_grad();
        let bias: Tensor<1> = tensor(&self.bias, [channels], &device).require_grad();
        let v = causal_conv_silu(x.clone(), weight.clone(), bias.clone(), self.order);
        let mut grads = (v.clone() * tensor(&self.v_grad, self.dims, &device)).sum().backward();
        vec![
            values(v.inner()).await,
            values(x.grad_remove(&mut grads).unwrap()).await,
            values(weight.grad_remove(&mut grads).unwrap()).await,
            values(bias.grad_remove(&mut grads).unwrap()).await,
        ]
    }
}

/// A gated sum of directions.
#[derive(Clone)]
pub(crate) struct GateCase {
    pub(crate) dims: [usize; 3],
    pub(crate) slices: usize,
    /// forward, backward, inter-slice, z
    pub(crate) given: [Vec<f64>; 4],
    pub(crate) out_grad: Vec<f64>,
}

impl core::fmt::Debug for GateCase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "gated sum {:?}, {} slices", self.dims, self.slices)
    }
}

impl GateCase {
    pub(crate) fn new(dims: [usize; 3], slices: usize) -> Self {
        let size = dims.iter().product();
        let given = [1, 2, 3, 4].map(|seed| uniform(size, seed).iter().map(|x| 4.0 * x).collect());
        Self { dims, slices, given, out_grad: uniform(size, 5) }
    }
}

impl TokenCase for GateCase {
    const NAMES: &'static [&'static str] = &["out", "forward_grad", "backward_grad", "slice_grad", "z_grad"];

    fn inputs(&mut self) -> Vec<&mut Vec<f64>> {
        self.given.iter_mut().chain([&mut self.out_grad]).collect()
    }

    fn reference(&self) -> Vec<Vec<f64>> {
        let ([batch, length, channels], slices) = (self.dims, self.slices);
        let orders = [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices }];
        let orders = orders.map(|order| visits(order, length));
        let mut found = vec![vec![0.0; self.out_grad.len()]; 5];
        for sequence in 0..batch {
            for e in 0..channels {
                let at = |token: usize| (sequence * length + token) * channels + e;
                let mut sums = vec![0.0; length];
                for (order, y) in orders.iter().zip(&self.given) {
                    for (position, token) in order.iter().enumerate() {
                        sums[*token] += y[at(position)];
                    }
                }
                for (token, sum) in sums.iter().enumerate() {
                    let (z, g) = (self.given[3][at(token)], self.out_grad[at(token)]);
                    found[0][at(token)] = sum * silu(z);
                    found[4][at(token)] = g * sum * silu_slope(z);
                    for (i, order) in orders.iter().enumerate() {
                        let position = order.iter().position(|visited| *visited == token).unwrap();
                        found[i + 1][at(position)] = g * silu(z);
                    }
                }
            }
        }
        found
    }

    async fn run(&self, device: &Device) -> Vec<Vec<f32>> {
        let device = device.clone().autodiff();
        let tensors = self.given.each_ref().map(|x| tensor::<3>(x, self.dims, &device).require_grad());
        let [forward, backward, slice, z] = tensors.clone();
        let out = gated_direction_sum(forward, backward, slice, z, self.slices);
        let mut grads = (out.clone() * tensor(&self.out_grad, self.dims, &device)).sum().backward();
        let mut found = vec![values(out.inner()).await];
        for tensor in tensors {
            found.push(values(tensor.grad_remove(&mut grads).unwrap()).await);
        }
        found
    }
}

/// A layer normalisation of `[B, C, L]`.
#[derive(Clone)]
pub(crate) struct NormCase {
    pub(crate) dims: [usize; 3],
    pub(crate) x: Vec<f64>,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) y_grad: Vec<f64>,
}

impl core::fmt::Debug for NormCase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "layer normalisation {:?}", self.dims)
    }
}

impl NormCase {
    /// Inputs `scale · uniform + offset`.
    pub(crate) fn new(dims: [usize; 3], [scale, offset]: [f64; 2]) -> Self {
        let [batch, channels, length] = dims;
        let size = batch * length * channels;
        Self {
            dims,
            x: uniform(size, 1).iter().map(|x| f64::from((x * scale + offset) as f32)).collect(),
            weight: uniform(channels, 2).iter().map(|w| 1.0 + 0.5 * w).collect(),
            bias: uniform(channels, 3),
            y_grad: uniform(size, 4),
        }
    }
}

impl TokenCase for NormCase {
    const NAMES: &'static [&'static str] = &["y", "x_grad", "weight_grad", "bias_grad"];

    fn inputs(&mut self) -> Vec<&mut Vec<f64>> {
        vec![&mut self.x, &mut self.weight, &mut self.bias, &mut self.y_grad]
    }

    fn reference(&self) -> Vec<Vec<f64>> {
        let [batch, channels, length] = self.dims;
        let mut found =
            vec![vec![0.0; self.x.len()], vec![0.0; self.x.len()], vec![0.0; channels], vec![0.0; channels]];
        let mean = |values: &[f64]| values.iter().sum::<f64>() / channels as f64;
        for volume in 0..batch {
            for token in 0..length {
                let from = |c: usize| (volume * channels + c) * length + token;
                let to = |c: usize| (volume * length + token) * channels + c;
                let x: Vec<f64> = (0..channels).map(|c| self.x[from(c)]).collect();
                let deviations: Vec<f64> = x.iter().map(|v| v - mean(&x)).collect();
                let variance = mean(&deviations.iter().map(|d| d * d).collect::<Vec<_>>());
                let scale = 1.0 / (variance + f64::from(1e-5f32)).sqrt();
                let unit: Vec<f64> = deviations.iter().map(|d| d * scale).collect();
                let h: Vec<f64> = (0..channels).map(|c| self.weight[c] * self.y_grad[to(c)]).collect();
                let along = mean(&h.iter().zip(&unit).map(|(h, u)| h * u).collect::<Vec<_>>());
                for c in 0..channels {
                    found[0][to(c)] = unit[c] * self.weight[c] + self.bias[c];
                    found[1][from(c)] = scale * (h[c] - mean(&h) - unit[c] * along);
                    found[2][c] += self.y_grad[to(c)] * unit[c];
                    found[3][c] += self.y_grad[to(c)];
                }
            }
        }
        found
    }

    /// The gradient of x is a difference of terms of the size r·h, and over few channels far smaller than they are.
    fn magnitude(&self, output: usize, expected: &[f64]) -> f64 {
        let [_, channels, length] = self.dims;
        let largest = |values: &[f64]| values.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
        if output != 1 {
            return largest(expected);
        }
        let spread = |i: usize| {
            let from = i / length * channels * length + i % length;
            let x = (0..channels).map(|c| self.x[from + c * length]);
            let mean = x.clone().sum::<f64>() / channels as f64;
            x.map(|x| (x - mean).powi(2)).sum::<f64>() / channels as f64
        };
        let tokens = self.x.len() / channels;
        let least = (0..tokens).map(spread).fold(f64::INFINITY, f64::min);
        largest(&self.weight) * largest(&self.y_grad) / (least + f64::from(1e-5f32)).sqrt()
    }

    async fn run(&self, device: &Device) -> Vec<Vec<f32>> {
        let ([batch, channels, length], device) = (self.dims, device.clone().autodiff());
        let x: Tensor<3> = tensor(&self.x, self.dims, &device).require_grad();
        let weight: Tensor<1> = tensor(&self.weight, [channels], &device).require_grad();
        let bias: Tensor<1> = tensor(&self.bias, [channels], &device).require_grad();
        let y = layer_norm_tokens(x.clone(), weight.clone(), bias.clone());
        let mut grads =
            (y.clone() * tensor(&self.y_grad, [batch, length, channels], &device)).sum().backward();
        vec![
            values(y.inner()).await,
            values(x.grad_remove(&mut grads).unwrap()).await,
            values(weight.grad_remove(&mut grads).unwrap()).await,
            values(bias.grad_remove(&mut grads).unwrap()).await,
        ]
    }
}

/// Convolutions that every backend is tested with: one token and one channel, channels around multiples of 16,
/// kernels of 1 to 7 taps, runs and stretches that end within and at a sequence, every order.
pub(crate) fn conv_cases() -> Vec<ConvCase> {
    use ScanOrder::{Backward, Forward, InterSlice};
    let mut cases = Vec::new();
    for order in [Forward, Backward, InterSlice { slices: 1 }] {
        cases.push(ConvCase::new([1, 1, 1], 4, order));
        cases.push(ConvCase::new([2, 3, 5], 4, order));
        cases.push(ConvCase::new([2, 37, 17], 1, order));
        cases.push(ConvCase::new([2, 130, 16], 4, order));
    }
    for slices in [2, 5, 60, 120] {
        cases.push(ConvCase::new([2, 120, 21], 4, InterSlice { slices }));
    }
    cases.push(ConvCase::new([1, 96, 33], 3, InterSlice { slices: 8 }));
    cases.push(ConvCase::new([1, 70, 3], 7, Backward));
    // more than a stretch of a thread
    cases.push(ConvCase::new([1, 3000, 16], 4, InterSlice { slices: 6 }));
    cases.push(ConvCase::new([1, 2100, 16], 4, Backward));
    cases
}

/// Gated sums that every backend is tested with.
pub(crate) fn gate_cases() -> Vec<GateCase> {
    [
        ([1, 1, 1], 1),
        ([2, 3, 5], 3),
        ([2, 12, 17], 4),
        ([1, 60, 16], 1),
        ([1, 60, 33], 60),
        ([2, 60, 16], 20),
        ([1, 1200, 16], 6),
    ]
    .map(|(dims, slices)| GateCase::new(dims, slices))
    .into()
}

/// Layer normalisations that every backend is tested with, `[B, C, L]`.
pub(crate) fn norm_cases() -> Vec<NormCase> {
    let plain = [1.0, 0.0];
    [
        ([1, 1, 1], plain),
        ([2, 2, 1], plain),
        ([2, 5, 3], plain),
        ([2, 16, 33], plain),
        ([1, 17, 100], plain),
        ([1, 64, 47], plain),
        ([2, 100, 20], plain),
        ([1, 513, 18], plain),
        ([1, 1536, 40], plain),
        ([1, 16, 2500], plain),
        ([1, 32, 50], [1e-3, 0.0]),
        ([1, 32, 50], [30.0, 0.0]),
    ]
    .map(|(dims, spread)| NormCase::new(dims, spread))
    .into()
}
