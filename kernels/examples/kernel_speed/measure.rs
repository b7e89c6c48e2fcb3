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
        let (copy, _) = quickest(runs, || vector.clone() + 1.0).await;
        let (product, _) =
            quickest(runs, || matrix.clone().matmul(matrix.clone()).reshape([side * side])).await;
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
        let (ours, times) = time(operation, &operation.ours, device, ceilings.dtype, i == 1, runs).await;
        let launched = (launches() - before) / times as u64;
        let plain = match &operation.plain {
            Some(run) => Some(time(operation, run, device, ceilings.dtype, i == 1, runs).await.0),
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

/// Milliseconds that a measurement should fill, so that waiting for the device is a small part of it, and how many
/// times over an operation is asked for at most.
const ENOUGH_MS: f64 = 4.0;
const MOST_AT_ONCE: f64 = 32.0;

/// Least milliseconds of `runs` in which a tensor is computed, until a number of it has been read, and how often it was computed in
/// all. A first run compiles and a second says how often to compute it between two readings; neither counts.
async fn quickest(runs: usize, ask: impl Fn() -> Tensor<1>) -> (f64, usize) {
    let once = async |at_once: usize| {
        let start = milliseconds();
        for _ in 1..at_once {
            std::hint::black_box(ask());
        }
        wait(ask()).await;
        (milliseconds() - start) / at_once as f64
    };
    once(1).await;
    let at_once = (ENOUGH_MS / once(1).await).clamp(1.0, MOST_AT_ONCE) as usize;
    let mut best = f64::INFINITY;
    for _ in 0..runs {
        best = best.min(once(at_once).await);
    }
    (best, 2 + runs * at_once)
}

/// Least milliseconds of `runs` after those that do not count, from the first launch until one number of every result has been read, and
/// how often the operation was computed in all.
async fn time(
    operation: &Operation,
    run: &Run,
    device: &Device,
    dtype: FloatDType,
    backward: bool,
    runs: usize,
) -> (f64, usize) {
    let device = if backward { device.clone().autodiff() } else { device.clone() };
    let random =
        |size: &usize| Tensor::<1>::random([*size], Distribution::Uniform(-1.0, 1.0), &device).cast(dtype);
    let mut inputs: Vec<_> = operation.inputs.iter().map(random).collect();
    if !backward {
        return quickest(runs, || run(&inputs)).await;
    }
    inputs = inputs.into_iter().map(Tensor::require_grad).collect();
    let mut best = f64::INFINITY;
    for count in 0..=runs {
        let output = run(&inputs);
        wait(output.clone().inner()).await;
        let loss = output.sum();
        let start = milliseconds();
        let mut grads = loss.backward();
        for gradient in inputs.iter().filter_map(|input| input.grad_remove(&mut grads)) {
            wait(gradient).await;
        }
        if count > 0 {
            best = best.min(milliseconds() - start);
        }
    }
    (best, runs + 1)
}

/// Reads one number, which waits for the tensor.
async fn wait(tensor: Tensor<1>) {
    let one = tensor.narrow(0, 0, 1).cast(FloatDType::F32);
    let read = one.into_data_async().await.ok().and_then(|data| data.try_into_vec::<f32>().ok());
    std::hint::black_box(read);
}
