//! Sizes of launches, and their count.

use core::sync::atomic::{AtomicU64, Ordering};

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::ir::ElemType;
use cubecl::prelude::{CubeCount, CubeDim};

use super::{MAX_GRADIENT_CHUNK, UNITS};
use crate::ScanShape;

/// Launches of one scan.
pub const FORWARD_LAUNCHES: u64 = 3;
/// Launches of the gradients of one scan.
pub const GRADIENT_LAUNCHES: u64 = 5;

/// WebGPU's limit of cubes along one axis.
const CUBES_PER_AXIS: u64 = 65_535;

static LAUNCHES: AtomicU64 = AtomicU64::new(0);

/// Kernels this crate has launched in this process. Copies that make inputs contiguous are burn's and not counted.
pub fn launches() -> u64 {
    LAUNCHES.load(Ordering::Relaxed)
}

/// Counts one launch.
pub(crate) fn count() {
    LAUNCHES.fetch_add(1, Ordering::Relaxed);
}

/// A tensor of f32 without content on the device of another.
pub(crate) fn empty(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), DType::F32)
}

/// A tensor without content on the device and in the type of another.
pub(crate) fn empty_in_type_of(like: &CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    empty_device_contiguous_dtype(like.client.clone(), like.device.clone(), shape.into(), like.dtype())
}

/// The type of a tensor's elements, as kernels that read several types take it.
pub(crate) fn element(of: &CubeTensor) -> ElemType {
    dtype_to_elem_type(of.dtype())
}

/// Enough cubes on two axes; kernels compare their position with the number wanted.
pub(crate) fn cubes(wanted: usize) -> CubeCount {
    let wanted = (wanted as u64).max(1);
    let rows = wanted.div_ceil(CUBES_PER_AXIS);
    CubeCount::Static(wanted.div_ceil(rows) as u32, rows as u32, 1)
}

/// Cubes for `items` units that work alone.
pub(crate) fn cubes_of_units(items: usize) -> (CubeCount, CubeDim) {
    (cubes(items.div_ceil(UNITS as usize)), CubeDim::new_1d(UNITS))
}

/// Tokens per chunk of a scan: enough chunks to fill a device, few enough for a short recurrence over them.
pub(super) fn forward_chunk(shape: &ScanShape) -> usize {
    let units_wanted = 32_768;
    (shape.tokens_by_channels() / units_wanted).clamp(32, 256).next_power_of_two()
}

/// Tokens per chunk of the backward pass.
pub(super) fn gradient_chunk(wanted: Option<usize>) -> usize {
    wanted.unwrap_or(32).clamp(1, MAX_GRADIENT_CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cubes_are_enough_and_within_the_limit_of_an_axis() {
        for wanted in [0, 1, 65_535, 65_536, 1_000_003, 70_000_000] {
            let CubeCount::Static(x, y, z) = cubes(wanted) else { panic!("static") };
            assert!(u64::from(x) * u64::from(y) * u64::from(z) >= wanted as u64);
            assert!(x >= 1 && x <= 65_535 && y <= 65_535);
        }
    }
}
