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

/// The number of an order in the kernels.
pub(super) fn number(order: ScanOrder) -> usize {
    match order {
        ScanOrder::Forward => 0,
        ScanOrder::Backward => 1,
        ScanOrder::InterSlice { .. } => 2,
    }
}

/// v `[O·B, L, E]` of the first E columns of `x [B, L, ≥E]` in O orders from number `first` on, one launch. `weight` and
/// `bias` hold O sets, one after the other.
pub(crate) fn convolve_in_orders(
    x: Tensor,
    weight: Tensor,
    bias: Tensor,
    first: usize,
    [orders, channels, taps]: [usize; 3],
    slices: usize,
) -> Tensor {
    let [weight, bias] = [weight, bias].map(into_contiguous);
    let (x, row) = in_rows(x);
    let [batch, length, _] = x.shape().dims();
    let v = empty(&x, [orders * batch, length, channels]);
    let runs = length.div_ceil(FORWARD_RUN);
    let items = orders * batch * runs * channels;
    if items == 0 {
        return v;
    }
    let client = x.client.clone();
    let (wanted, dim) = cubes_of_units(items);
    count();
    // SAFETY: a unit beyond the runs and channels of all orders does nothing, and positions and taps of the others are
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
            batch,
            length,
            channels,
            row,
            slices,
            first,
            runs,
            items,
            taps,
        );
    }
    v
}

impl CausalConvBackend for CubeBackend {
    fn causal_conv_silu(x: Tensor, weight: Tensor, bias: Tensor, order: ScanOrder) -> Tensor {
        let [channels, taps] = weight.shape().dims();
        convolve_in_orders(x, weight, bias, number(order), [1, channels, taps], order.slices())
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
            // SAFETY: as in the values; `v_grad` and the gradient of `x` have the sizes of `x`, and `parts` holds a row for
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
                    number(order),
                    runs,
                    items,
                    taps,
                );
            }
            contributions.add_up(parts, &found.weight, &found.bias);
        }
        found
    }
}
