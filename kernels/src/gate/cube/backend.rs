//! The gated sum on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous};

use super::kernels;
use crate::cube::launch::{count, cubes_of_units, empty, in_rows};
use crate::gate::{GateBackend, GateGradients, GateKernels};

/// Launches of the values.
pub const FORWARD_LAUNCHES: u64 = 1;
/// Launches of the gradients.
pub const GRADIENT_LAUNCHES: u64 = 2;

type Tensor = FloatTensor<CubeBackend>;

impl GateBackend for CubeBackend {
    fn gated_direction_sum(
        forward: Tensor,
        backward: Tensor,
        slice: Tensor,
        z: Tensor,
        slices: usize,
    ) -> Tensor {
        let [forward, backward, slice] = [forward, backward, slice].map(into_contiguous);
        let (z, row) = in_rows(z);
        let [batch, length, channels] = z.shape().dims();
        let out = empty(&z, [batch, length, channels]);
        let items = batch * length * channels;
        if items == 0 {
            return out;
        }
        let client = z.client.clone();
        let (wanted, dim) = cubes_of_units(items);
        count();
        // SAFETY: a unit beyond the elements of `out` does nothing; all tensors have its shape, and an order permutes
        // the tokens of a sequence.
        unsafe {
            kernels::gate::launch_unchecked(
                &client,
                wanted,
                dim,
                forward.into_buffer_arg(),
                backward.into_buffer_arg(),
                slice.into_buffer_arg(),
                z.into_buffer_arg(),
                out.clone().into_buffer_arg(),
                length,
                channels,
                row,
                slices,
                items,
            );
        }
        out
    }
}

impl GateKernels for CubeBackend {
    fn gated_direction_sum_gradients(
        forward: Tensor,
        backward: Tensor,
        slice: Tensor,
        z: Tensor,
        out_grad: Tensor,
        slices: usize,
    ) -> GateGradients<Tensor> {
        let [forward, backward, slice, out_grad] = [forward, backward, slice, out_grad].map(into_contiguous);
        let (z, row) = in_rows(z);
        let [batch, length, channels] = z.shape().dims();
        let new = || empty(&z, [batch, length, channels]);
        let found = GateGradients { forward: new(), backward: new(), slice: new(), z: new() };
        let items = batch * length * channels;
        if items == 0 {
            return found;
        }
        let client = z.client.clone();
        let (wanted, dim) = cubes_of_units(items);
        count();
        // SAFETY: as in the values.
        unsafe {
            kernels::differentiate_gate::launch_unchecked(
                &client,
                wanted.clone(),
                dim,
                forward.into_buffer_arg(),
                backward.into_buffer_arg(),
                slice.into_buffer_arg(),
                z.clone().into_buffer_arg(),
                out_grad.clone().into_buffer_arg(),
                found.z.clone().into_buffer_arg(),
                length,
                channels,
                row,
                slices,
                items,
            );
        }
        count();
        // SAFETY: as in the values.
        unsafe {
            kernels::differentiate_directions::launch_unchecked(
                &client,
                wanted,
                dim,
                z.into_buffer_arg(),
                out_grad.into_buffer_arg(),
                found.forward.clone().into_buffer_arg(),
                found.backward.clone().into_buffer_arg(),
                found.slice.clone().into_buffer_arg(),
                length,
                channels,
                row,
                slices,
                items,
            );
        }
        found
    }
}
