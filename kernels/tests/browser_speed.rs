//! The table of `examples/kernel_speed` in a browser's worker, on WebGPU. It checks nothing, so it runs where asked for alone:
//!
//! `CHROMEDRIVER=/usr/bin/chromedriver WASM_BINDGEN_TEST_TIMEOUT=1200 wasm-pack test --headless --chrome --release kernels
//! --no-default-features --features webgpu,flex,autodiff --test browser_speed -- --include-ignored --nocapture`
#![cfg(all(target_arch = "wasm32", feature = "webgpu", feature = "flex", feature = "autodiff"))]
#[path = "../examples/kernel_speed/clock.rs"]
mod clock;
#[path = "../examples/kernel_speed/measure.rs"]
mod measure;
#[path = "../examples/kernel_speed/operations.rs"]
mod operations;

use burn::tensor::{Device, FloatDType};
use measure::{Ceilings, HEADER, lines};
use wasm_bindgen_test::{console_log, wasm_bindgen_test, wasm_bindgen_test_configure};

wasm_bindgen_test_configure!(run_in_dedicated_worker);

#[wasm_bindgen_test]
#[ignore = "a measurement"]
async fn every_operation_of_tiny() {
    const WINDOW_ZYX: [usize; 3] = [16, 96, 96];
    let webgpu = Device::wgpu_options().init_async().await.unwrap();
    for (name, device) in [("WebAssembly, one thread", Device::flex()), ("WebGPU", webgpu)] {
        let ceilings = Ceilings::measure(&device, FloatDType::F32, 1 << 23, 512, 1).await;
        console_log!("{name}, tiny, window {WINDOW_ZYX:?}: {}", ceilings.describe());
        console_log!("{HEADER}");
        for operation in operations::operations([8, 16, 32, 64, 128], 5, WINDOW_ZYX) {
            console_log!("{}", lines(&operation, &device, &ceilings, 1).await);
        }
    }
}
