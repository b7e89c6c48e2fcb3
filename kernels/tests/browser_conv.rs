//! The tiled convolution and row normalisation on WebGPU in a browser's worker, against the f64 reference.
//!
//! `CHROMEDRIVER=/usr/bin/chromedriver WASM_BINDGEN_TEST_TIMEOUT=300 wasm-pack test --headless --chrome --release
//! kernels --no-default-features --features webgpu,flex,autodiff --test browser_conv`
#![cfg(all(target_arch = "wasm32", feature = "webgpu", feature = "flex", feature = "autodiff"))]
mod common;
use burn::tensor::Device;
use common::HALF_TYPES;
use common::convolution::{ConvInputs, conv_shapes};
use common::normalisation::{check_rows, check_rows_in};
use tu_kernels::conv::ConvAlgorithm;
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

/// All on the device in one test: a worker opens its device once.
#[wasm_bindgen_test]
async fn convolutions_and_normalised_rows_agree_with_f64_on_webgpu() {
    let device = Device::wgpu_options().init_async().await.unwrap();
    for (seed, shape) in conv_shapes().into_iter().enumerate() {
        ConvInputs::new(shape, seed as u64 + 1).check(&device, ConvAlgorithm::Tiled, 1e-5).await;
    }
    for (rows, n) in [(1, 1), (5, 3), (100, 16), (2, 257), (2, 4097), (1, 50_003)] {
        check_rows(rows, n, [1.0, 0.0], &device, 2e-5).await;
    }
    check_rows(1, 100_000, [1.0, 1000.0], &device, 1e-4).await;
    let (half, bit) = HALF_TYPES[0];
    if device.supports_dtype(half) {
        for (seed, shape) in conv_shapes().into_iter().enumerate() {
            let inputs = ConvInputs::new(shape, seed as u64 + 1);
            inputs.check_in(half, &device, ConvAlgorithm::Tiled, bit).await;
        }
        for (rows, n) in [(1, 1), (5, 3), (2, 4097)] {
            check_rows_in(half, rows, n, [1.0, 0.5], &device, 4.0 * bit).await;
        }
    } else {
        console_log!("SKIPPED in part: the adapter has no shader-f16");
    }
}

#[wasm_bindgen_test]
async fn the_cpu_twins_agree_with_f64_without_threads() {
    for (seed, shape) in conv_shapes().into_iter().enumerate() {
        ConvInputs::new(shape, seed as u64 + 1).check(&Device::flex(), ConvAlgorithm::ByDevice, 1e-5).await;
    }
    check_rows(3, 4097, [1.0, 0.0], &Device::flex(), 2e-5).await;
}
