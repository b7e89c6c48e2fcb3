//! The Cube kernels on WebGPU in a browser's worker, against the f64 reference.
//!
//! `CHROMEDRIVER=/usr/bin/chromedriver WASM_BINDGEN_TEST_TIMEOUT=300 wasm-pack test --headless --chrome --release
//! kernels --no-default-features --features webgpu,flex,autodiff --test browser_scan`
#![cfg(all(target_arch = "wasm32", feature = "webgpu", feature = "flex", feature = "autodiff"))]
mod common;
use burn::tensor::Device;
use common::{check, shape};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
async fn values_and_gradients_agree_with_f64_on_webgpu() {
    let device = Device::wgpu_options().init_async().await.unwrap();
    for (seed, shape) in [
        shape(1, 1, 1, 1),
        shape(2, 17, 5, 4),
        shape(1, 1000, 16, 16),
        shape(1, 130, 33, 16),
        shape(1, 40, 18, 20),
    ]
    .into_iter()
    .enumerate()
    {
        check(shape, seed as u64 + 1, &device, 1e-4).await;
    }
    // A long sequence keeps its accuracy. In the same test: a worker opens its device once.
    check(shape(1, 20_000, 3, 16), 1, &device, 1e-4).await;
}

#[wasm_bindgen_test]
async fn the_cpu_scan_agrees_with_f64_without_threads() {
    for (seed, shape) in [shape(2, 17, 5, 4), shape(1, 1000, 17, 16)].into_iter().enumerate() {
        check(shape, seed as u64 + 1, &Device::flex(), 2e-5).await;
    }
}
