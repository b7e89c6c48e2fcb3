//! The native wgpu adapter, one test at a time.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::{Device, FloatDType, Tensor, read_sync};

use super::values;

/// One test at a time, so that the launches counted are its own; `None` without an adapter.
///
/// A process opens an adapter once: a second attempt fails, which must not look like a machine without one.
pub(crate) fn adapter() -> Option<(Device, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = OPENED.get_or_init(|| Device::wgpu_options().init().map_err(|error| format!("{error:?}")));
    match opened {
        Ok(device) => Some((device.clone(), guard)),
        Err(error) => {
            eprintln!(
                "SKIPPED: no wgpu adapter ({error}); install a Vulkan driver such as mesa-vulkan-drivers"
            );
            None
        }
    }
}

/// Whether the adapter computes in a type; says so where it does not.
pub(crate) fn offered(device: &Device, dtype: FloatDType) -> bool {
    let offered = device.supports_dtype(dtype);
    if !offered {
        eprintln!("SKIPPED: the wgpu adapter does not offer {dtype:?}");
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
