//! Times every operation of EMmamba against what the device allows and against burn's own operations:
//! `cargo run --release -p tu-kernels [--features wgpu|cuda] --example kernel_speed -- [cpu|wgpu|cuda] [tiny|small|base] [f16|bf16] [z y x [runs]]`.
//!
//! Every device of the build is measured unless one is named. `z y x` is the window, 16 160 160 unless told otherwise. With a half
//! type tensors have it, where a device offers it. `of bound` compares with the time that a copy of the inputs and outputs, or a
//! matrix product of as many FLOP, takes on the same device: burn's, measured in the same run. Gradients are all of an operation's.
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
    let named = ["cpu", "wgpu", "cuda"].into_iter().find(|name| has(name));
    let devices = devices(named);
    if devices.is_empty() {
        eprintln!("this build has no device {}, or it does not answer", named.unwrap_or_default());
        std::process::exit(1);
    }
    for (name, device) in devices {
        if !device.supports_dtype(dtype) {
            println!("{name} does not offer {dtype:?}");
            continue;
        }
        // Large enough that a card with terabytes and hundreds of TFLOP/s is not timed at starting its kernels.
        let (floats, side) = if name == "cuda" { (1 << 28, 8192) } else { (1 << 25, 2048) };
        let ceilings = read_sync(Ceilings::measure(&device, dtype, floats, side, runs));
        println!("{name}, {preset}, {dtype:?}, window {window_zyx:?}: {}", ceilings.describe());
        println!("{HEADER}");
        for operation in operations::operations(widths, k, window_zyx) {
            println!("{}", read_sync(lines(&operation, &device, &ceilings, runs)));
        }
    }
}

/// Devices of this build: the one of that name, or all.
fn devices(named: Option<&str>) -> Vec<(&'static str, Device)> {
    let wanted = |name: &str| named.is_none_or(|named| named == name);
    let mut devices = Vec::new();
    if wanted("cpu") {
        devices.push(("CPU", Device::flex()));
    }
    #[cfg(feature = "cuda")]
    if wanted("cuda") {
        devices.push(("cuda", Device::cuda(0usize)));
    }
    #[cfg(feature = "wgpu")]
    if wanted("wgpu") {
        match Device::wgpu_options().init() {
            Ok(device) => devices.push(("wgpu", device)),
            Err(error) => println!("no wgpu adapter: {error:?}"),
        }
    }
    devices
}
