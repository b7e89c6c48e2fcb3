//! Self-checks on a device (see `common/adapter.rs`): it passes them, and a wrong kernel that really runs there is named.
#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]
use crate::common::adapter::{adapter, is_cpu};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Device, FloatDType, Tensor, read_sync};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::{CubeCount, CubeDim};
use tu_kernels::gelu::GeluBackend;
use tu_kernels::selfcheck::{Kernel, Passes, SelfCheckError, run_short_checks, short_checks};

/// Kernels with the errors that kernels have.
mod broken {
    use cubecl::prelude::*;

    /// The unit by the logistic function, a rough approximation.
    #[cube(launch)]
    pub(super) fn rough(x: &[f32], y: &mut [f32]) {
        if ABSOLUTE_POS < x.len() {
            let value = x[ABSOLUTE_POS];
            y[ABSOLUTE_POS] = value / (1.0f32 + (-1.702f32 * value).exp());
        }
    }

    /// Leaves the last element unwritten.
    #[cube(launch)]
    pub(super) fn unfinished(x: &[f32], y: &mut [f32]) {
        if ABSOLUTE_POS + 1 < x.len() {
            let value = x[ABSOLUTE_POS];
            y[ABSOLUTE_POS] = value / (1.0f32 + (-1.702f32 * value).exp());
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Rough,
    Unfinished,
}

#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
trait BrokenBackend: Backend {
    /// The unit, wrong on a GPU.
    fn broken(x: FloatTensor<Self>, fault: Fault) -> FloatTensor<Self>;
}

impl BrokenBackend for Flex {
    fn broken(x: FloatTensor<Self>, _fault: Fault) -> FloatTensor<Self> {
        Self::gelu_exact(x)
    }
}

impl BrokenBackend for CubeBackend {
    fn broken(x: FloatTensor<Self>, fault: Fault) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let (client, shape) = (x.client.clone(), x.shape());
        let items = shape.num_elements() as u32;
        let y = empty_device_contiguous_dtype(client.clone(), x.device.clone(), shape, DType::F32);
        let (count, dim) = (CubeCount::Static(items.div_ceil(64), 1, 1), CubeDim::new_1d(64));
        let (from, to) = (x.into_buffer_arg(), y.clone().into_buffer_arg());
        match fault {
            Fault::Rough => broken::rough::launch(&client, count, dim, from, to),
            Fault::Unfinished => broken::unfinished::launch(&client, count, dim, from, to),
        }
        y
    }
}

fn broken(x: Tensor<1>, fault: Fault) -> Tensor<1> {
    Tensor::from_dispatch(<Dispatch as BrokenBackend>::broken(x.into_dispatch(), fault))
}

#[test]
fn a_device_passes_the_short_form() {
    let Some((device, _guard)) = adapter() else { return };
    run_short_checks(&device, Passes::Values).unwrap();
    run_short_checks(&device.autodiff(), Passes::ValuesAndGradients).unwrap();
}

#[test]
fn a_broken_kernel_is_named() {
    let Some((device, _guard)) = adapter() else { return };
    if is_cpu(&device) {
        eprintln!("SKIPPED: the broken kernels are those of a GPU");
        return;
    }
    for fault in [Fault::Rough, Fault::Unfinished] {
        let check = short_checks().into_iter().find(|check| check.kernel() == Kernel::Gelu).unwrap();
        let check = check.with_operation(Box::new(move |x| broken(x[0].clone(), fault)));
        let verdict = read_sync(check.verdict(&device, FloatDType::F32, Passes::Values)).unwrap();
        assert!(!verdict.agrees() && verdict.kernel == Kernel::Gelu, "{fault:?}: {verdict}");
        // what was not written is the NaN that had been there before
        let unwritten = verdict.worst().unwrap().error.is_nan();
        assert_eq!(unwritten, fault == Fault::Unfinished, "{verdict}");
        let message = SelfCheckError::Wrong(verdict).to_string();
        assert!(message.contains("gelu") && message.contains("values off by"), "{message}");
    }
}

/// The same operations are right on the CPU, so that the test above fails for the kernels' sake.
#[test]
fn the_cpu_twin_of_the_broken_kernel_is_right() {
    let x = Tensor::<1>::from_floats([-3.0, 0.5, 2.0], &Device::flex());
    let right = tu_kernels::gelu(x.clone()).into_data();
    assert_eq!(broken(x, Fault::Unfinished).into_data(), right);
}
