//! Times of operations, the ceilings they are compared with, and their table.

use burn::tensor::{DType, Device, Distribution, FloatDType, Tensor};

use super::clock::milliseconds;
use super::operations::{Operation, Run};

/// Rates that a device reaches with burn's simplest operations.
pub(crate) struct Ceilings {
    /// Bytes read and written per millisecond by a copy.
    copy: f64,
    /// FLOP per millisecond of a square matrix product.
    product: f64,
    dtype: FloatDType,
}

/// Bytes of an element.
fn size(dtype: FloatDType) -> usize {
    DType::from(dtype).size()
}

impl Ceilings {
    /// Measures with vectors of `floats` and matrices of `side` in a type.
    pub(crate) async fn measure(
        device: &Device,
        dtype: FloatDType,
        floats: usize,
        side: usize,
        runs: usize,
    ) -> Self {
        let vector = Tensor::<1>::random([floats], Distribution::Uniform(-1.0, 1.0), device).cast(dtype);
        let matrix = Tensor::<2>::random([side, side], Distribution::Uniform(-1.0, 1.0), device).cast(dtype);
        let (mut copy, mut product) = (f64::INFINITY, f64::INFINITY);
        wait(vector.clone()).await;
        for _ in 0..=runs {
            let start = milliseconds();
            wait(vector.clone() + 1.0).await;
            copy = copy.min(milliseconds() - start);
            let start = milliseconds();
            wait(matrix.clone().matmul(matrix.clone()).reshape([side * side])).await;
            product = product.min(milliseconds() - start);
        }
        let moved = (2 * size(dtype) * floats) as f64;
        Self { copy: moved / copy, product: 2.0 * (side as f64).powi(3) / product, dtype }
    }

    /// Milliseconds below which the device cannot stay.
    fn bound(&self, bytes: usize, flop: usize) -> f64 {
        (bytes as f64 / self.copy).max(flop as f64 / self.product)
    }

    pub(crate) fn describe(&self) -> String {
        format!("copy {:.1} GB/s, matrix product {:.1} GFLOP/s", self.copy / 1e6, self.product / 1e6)
    }
}

pub(crate) const HEADER: &str = "operation                                              ms     GB/s  GFLOP/s  of bound  launches   burn ms  times";

/// Two lines of the table: the values, and all gradients.
pub(crate) async fn lines(
    operation: &Operation,
    device: &Device,
    ceilings: &Ceilings,
    runs: usize,
) -> String {
    let mut lines = Vec::new();
    for (i, name) in ["", "  gradients"].into_iter().enumerate() {
        let before = launches();
        let ours = time(operation, &operation.ours, device, ceilings.dtype, i == 1, runs).await;
        let launched = (launches() - before) / (runs as u64 + 1);
        let plain = match &operation.plain {
            Some(run) => Some(time(operation, run, device, ceilings.dtype, i == 1, runs).await),
            None => None,
        };
        let (bytes, flop) = (operation.bytes[i] / 4 * size(ceilings.dtype), operation.flop[i]);
        let rate = |amount: usize| amount as f64 / ours / 1e6;
        let name = if i == 0 { operation.name.as_str() } else { name };
        let computed = if flop == 0 { "–".to_owned() } else { format!("{:.1}", rate(flop)) };
        let launched = if launched == 0 { "–".to_owned() } else { launched.to_string() };
        let (plain_ms, times) = match plain {
            Some(ms) => (format!("{ms:.2}"), format!("{:.1}", ms / ours)),
            None => ("–".to_owned(), "–".to_owned()),
        };
        lines.push(format!(
            "{name:<47} {ours:>9.2} {:>8.1} {computed:>8} {:>8.0}% {launched:>9} {plain_ms:>9} {times:>6}",
            rate(bytes),
            100.0 * ceilings.bound(bytes, flop) / ours
        ));
    }
    lines.join("\n")
}

/// Launches of this project's kernels so far; the gradients' count includes those of the values.
fn launches() -> u64 {
    #[cfg(feature = "cube")]
    return tu_kernels::cube::launches();
    #[cfg(not(feature = "cube"))]
    0
}

/// Least milliseconds of `runs` after one that does not count, from the first launch until one number of every result has been read.
async fn time(
    operation: &Operation,
    run: &Run,
    device: &Device,
    dtype: FloatDType,
    backward: bool,
    runs: usize,
) -> f64 {
    let device = if backward { device.clone().autodiff() } else { device.clone() };
    let random =
        |size: &usize| Tensor::<1>::random([*size], Distribution::Uniform(-1.0, 1.0), &device).cast(dtype);
    let mut inputs: Vec<_> = operation.inputs.iter().map(random).collect();
    if backward {
        inputs = inputs.into_iter().map(Tensor::require_grad).collect();
    }
    let mut best = f64::INFINITY;
    for count in 0..=runs {
        let mut start = milliseconds();
        let output = run(&inputs);
        if backward {
            wait(output.clone().inner()).await;
            let loss = output.sum();
            start = milliseconds();
            let mut grads = loss.backward();
            for gradient in inputs.iter().filter_map(|input| input.grad_remove(&mut grads)) {
                wait(gradient).await;
            }
        } else {
            wait(output).await;
        }
        if count > 0 {
            best = best.min(milliseconds() - start);
        }
    }
    best
}

/// Reads one number, which waits for the tensor.
async fn wait(tensor: Tensor<1>) {
    let one = tensor.narrow(0, 0, 1).cast(FloatDType::F32);
    let read = one.into_data_async().await.ok().and_then(|data| data.try_into_vec::<f32>().ok());
    std::hint::black_box(read);
}
