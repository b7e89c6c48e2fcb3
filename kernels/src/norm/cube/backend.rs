//! Row normalisation on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous};
use cubecl::prelude::CubeDim;

use super::kernels::{self, part_floats};
use super::{CHUNK, UNITS};
use crate::cube::launch::{count, cubes, empty};
use crate::norm::{NormBackend, NormKernels};

/// Launches of the values, and of their gradient.
pub const LAUNCHES: u64 = 2;

impl NormBackend for CubeBackend {
    fn normalise_rows(x: FloatTensor<Self>) -> FloatTensor<Self> {
        let x = into_contiguous(x);
        let [rows, n] = x.shape().dims();
        let y = empty(&x, [rows, n]);
        if rows * n == 0 {
            return y;
        }
        let client = x.client.clone();
        let chunks = n.div_ceil(CHUNK);
        let parts = empty(&x, [rows * chunks * part_floats(false)]);
        let (wanted, dim) = (cubes(rows * chunks), CubeDim::new_1d(UNITS as u32));
        count();
        // SAFETY: the kernel compares rows and places in a row with the sizes of `x`, and `parts` holds every chunk.
        unsafe {
            kernels::summarise::launch_unchecked(
                &client,
                wanted.clone(),
                dim,
                x.clone().into_buffer_arg(),
                parts.clone().into_buffer_arg(),
                rows,
                n,
                chunks,
            );
        }
        count();
        // SAFETY: as above, and `y` has the sizes of `x`.
        unsafe {
            kernels::normalise::launch_unchecked(
                &client,
                wanted,
                dim,
                x.into_buffer_arg(),
                parts.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                rows,
                n,
                chunks,
            );
        }
        y
    }
}

impl NormKernels for CubeBackend {
    fn normalise_rows_gradient(x: FloatTensor<Self>, y_grad: FloatTensor<Self>) -> FloatTensor<Self> {
        let [x, y_grad] = [x, y_grad].map(into_contiguous);
        let [rows, n] = x.shape().dims();
        let x_grad = empty(&x, [rows, n]);
        if rows * n == 0 {
            return x_grad;
        }
        let client = x.client.clone();
        let chunks = n.div_ceil(CHUNK);
        let parts = empty(&x, [rows * chunks * part_floats(true)]);
        let (wanted, dim) = (cubes(rows * chunks), CubeDim::new_1d(UNITS as u32));
        count();
        // SAFETY: the kernel compares rows and places in a row with the sizes of `x`, which `y_grad` shares, and
        // `parts` holds every chunk.
        unsafe {
            kernels::summarise_with_gradient::launch_unchecked(
                &client,
                wanted.clone(),
                dim,
                x.clone().into_buffer_arg(),
                y_grad.clone().into_buffer_arg(),
                parts.clone().into_buffer_arg(),
                rows,
                n,
                chunks,
            );
        }
        count();
        // SAFETY: as above, and `x_grad` has the sizes of `x`.
        unsafe {
            kernels::differentiate::launch_unchecked(
                &client,
                wanted,
                dim,
                x.into_buffer_arg(),
                y_grad.into_buffer_arg(),
                parts.into_buffer_arg(),
                x_grad.clone().into_buffer_arg(),
                rows,
                n,
                chunks,
            );
        }
        x_grad
    }
}
