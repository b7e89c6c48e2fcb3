//! The causal convolution on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous};

use super::{FORWARD_RUN, GRADIENT_RUN, kernels};
use crate::ScanOrder;
use crate::causal_conv::{CausalConvBackend, CausalConvGradients, CausalConvKernels};
use crate::cube::launch::{count, cubes_of_units, empty, in_rows};
use crate::cube::sums::Contributions;

/// Launches of the values.
pub const FORWARD_LAUNCHES: u64 = 1;
/// Launches of the gradients.
pub const GRADIENT_LAUNCHES: u64 = 2;

type Tensor = FloatTensor<CubeBackend>;

impl CausalConvBackend for CubeBackend {
    fn causal_conv_silu(x: Tensor, weight: Tensor, bias: Tensor, order: ScanOrder) -> Tensor {
        let [weight, bias] = [weight, bias].map(into_contiguous);
        let (x, row) = in_rows(x);
        let ([batch, length, channels], [_, taps]) = (x.shape().dims(), weight.shape().dims());
        let v = empty(&x, [batch, length, channels]);
        let runs = length.div_ceil(FORWARD_RUN);
        let items = batch * runs * channels;
        if items == 0 {
            return v;
        }
        let client = x.client.clone();
        let (wanted, dim) = cubes_of_units(items);
        count();
        // SAFETY: a unit beyond the runs and channels of `x` does nothing, and positions and taps of the others are
        // compared with the sizes of `x` and `weight`, which `v` and `bias` share.
        unsafe {
            kernels::convolve::launch_unchecked(
                &client,
                wanted,
                dim,
                x.into_buffer_arg(),
                weight.into_buffer_arg(),
                bias.into_buffer_arg(),
                v.clone().into_buffer_arg(),
                length,
                channels,
                row,
                order.slices(),
                runs,
                items,
                taps,
                order == ScanOrder::Backward,
            );
        }
        v
    }
}

impl CausalConvKernels for CubeBackend {
    fn causal_conv_silu_gradients(
        x: Tensor,
        weight: Tensor,
        bias: Tensor,
        v_grad: Tensor,
        order: ScanOrder,
    ) -> CausalConvGradients<Tensor> {
        let [weight, bias, v_grad] = [weight, bias, v_grad].map(into_contiguous);
        let (x, row) = in_rows(x);
        let ([batch, length, channels], [_, taps]) = (x.shape().dims(), weight.shape().dims());
        let found = CausalConvGradients {
            x: empty(&x, x.shape()),
            weight: empty(&x, weight.shape()),
            bias: empty(&x, bias.shape()),
        };
        let runs = length.div_ceil(GRADIENT_RUN);
        let items = batch * runs * channels;
        let contributions = Contributions { rows: batch * runs, taps, channels };
        let client = x.client.clone();
        if items > 0 {
            let parts = empty(&x, [contributions.floats()]);
            let (wanted, dim) = cubes_of_units(items);
            count();
            // SAFETY: as above; `v_grad` and the gradient of `x` have the sizes of `x`, and `parts` holds a row for
            // every run.
            unsafe {
                kernels::differentiate::launch_unchecked(
                    &client,
                    wanted,
                    dim,
                    x.into_buffer_arg(),
                    weight.into_buffer_arg(),
                    bias.into_buffer_arg(),
                    v_grad.into_buffer_arg(),
                    found.x.clone().into_buffer_arg(),
                    parts.clone().into_buffer_arg(),
                    length,
                    channels,
                    row,
                    order.slices(),
                    runs,
                    items,
                    taps,
                    order == ScanOrder::Backward,
                );
            }
            contributions.add_up(parts, &found.weight, &found.bias);
        }
        found
    }
}
