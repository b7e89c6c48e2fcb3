//! Layer normalisation on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous};
use cubecl::prelude::CubeDim;

use super::{NARROW, TOKENS, UNITS, kernels};
use crate::cube::launch::{count, cubes, cubes_of_units, empty};
use crate::cube::sums::Contributions;
use crate::layer_norm::{LayerNormBackend, LayerNormGradients, LayerNormKernels};

/// Launches of the values.
pub const FORWARD_LAUNCHES: u64 = 1;
/// Launches of the gradients.
pub const GRADIENT_LAUNCHES: u64 = 2;

type Tensor = FloatTensor<CubeBackend>;

impl LayerNormBackend for CubeBackend {
    fn layer_norm_tokens(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor {
        let [x, weight, bias] = [x, weight, bias].map(into_contiguous);
        let [batch, channels, length] = x.shape().dims();
        let y = empty(&x, [batch, length, channels]);
        if batch * channels * length == 0 {
            return y;
        }
        let client = x.client.clone();
        if channels <= NARROW {
            let items = batch * length;
            let (wanted, dim) = cubes_of_units(items);
            count();
            // SAFETY: a unit beyond the tokens of `x` does nothing, `y` has as many elements as `x`, and `weight` and
            // `bias` have a float for every channel.
            unsafe {
                kernels::normalise_narrow::launch_unchecked(
                    &client,
                    wanted,
                    dim,
                    x.into_buffer_arg(),
                    weight.into_buffer_arg(),
                    bias.into_buffer_arg(),
                    y.clone().into_buffer_arg(),
                    channels,
                    length,
                    items,
                );
            }
            return y;
        }
        let groups = length.div_ceil(TOKENS);
        count();
        // SAFETY: the kernel compares volumes, tokens and channels with the sizes of `x`, which `y` shares, and
        // `weight` and `bias` have a float for every channel.
        unsafe {
            kernels::normalise::launch_unchecked(
                &client,
                cubes(batch * groups),
                CubeDim::new_1d(UNITS as u32),
                x.into_buffer_arg(),
                weight.into_buffer_arg(),
                bias.into_buffer_arg(),
                y.clone().into_buffer_arg(),
                batch,
                channels,
                length,
                groups,
            );
        }
        y
    }
}

impl LayerNormKernels for CubeBackend {
    fn layer_norm_tokens_gradients(x: Tensor, weight: Tensor, y_grad: Tensor) -> LayerNormGradients<Tensor> {
        let [x, weight, y_grad] = [x, weight, y_grad].map(into_contiguous);
        let [batch, channels, length] = x.shape().dims();
        let found = LayerNormGradients {
            x: empty(&x, x.shape()),
            weight: empty(&x, [channels]),
            bias: empty(&x, [channels]),
        };
        if batch * channels * length == 0 {
            return found;
        }
        let client = x.client.clone();
        let groups = length.div_ceil(TOKENS);
        let contributions = Contributions { rows: batch * groups, taps: 1, channels };
        let parts = empty(&x, [contributions.floats()]);
        count();
        // SAFETY: as above; `y_grad` and the gradient of `x` have the sizes of `x`, and `parts` holds a row for every
        // cube that has tokens.
        unsafe {
            kernels::differentiate::launch_unchecked(
                &client,
                cubes(batch * groups),
                CubeDim::new_1d(UNITS as u32),
                x.into_buffer_arg(),
                weight.into_buffer_arg(),
                y_grad.into_buffer_arg(),
                found.x.clone().into_buffer_arg(),
                parts.clone().into_buffer_arg(),
                batch,
                channels,
                length,
                groups,
            );
        }
        contributions.add_up(parts, &found.weight, &found.bias);
        found
    }
}
