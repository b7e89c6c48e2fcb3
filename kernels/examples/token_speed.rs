//! Times the operations around the scans of a Mamba block against the same chains of burn's tensor operations, on every
//! device of this build:
//! `cargo run --release -p tu-kernels --features wgpu --example token_speed -- [tiny|base [z y x [runs]]]`.
//!
//! `z y x` is the window, 24 96 96 unless told otherwise; a stage works on 1/2, 1/4, … of its y and x. Times are the
//! least of `runs` (3), from the first launch until one number of every result has been read back. Backward is all
//! gradients, and one product of the size of the output that makes its gradient. Bytes are those of the inputs and
//! outputs alone, each once. Projections are burn's products on both sides: a product for each output
//! against one product and copies of its slices, and W·yᵀ against y·Wᵀ and a transposition.
#![allow(clippy::print_stdout, reason = "the example's output")]
use std::time::Instant;

use burn::tensor::activation::silu;
use burn::tensor::{Device, Distribution, Tensor, read_sync};
use tu_kernels::{ScanOrder, causal_conv_silu, gated_direction_sum, layer_norm_tokens};

/// Taps of the convolution.
const TAPS: usize = 4;
/// States of the scan.
const STATES: usize = 16;

/// Flat inputs to the outputs.
type Run = Box<dyn Fn(&[Tensor<1>]) -> Vec<Tensor<3>>>;

/// An operation, ours and as burn's tensor operations.
struct Operation {
    name: String,
    /// Elements of every input.
    inputs: Vec<usize>,
    /// Bytes moved by the values and by the gradients.
    bytes: [usize; 2],
    ours: Run,
    plain: Run,
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let widths =
        if words.first().is_some_and(|word| word == "base") { [32, 64, 128, 256] } else { [8, 16, 32, 64] };
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let at = |i: usize, otherwise| numbers.get(i).copied().unwrap_or(otherwise);
    let [depth, height, width] = [at(0, 24), at(1, 96), at(2, 96)];
    for (name, device) in devices() {
        println!("{name}: times in ms, GB/s in brackets, x times as fast as burn's tensor operations");
        for (stage, channels) in widths.into_iter().enumerate() {
            let tokens = depth * (height >> (stage + 1)) * (width >> (stage + 1));
            println!("stage {stage}: {tokens} tokens, {channels} channels");
            for operation in operations(tokens, channels, depth) {
                report(&operation, &device, at(3, 3));
            }
        }
    }
}

fn devices() -> Vec<(&'static str, Device)> {
    let mut devices = Vec::new();
    #[cfg(feature = "cuda")]
    devices.push(("cuda", Device::cuda(0usize)));
    #[cfg(feature = "wgpu")]
    match Device::wgpu_options().init() {
        Ok(device) => devices.push(("wgpu", device)),
        Err(error) => println!("no wgpu adapter: {error:?}"),
    }
    devices.push(("flex", Device::flex()));
    devices
}

/// The operations of a Mamba block of `c` channels over `l` tokens.
fn operations(l: usize, c: usize, slices: usize) -> Vec<Operation> {
    let e = 2 * c;
    let mut found = vec![layer_norm(l, c), projection("in_proj", l, c, vec![e, e])];
    for order in [ScanOrder::Forward, ScanOrder::Backward, ScanOrder::InterSlice { slices }] {
        found.push(causal_conv(l, e, order));
    }
    found.push(projection("x_proj", l, e, vec![c.div_ceil(16), STATES, STATES]));
    found.push(gate(l, e, slices));
    found.push(channels_first(l, e, c));
    found
}

fn layer_norm(l: usize, c: usize) -> Operation {
    Operation {
        name: "layer norm".into(),
        inputs: vec![c * l, c, c],
        bytes: [2 * 4 * c * l, 3 * 4 * c * l],
        ours: Box::new(move |x| {
            vec![layer_norm_tokens(x[0].clone().reshape([1, c, l]), x[1].clone(), x[2].clone())]
        }),
        plain: Box::new(move |x| {
            let tokens = x[0].clone().reshape([1, c, l]).swap_dims(1, 2);
            let centred = tokens.clone() - tokens.mean_dim(2);
            let variance = centred.clone().powi_scalar(2).mean_dim(2);
            let unit = centred * (variance + 1e-5).sqrt().recip();
            vec![unit * x[1].clone().reshape([1, 1, c]) + x[2].clone().reshape([1, 1, c])]
        }),
    }
}

fn causal_conv(l: usize, e: usize, order: ScanOrder) -> Operation {
    Operation {
        name: format!("causal conv, {order:?}"),
        inputs: vec![l * e, e * TAPS, e],
        bytes: [2 * 4 * l * e, 3 * 4 * l * e],
        ours: Box::new(move |x| {
            let weight = x[1].clone().reshape([e, TAPS]);
            vec![causal_conv_silu(x[0].clone().reshape([1, l, e]), weight, x[2].clone(), order)]
        }),
        plain: Box::new(move |x| {
            let visited = visit(x[0].clone().reshape([1, l, e]), order);
            let padded = Tensor::cat(vec![Tensor::zeros([1, TAPS - 1, e], &visited.device()), visited], 1);
            let weight = x[1].clone().reshape([e, TAPS]);
            let mut sum = x[2].clone().reshape([1, 1, e]);
            for tap in 0..TAPS {
                let weight = weight.clone().narrow(1, tap, 1).reshape([1, 1, e]);
                sum = padded.clone().narrow(1, tap, l) * weight + sum;
            }
            vec![silu(sum)]
        }),
    }
}

/// Tokens `[1, L, E]` in visiting order.
fn visit(tokens: Tensor<3>, order: ScanOrder) -> Tensor<3> {
    match order {
        ScanOrder::Forward => tokens,
        ScanOrder::Backward => tokens.flip([1]),
        ScanOrder::InterSlice { slices } => transpose(tokens, slices),
    }
}

/// Reads L as (rows, L / rows) and transposes it.
fn transpose(tokens: Tensor<3>, rows: usize) -> Tensor<3> {
    let [b, l, e] = tokens.dims();
    tokens.reshape([b, rows, l / rows, e]).swap_dims(1, 2).reshape([b, l, e])
}

fn gate(l: usize, e: usize, slices: usize) -> Operation {
    let cubes = move |x: &[Tensor<1>]| [0, 1, 2, 3].map(|i| x[i].clone().reshape([1, l, e]));
    Operation {
        name: "gated sum".into(),
        inputs: vec![l * e; 4],
        bytes: [5 * 4 * l * e, 9 * 4 * l * e],
        ours: Box::new(move |x| {
            let [forward, backward, slice, z] = cubes(x);
            vec![gated_direction_sum(forward, backward, slice, z, slices)]
        }),
        plain: Box::new(move |x| {
            let [forward, backward, slice, z] = cubes(x);
            vec![(forward + backward.flip([1]) + transpose(slice, l / slices)) * silu(z)]
        }),
    }
}

/// `x [L, in]` times a weight whose outputs are several tensors.
fn projection(name: &str, l: usize, input: usize, sizes: Vec<usize>) -> Operation {
    let width: usize = sizes.iter().sum();
    let product = move |x: &Tensor<1>, weight: Tensor<2>| {
        let [out, _] = weight.dims();
        x.clone().reshape([l, input]).matmul(weight.transpose()).reshape([1, l, out])
    };
    let pieces = sizes.clone();
    Operation {
        name: format!("{name} to {sizes:?}"),
        inputs: vec![l * input, width * input],
        bytes: [4 * l * (input + width), 4 * l * (2 * input + width)],
        ours: Box::new(move |x| {
            let mut start = 0;
            let weight = x[1].clone().reshape([width, input]);
            let part = |size: &usize| {
                start += size;
                product(&x[0], weight.clone().narrow(0, start - size, *size))
            };
            sizes.iter().map(part).collect()
        }),
        plain: Box::new(move |x| {
            let whole = product(&x[0], x[1].clone().reshape([width, input]));
            let mut start = 0;
            let part = |size: &usize| {
                start += size;
                contiguous(whole.clone().narrow(2, start - size, *size))
            };
            pieces.iter().map(part).collect()
        }),
    }
}

/// A copy in C order, as a kernel makes it of a slice.
fn contiguous(tensor: Tensor<3>) -> Tensor<3> {
    let dims = tensor.dims();
    let elements: usize = dims.iter().product();
    tensor.reshape([elements]).reshape(dims)
}

/// The output projection with its transposition to channels first.
fn channels_first(l: usize, e: usize, c: usize) -> Operation {
    Operation {
        name: "out_proj".into(),
        inputs: vec![l * e, c * e],
        bytes: [4 * l * (e + c), 4 * l * (2 * e + c)],
        ours: Box::new(move |x| {
            let weight = x[1].clone().reshape([1, c, e]);
            vec![weight.matmul(x[0].clone().reshape([1, l, e]).swap_dims(1, 2))]
        }),
        plain: Box::new(move |x| {
            let weight = x[1].clone().reshape([c, e]).transpose();
            let y = x[0].clone().reshape([l, e]).matmul(weight).reshape([1, l, c]);
            vec![contiguous(y.swap_dims(1, 2))]
        }),
    }
}

fn report(operation: &Operation, device: &Device, runs: usize) {
    print!("  {:40}", operation.name);
    for (i, name) in ["values", "backward"].into_iter().enumerate() {
        let [ours, plain] =
            [&operation.ours, &operation.plain].map(|run| time(operation, run, device, i == 1, runs));
        let rate = 1e-6 * operation.bytes[i] as f64 / ours;
        print!("  {name} {ours:8.3} ({rate:5.1}) {:6.2}x", plain / ours);
    }
    println!();
}

/// Least milliseconds of the values or of all gradients.
fn time(operation: &Operation, run: &Run, device: &Device, backward: bool, runs: usize) -> f64 {
    let device = if backward { device.clone().autodiff() } else { device.clone() };
    let random = |size: &usize| Tensor::<1>::random([*size], Distribution::Uniform(-1.0, 1.0), &device);
    let mut inputs: Vec<_> = operation.inputs.iter().map(random).collect();
    if backward {
        inputs = inputs.into_iter().map(Tensor::require_grad).collect();
    }
    let mut best = f64::INFINITY;
    for _ in 0..=runs {
        let mut start = Instant::now();
        let outputs = run(&inputs);
        if !backward {
            outputs.into_iter().for_each(wait);
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
            continue;
        }
        let weighted = |y: Tensor<3>| (y.clone() * y.random_like(Distribution::Uniform(-1.0, 1.0))).sum();
        let losses = outputs.into_iter().map(weighted);
        let Some(loss) = losses.reduce(|a, b| a + b) else { continue };
        wait(loss.clone().inner());
        start = Instant::now();
        let mut grads = loss.backward();
        inputs.iter().filter_map(|input| input.grad_remove(&mut grads)).for_each(wait);
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    best
}

/// Reads one number, which waits for the tensor.
fn wait<const D: usize>(tensor: Tensor<D>) {
    let one = tensor.slice([const { 0..1 }; D]);
    let read = read_sync(one.into_data_async()).ok().and_then(|data| data.try_into_vec::<f32>().ok());
    std::hint::black_box(read);
}
