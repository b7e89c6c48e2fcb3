//! Times every operation of EMmamba against what the device allows and against burn's own operations:
//! `cargo run --release -p tu-kernels [--features wgpu|cuda] --example kernel_speed -- [tiny|small|base] [f16|bf16] [z y x [runs]]`.
//!
//! `z y x` is the window, 16 160 160 unless told otherwise. With a half type tensors have it, where a device offers it. `of bound` compares with the time that a copy of the inputs and
//! outputs, or a matrix product of as many FLOP, takes on the same device: burn's, measured in the same run. Gradients are all of an operation's.
//! The test `browser_speed` prints the same table in a browser.
#![allow(clippy::print_stdout, reason = "the example's output")]

mod clock;
mod measure;
mod operations;

use burn::tensor::{Device, FloatDType, read_sync};
use measure::{Ceilings, HEADER, lines};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let preset =
        words.iter().map(String::as_str).find(|word| ["small", "base"].contains(word)).unwrap_or("tiny");
    let (widths, k) = match preset {
        "base" => ([32, 64, 128, 256, 512], 5),
        "small" => ([16, 32, 64, 128, 256], 3),
        _ => ([8, 16, 32, 64, 128], 5),
    };
    let numbers: Vec<usize> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let at = |i: usize, otherwise| numbers.get(i).copied().unwrap_or(otherwise);
    let window_zyx = [at(0, 16), at(1, 160), at(2, 160)];
    let runs = at(3, 3);
    let has = |name: &str| words.iter().any(|word| word == name);
    let dtype = match (has("f16"), has("bf16")) {
        (true, _) => FloatDType::F16,
        (_, true) => FloatDType::BF16,
        _ => FloatDType::F32,
    };
    for (name, device) in devices() {
        if !device.supports_dtype(dtype) {
            println!("{name} does not offer {dtype:?}");
            continue;
        }
        let ceilings = read_sync(Ceilings::measure(&device, dtype, 1 << 25, 2048, runs));
        println!("{name}, {preset}, {dtype:?}, window {window_zyx:?}: {}", ceilings.describe());
        println!("{HEADER}");
        for operation in operations::operations(widths, k, window_zyx) {
            println!("{}", read_sync(lines(&operation, &device, &ceilings, runs)));
        }
    }
}

fn devices() -> Vec<(&'static str, Device)> {
    #[cfg_attr(
        not(any(feature = "cuda", feature = "wgpu")),
        expect(unused_mut, reason = "the CPU is the only device of this build")
    )]
    let mut devices = vec![("CPU", Device::flex())];
    #[cfg(feature = "cuda")]
    devices.push(("cuda", Device::cuda(0usize)));
    #[cfg(feature = "wgpu")]
    match Device::wgpu_options().init() {
        Ok(device) => devices.push(("wgpu", device)),
        Err(error) => println!("no wgpu adapter: {error:?}"),
    }
    devices
}
