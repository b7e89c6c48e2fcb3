//! Row normalisation on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::CubeDim;

use super::kernels::{self, part_floats};
use super::{CHUNK, UNITS};
use crate::cube::launch::{count, cubes, element, empty, empty_in_type_of};
use crate::norm::{NormBackend, NormGradients, NormKernels};

/// Launches of the values, and of their gradient.
pub const LAUNCHES: u64 = 2;

impl NormBackend for CubeBackend {
    fn normalise_rows(x: FloatTensor<Self>, slope: f32) -> FloatTensor<Self> {
        values(x, None, slope)
    }

    fn normalise_rows_and_add(
        x: FloatTensor<Self>,
        shortcut: FloatTensor<Self>,
        slope: f32,
    ) -> FloatTensor<Self> {
        values(x, Some(shortcut), slope)
    }
}

fn values(x: CubeTensor, shortcut: Option<CubeTensor>, slope: f32) -> CubeTensor {
    let (x, shortcut) = (into_contiguous(x), shortcut.map(into_contiguous));
    let [rows, n] = x.shape().dims();
    let (element, y) = (element(&x), empty_in_type_of(&x, [rows, n]));
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
            element,
        );
    }
    count();
    let with_shortcut = shortcut.is_some();
    let shortcut = shortcut.unwrap_or_else(|| empty_in_type_of(&x, [1]));
    // SAFETY: as above, and `y`, and `shortcut` where it is read, have the sizes of `x`.
    unsafe {
        kernels::normalise::launch_unchecked(
            &client,
            wanted,
            dim,
            x.into_buffer_arg(),
            shortcut.into_buffer_arg(),
            parts.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            rows,
            n,
            chunks,
            slope,
            with_shortcut,
            element,
        );
    }
    y
}

impl NormKernels for CubeBackend {
    fn normalise_rows_gradients(
        x: FloatTensor<Self>,
        y: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        slope: f32,
        with_shortcut: bool,
    ) -> NormGradients<FloatTensor<Self>> {
        let [x, y, y_grad] = [x, y, y_grad].map(into_contiguous);
        let [rows, n] = x.shape().dims();
        let element = element(&x);
        let x_grad = empty_in_type_of(&x, [rows, n]);
        let shortcut_grad = empty_in_type_of(&x, if with_shortcut { [rows, n] } else { [1, 1] });
        let found = |x, shortcut| NormGradients { x, shortcut: with_shortcut.then_some(shortcut) };
        if rows * n == 0 {
            return found(x_grad, shortcut_grad);
        }
        let client = x.client.clone();
        let chunks = n.div_ceil(CHUNK);
        let parts = empty(&x, [rows * chunks * part_floats(true)]);
        let (wanted, dim) = (cubes(rows * chunks), CubeDim::new_1d(UNITS as u32));
        count();
        // SAFETY: the kernel compares rows and places in a row with the sizes of `x`, which `y` and `y_grad` share,
        // and `parts` holds every chunk.
        unsafe {
            kernels::summarise_with_gradient::launch_unchecked(
                &client,
                wanted.clone(),
                dim,
                x.clone().into_buffer_arg(),
                y.clone().into_buffer_arg(),
                y_grad.clone().into_buffer_arg(),
                parts.clone().into_buffer_arg(),
                rows,
                n,
                chunks,
                slope,
                element,
            );
        }
        count();
        // SAFETY: as above, and `x_grad`, and `shortcut_grad` where it is written, have the sizes of `x`.
        unsafe {
            kernels::differentiate::launch_unchecked(
                &client,
                wanted,
                dim,
                x.into_buffer_arg(),
                y.into_buffer_arg(),
                y_grad.into_buffer_arg(),
                parts.into_buffer_arg(),
                x_grad.clone().into_buffer_arg(),
                shortcut_grad.clone().into_buffer_arg(),
                rows,
                n,
                chunks,
                slope,
                with_shortcut,
                element,
            );
        }
        found(x_grad, shortcut_grad)
    }
}
