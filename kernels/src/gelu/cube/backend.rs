//! The Gaussian error linear unit on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous};

use super::kernels;
use crate::cube::launch::{count, cubes_of_units, element, empty_in_type_of};
use crate::gelu::{GeluBackend, GeluKernels};

/// Launches of the values, and of their gradient.
pub const LAUNCHES: u64 = 1;

type Tensor = FloatTensor<CubeBackend>;

impl GeluBackend for CubeBackend {
    fn gelu_exact(x: Tensor) -> Tensor {
        let x = into_contiguous(x);
        let (element, y) = (element(&x), empty_in_type_of(&x, x.shape()));
        let items = x.shape().num_elements();
        if items == 0 {
            return y;
        }
        let (client, (wanted, dim)) = (x.client.clone(), cubes_of_units(items));
        count();
        // SAFETY: a unit beyond the elements of `x`, of which `y` has as many, does nothing.
        unsafe {
            kernels::values::launch_unchecked(
                &client,
                wanted,
                dim,
                x.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                items,
                element,
            );
        }
        y
    }
}

impl GeluKernels for CubeBackend {
    fn gelu_exact_gradient(x: Tensor, y_grad: Tensor) -> Tensor {
        let [x, y_grad] = [x, y_grad].map(into_contiguous);
        let (element, found) = (element(&x), empty_in_type_of(&x, x.shape()));
        let items = x.shape().num_elements();
        if items == 0 {
            return found;
        }
        let (client, (wanted, dim)) = (x.client.clone(), cubes_of_units(items));
        count();
        // SAFETY: a unit beyond the elements of `x`, of which `y_grad` and `found` have as many, does nothing.
        unsafe {
            kernels::slopes::launch_unchecked(
                &client,
                wanted,
                dim,
                x.into_buffer_arg(),
                y_grad.into_buffer_arg(),
                found.clone().into_buffer_arg(),
                items,
                element,
            );
        }
        found
    }
}
