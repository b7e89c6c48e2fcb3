//! The check of a device's convolution gradient, on the devices this build has.
#![cfg(all(feature = "autodiff", not(target_arch = "wasm32")))]

#[cfg(feature = "flex")]
#[test]
fn the_cpu_computes_the_convolution_weight_gradient_right() {
    let error = tu_kernels::selfcheck::conv3d_weight_gradient(&burn::tensor::Device::flex()).unwrap();
    assert!(error < 1e-5, "{error:e}");
}

/// Drivers differ: what matters is that the check gives a verdict and says what to do about a bad one.
#[cfg(feature = "wgpu")]
#[test]
fn a_graphics_adapter_is_judged() {
    let device = match burn::tensor::Device::wgpu_options().init() {
        Ok(device) => device,
        Err(error) => {
            eprintln!("SKIPPED: no wgpu adapter ({error:?})");
            return;
        }
    };
    match tu_kernels::selfcheck::conv3d_weight_gradient(&device) {
        Ok(error) => eprintln!("this adapter is right to {error:.1e}"),
        Err(error) => {
            eprintln!("this adapter must not train: {error}");
            assert!(error.to_string().contains("train on the CPU"));
        }
    }
}
