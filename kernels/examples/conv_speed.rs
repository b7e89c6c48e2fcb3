//! Times the convolutions of EMmamba against burn's own, on every device of this build:
//! `cargo run --release -p tu-kernels --features wgpu --example conv_speed -- [tiny|base [z y x [runs]]]`.
//!
//! `z y x` is the window, 24 96 96 unless told otherwise. Times are the least of `runs` (3), from the first launch until
//! one number of every result has been read back: a launch alone returns before the device has worked. Backward is both
//! gradients. FLOP are 2 per product, taps in the padding included.
#![allow(clippy::print_stdout, reason = "the example's output")]
use std::time::Instant;

use burn::tensor::{Device, Distribution, Tensor, read_sync};
use tu_kernels::conv::{ConvAlgorithm, ConvShape, conv_same_with};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let base = words.first().is_some_and(|word| word == "base");
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let at = |i: usize, otherwise| numbers.get(i).copied().unwrap_or(otherwise);
    let window = [at(0, 24), at(1, 96), at(2, 96)];
    for (name, device) in devices() {
        println!("{name}: times in ms, GFLOP/s in brackets, x times as fast as burn");
        for (shape, uses) in shapes(base, window) {
            report(&shape, uses, &device, at(3, 3));
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

/// Every size-keeping convolution of a network, with the number of times that one forward pass runs it.
fn shapes(base: bool, [depth, height, width]: [usize; 3]) -> Vec<(ConvShape, usize)> {
    let widths = if base { [32, 64, 128, 256, 512] } else { [8, 16, 32, 64, 128] };
    let conv = |input, output, level: usize, kernel_zyx| ConvShape {
        batch: 1,
        input,
        output,
        size_zyx: [depth, height >> level, width >> level],
        kernel_zyx,
    };
    let mut shapes = vec![(conv(1, widths[0], 0, [1, 5, 5]), 1)];
    for (level, &w) in widths.iter().enumerate() {
        // the second one of every residual block; at full resolution, both of the last block too
        let same = [4, 2, 2, 2, 1][level];
        shapes.push((conv(w, w, level, [1, 5, 5]), same));
        if level < 4 {
            shapes.push((conv(2 * w, w, level, [1, 5, 5]), 1));
            shapes.push((conv(w, widths[level + 1], level + 1, [1, 5, 5]), 1));
            shapes.push((conv(w, w, level + 1, [3, 3, 3]), 2));
        }
    }
    shapes
}

fn report(shape: &ConvShape, uses: usize, device: &Device, runs: usize) {
    let ours = [false, true].map(|backward| time(shape, device, ConvAlgorithm::Tiled, backward, runs));
    let ConvShape { input, output, size_zyx, kernel_zyx, .. } = shape;
    print!("{uses} of {input:3} to {output:3}, {size_zyx:?}, kernel {kernel_zyx:?}:");
    let cpu = *device == Device::flex();
    let theirs = (!cpu)
        .then(|| [false, true].map(|backward| time(shape, device, ConvAlgorithm::Burn, backward, runs)));
    for (i, name) in ["values", "backward"].into_iter().enumerate() {
        let rate = 2e-6 * shape.products() as f64 * [1.0, 2.0][i] / ours[i];
        print!("  {name} {:.2} ({rate:.1})", ours[i]);
        if let Some(theirs) = theirs {
            print!(" {:.2}x", theirs[i] / ours[i]);
        }
    }
    println!();
}

/// Least milliseconds of the values or of both gradients.
fn time(shape: &ConvShape, device: &Device, algorithm: ConvAlgorithm, backward: bool, runs: usize) -> f64 {
    let ConvShape { batch, input, output, size_zyx: [d, h, w], kernel_zyx: [kz, ky, kx] } = *shape;
    let device = if backward { device.clone().autodiff() } else { device.clone() };
    let random = |dims: [usize; 5]| Tensor::<5>::random(dims, Distribution::Uniform(-1.0, 1.0), &device);
    let (mut x, mut weight) = (random([batch, input, d, h, w]), random([output, input, kz, ky, kx]));
    if backward {
        (x, weight) = (x.require_grad(), weight.require_grad());
    }
    let mut best = f64::INFINITY;
    for _ in 0..=runs {
        let run = || conv_same_with(x.clone(), weight.clone(), algorithm);
        let y = run();
        if !backward {
            wait(y);
            let start = Instant::now();
            wait(run());
            best = best.min(start.elapsed().as_secs_f64() * 1e3);
            continue;
        }
        wait(y.clone().inner());
        let start = Instant::now();
        let mut grads = y.sum().backward();
        for found in [x.grad_remove(&mut grads), weight.grad_remove(&mut grads)].into_iter().flatten() {
            wait(found);
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e3);
    }
    best
}

/// Reads one number, which waits for the tensor.
fn wait(tensor: Tensor<5>) {
    let one = tensor.slice([0..1, 0..1, 0..1, 0..1, 0..1]);
    let read = read_sync(one.into_data_async()).ok().and_then(|data| data.try_into_vec::<f32>().ok());
    std::hint::black_box(read);
}
