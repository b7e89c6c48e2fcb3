//! The operations around a scan on WebGPU in a browser's worker, against f64.
//!
//! `CHROMEDRIVER=/usr/bin/chromedriver WASM_BINDGEN_TEST_TIMEOUT=300 wasm-pack test --headless --chrome --release
//! kernels --no-default-features --features webgpu,flex,autodiff --test browser_tokens`
#![cfg(all(target_arch = "wasm32", feature = "webgpu", feature = "flex", feature = "autodiff"))]
mod common;
use burn::tensor::Device;
use common::gelu::gelu_cases;
use common::projection::projection_cases;
use common::three_orders::check_three_orders;
use common::tokens::{check, conv_cases, gate_cases, norm_cases};
use wasm_bindgen_test::{wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

async fn check_all(device: &Device) {
    for case in conv_cases() {
        check(&case, device, 1e-5).await;
    }
    check_three_orders(device, 1e-5).await;
    for case in gate_cases() {
        check(&case, device, 1e-5).await;
    }
    for case in norm_cases() {
        check(&case, device, 2e-5).await;
    }
    for case in gelu_cases() {
        check(&case, device, 2e-6).await;
    }
    for case in projection_cases() {
        check(&case, device, 1e-5).await;
    }
}

/// All on the device in one test: a worker opens its device once.
#[wasm_bindgen_test]
async fn values_and_gradients_agree_with_f64_on_webgpu() {
    check_all(&Device::wgpu_options().init_async().await.unwrap()).await;
}

#[wasm_bindgen_test]
async fn the_cpu_twins_agree_with_f64_without_threads() {
    check_all(&Device::flex()).await;
}
