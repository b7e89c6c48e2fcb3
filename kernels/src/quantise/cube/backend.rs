//! Quantisation on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use cubecl::prelude::CubeDim;

use super::kernels::{self, SizesLaunch};
use super::{CHUNK, UNITS};
use crate::cube::launch::{count, cubes};
use crate::quantise::{BINS_PER_WORD, Crop, QuantiseBackend};

/// Launches of the operation.
pub const LAUNCHES: u64 = 1;

impl QuantiseBackend for CubeBackend {
    fn quantise(logits: FloatTensor<Self>, crop: Crop) -> IntTensor<Self> {
        let logits = into_contiguous(logits);
        let shape = logits.shape();
        let (count_of_logits, [_, channels, window_z, window_y, window_x]) =
            (shape.num_elements(), shape.dims::<5>());
        let bins = crop.bins(channels);
        let words = bins.div_ceil(BINS_PER_WORD);
        let wanted = count_of_logits.div_ceil(CHUNK);
        let client = logits.client.clone();
        let out = empty_device_contiguous_dtype(
            client.clone(),
            logits.device.clone(),
            Shape::from([words + wanted]),
            DType::U32,
        );
        let ([origin_z, origin_y, origin_x], [tile_z, tile_y, tile_x]) = (crop.origin_zyx, crop.shape_zyx);
        let sizes = SizesLaunch::new(
            count_of_logits,
            window_z,
            window_y,
            window_x,
            origin_z,
            origin_y,
            origin_x,
            tile_z,
            tile_y,
            tile_x,
            bins,
            words,
            wanted,
        );
        count();
        // SAFETY: logits, words and flags are compared with their numbers, of which `out` is the sum of the last two, and
        // the crop lies within the window.
        unsafe {
            kernels::quantise::launch_unchecked(
                &client,
                cubes(wanted),
                CubeDim::new_1d(UNITS as u32),
                logits.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                sizes,
            );
        }
        out
    }
}
