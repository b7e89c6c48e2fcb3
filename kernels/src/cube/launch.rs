//! Sizes of launches, and their count.

use core::sync::atomic::{AtomicU64, Ordering};

use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::Client;
use cubecl::ir::ElemType;
use cubecl::prelude::{CubeCount, CubeDim};

use super::{LANES, MAX_GRADIENT_CHUNK, STRETCH, UNITS};
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

/// `[B, L, W]` with the rows of tokens at equal distances, and that distance in elements: columns of wider rows, and the
/// padded rows of a product, are read where they lie.
pub(crate) fn in_rows(tensor: CubeTensor) -> (CubeTensor, usize) {
    let ([batch, length, width], strides) = (tensor.shape().dims(), tensor.meta.strides());
    let row = if length > 1 { strides[1] } else { strides[0] };
    let sequences = batch <= 1 || length <= 1 || strides[0] == length * row;
    if !tensor.meta.is_tiled() && (width <= 1 || strides[2] == 1) && sequences && row >= width {
        return (tensor, row);
    }
    (into_contiguous(tensor), width)
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

/// Units that keep a multiprocessor of a GPU busy: eight planes of 32 for each of its four schedulers.
const UNITS_PER_PROCESSOR: usize = 1024;
/// Units wanted on a device that does not say how many processors it has.
const UNITS_WANTED: usize = 32_768;
/// Fewest tokens of a chunk: below, what is carried from chunk to chunk is most of the work.
const MIN_CHUNK: usize = 8;

/// A chunk for so many elements of work, one unit for each in every chunk: enough chunks to fill a device, few enough for a
/// short recurrence over them.
fn chunk_for(elements: usize, processors: Option<u32>) -> usize {
    let (wanted, least) = match processors {
        Some(processors) => (processors as usize * UNITS_PER_PROCESSOR, MIN_CHUNK),
        None => (UNITS_WANTED, 32),
    };
    (elements / wanted.max(1)).clamp(least, 256).next_power_of_two()
}

/// Tokens per chunk of the backward pass, the wanted number or one that leaves no processor without work: there a channel has
/// a unit for every state.
fn gradient_chunk_for(wanted: Option<usize>, shape: &ScanShape, processors: Option<u32>) -> usize {
    let elements = shape.tokens_by_channels() * shape.states.clamp(1, LANES);
    let own = || chunk_for(elements, processors).min(32);
    wanted.unwrap_or_else(own).clamp(1, MAX_GRADIENT_CHUNK).next_multiple_of(STRETCH)
}

fn processors(client: &Client) -> Option<u32> {
    client.properties().hardware.num_streaming_multiprocessors
}

/// Tokens per chunk of a scan on a device.
pub(super) fn forward_chunk(shape: &ScanShape, client: &Client) -> usize {
    chunk_for(shape.tokens_by_channels(), processors(client))
}

/// Tokens per chunk of the backward pass on a device.
pub(super) fn gradient_chunk(wanted: Option<usize>, shape: &ScanShape, client: &Client) -> usize {
    gradient_chunk_for(wanted, shape, processors(client))
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

    fn scan(length: usize, channels: usize) -> ScanShape {
        ScanShape { batch: 1, length, channels, states: 16, rank: 1, groups: 1 }
    }

    #[test]
    fn chunks_are_shorter_where_more_processors_wait_and_never_below_the_least() {
        // the stages of `tiny` over 16×160×160: a device that says nothing, a small and a large GPU
        for (shape, expected) in [
            (scan(102_400, 16), [64, 128, 16]),
            (scan(25_600, 32), [32, 64, 8]),
            (scan(1_600, 128), [32, 8, 8]),
            (scan(1, 1), [32, 8, 8]),
            (scan(10_000_000, 64), [256, 256, 256]),
        ] {
            let elements = shape.tokens_by_channels();
            assert_eq!([None, Some(24), Some(132)].map(|p| chunk_for(elements, p)), expected);
        }
    }

    #[test]
    fn chunks_of_the_backward_pass_are_whole_stretches_that_fit_shared_memory() {
        for processors in [None, Some(1), Some(132)] {
            for wanted in [None, Some(1), Some(7), Some(64), Some(1000)] {
                let chunk = gradient_chunk_for(wanted, &scan(5_000, 48), processors);
                assert!(chunk.is_multiple_of(STRETCH) && (STRETCH..=MAX_GRADIENT_CHUNK).contains(&chunk));
            }
        }
        assert_eq!(gradient_chunk_for(None, &scan(1_600, 128), None), 32);
        assert_eq!(gradient_chunk_for(None, &scan(1_600, 128), Some(132)), 32);
        assert_eq!(gradient_chunk_for(None, &scan(400, 128), Some(132)), 8);
    }
}
