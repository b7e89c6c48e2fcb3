//! The device that tests run on, one test at a time.
//!
//! `TU_TEST_DEVICE` names it: `wgpu`, `cuda` or `cpu`. A device that is named has to open; without the variable a machine that
//! has no wgpu adapter skips the tests, and says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::{Device, FloatDType, Tensor, read_sync};
use tu_kernels::selfcheck::{Arithmetic, Kernel, Part, tolerance};

use super::values;

/// One test at a time, so that the launches counted are its own; `None` without an adapter.
///
/// A process opens an adapter once: a second attempt fails, which must not look like a machine without one.
pub(crate) fn adapter() -> Option<(Device, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let named = std::env::var("TU_TEST_DEVICE").ok();
    let name = named.as_deref().unwrap_or("wgpu");
    match OPENED.get_or_init(|| open(name)) {
        Ok(device) => Some((device.clone(), guard)),
        Err(error) => {
            assert!(named.is_none(), "TU_TEST_DEVICE={name}: it does not open: {error}");
            eprintln!(
                "SKIPPED: no wgpu adapter ({error}); install a Vulkan driver such as mesa-vulkan-drivers"
            );
            None
        }
    }
}

/// A device that has computed something. Drivers that are missing make the tensor library panic.
fn open(name: &str) -> Result<Device, String> {
    let device = match name {
        "cpu" => Device::flex(),
        #[cfg(feature = "wgpu")]
        "wgpu" => Device::wgpu_options().init().map_err(|error| format!("{error:?}"))?,
        #[cfg(feature = "cuda")]
        "cuda" => {
            catch_unwind(|| Device::cuda(0)).map_err(|_| "its driver could not be loaded".to_owned())?
        }
        other => {
            return Err(format!(
                "these tests were built without `{other}`; choose wgpu, cuda or cpu and build with it"
            ));
        }
    };
    let answer = catch_unwind(AssertUnwindSafe(|| read_sync(values(Tensor::<1>::ones([2], &device).sum()))));
    match answer.as_deref() {
        Ok([2.0]) => Ok(device),
        Ok(sum) => Err(format!("1 + 1 = {sum:?}")),
        Err(_) => Err("it does not answer".to_owned()),
    }
}

/// The launches to expect where so many are made on a GPU: the CPU makes none.
pub(crate) fn launches_on(device: &Device, on_gpu: u64) -> u64 {
    if is_cpu(device) { 0 } else { on_gpu }
}

/// Whether the tests run on the CPU.
pub(crate) fn is_cpu(device: &Device) -> bool {
    device.clone().without_autodiff() == Device::flex()
}

/// The largest error that passes where burn's own products or convolutions run: `exact`, or what tensor cores need.
pub(crate) fn limit_of_products(device: &Device, exact: f64) -> f64 {
    let of = |arithmetic| tolerance(arithmetic, FloatDType::F32, Kernel::Projection, Part::Values);
    match Arithmetic::of(device) {
        Arithmetic::Single => exact,
        cores @ Arithmetic::Tf32 => of(cores).max(exact),
    }
}

/// Whether the device computes in a type; says so where it does not.
pub(crate) fn offered(device: &Device, dtype: FloatDType) -> bool {
    let offered = device.supports_dtype(dtype);
    if !offered {
        eprintln!("SKIPPED: the device does not offer {dtype:?}");
    }
    offered
}

/// Leaves memory full of NaN behind, so that a kernel that does not write all of its output is noticed.
pub(crate) fn poison(device: &Device) {
    for count in [1_000, 10_000, 100_000, 1_000_000] {
        let tensors: Vec<_> = (0..4).map(|_| Tensor::<1>::full([count], f32::NAN, device)).collect();
        for tensor in tensors {
            assert!(read_sync(values(tensor)).iter().all(|x| x.is_nan()));
        }
    }
}
