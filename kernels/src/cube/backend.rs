//! The kernels on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::CubeDim;

use super::launch::{count, cubes, cubes_of_units, empty, forward_chunk, gradient_chunk, in_rows};
use super::{LANES, SEGMENTS, carry, forward, gradients};
use crate::ScanShape;
use crate::scan::{ScanBackend, ScanGradients, ScanKernels};

type Tensor = FloatTensor<CubeBackend>;

/// The inputs as kernels read them, and their sizes.
struct Inputs {
    shape: ScanShape,
    u: Tensor,
    projected: Tensor,
    /// Elements from a token's row of `projected` to the next: a product's rows may be padded.
    row: usize,
    step_weight: Tensor,
    step_bias: Tensor,
    a_log: Tensor,
    d: Tensor,
}

impl Inputs {
    fn new([u, projected, step_weight, step_bias, a_log, d]: [Tensor; 6]) -> Self {
        let [u, step_weight, step_bias, a_log, d] =
            [u, step_weight, step_bias, a_log, d].map(into_contiguous);
        let ([batch, length, channels], [rows, states]) = (u.shape().dims(), a_log.shape().dims());
        let [_, rank] = step_weight.shape().dims();
        let groups = rows.checked_div(channels).unwrap_or(1);
        let shape = ScanShape { batch, length, channels, states, rank, groups };
        let (projected, row) = in_rows(projected);
        Self { shape, u, projected, row, step_weight, step_bias, a_log, d }
    }

    /// Sequences of a set of parameters.
    fn per_group(&self) -> usize {
        self.shape.batch / self.shape.groups
    }

    /// Floats of the parameters at the head of what is carried.
    fn head(&self) -> usize {
        (self.shape.states + 2 + self.shape.rank) * self.shape.groups * self.shape.channels
    }
}

fn empty_like(like: &CubeTensor) -> CubeTensor {
    empty(like, like.shape())
}

impl ScanBackend for CubeBackend {
    fn scan(
        u: Tensor,
        projected: Tensor,
        step_weight: Tensor,
        step_bias: Tensor,
        a_log: Tensor,
        d: Tensor,
        chunk: Option<usize>,
    ) -> Tensor {
        let inputs = Inputs::new([u, projected, step_weight, step_bias, a_log, d]);
        let y = empty_like(&inputs.u);
        if inputs.shape.tokens_by_channels() == 0 {
            return y;
        }
        let ScanShape { batch, length, channels, states, rank, groups } = inputs.shape;
        let client = y.client.clone();
        let chunk = chunk.unwrap_or_else(|| forward_chunk(&inputs.shape, &client)).min(length);
        let chunks = length.div_ceil(chunk);
        let items = batch * chunks * channels;
        let carried = empty(&y, [inputs.head() + (states + 1) * channels * batch * chunks]);

        let (wanted, dim) = cubes_of_units(items);
        count();
        forward::summarise_chunks::launch(
            &client,
            wanted.clone(),
            dim,
            inputs.u.clone().into_buffer_arg(),
            inputs.projected.clone().into_buffer_arg(),
            inputs.step_weight.clone().into_buffer_arg(),
            inputs.step_bias.clone().into_buffer_arg(),
            inputs.a_log.clone().into_buffer_arg(),
            carried.clone().into_buffer_arg(),
            length,
            channels,
            inputs.row,
            inputs.per_group(),
            groups,
            chunks,
            chunk,
            items,
            states,
            rank,
        );
        carry_over_chunks(&inputs, chunks, 1, &carried);
        count();
        let per_group = inputs.per_group();
        forward::apply_chunks::launch(
            &client,
            wanted,
            dim,
            inputs.u.into_buffer_arg(),
            inputs.projected.into_buffer_arg(),
            carried.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            length,
            channels,
            inputs.row,
            per_group,
            groups,
            chunks,
            chunk,
            items,
            states,
            rank,
        );
        y
    }
}

fn carry_over_chunks(inputs: &Inputs, chunks: usize, directions: usize, carried: &CubeTensor) {
    let shape = inputs.shape;
    let items = shape.batch * shape.channels * shape.states * directions;
    count();
    carry::carry_over_chunks::launch(
        &carried.client,
        cubes(items.div_ceil(LANES)),
        CubeDim::new_2d(LANES as u32, SEGMENTS as u32),
        inputs.step_weight.clone().into_buffer_arg(),
        inputs.step_bias.clone().into_buffer_arg(),
        inputs.a_log.clone().into_buffer_arg(),
        inputs.d.clone().into_buffer_arg(),
        carried.clone().into_buffer_arg(),
        shape.channels,
        inputs.per_group(),
        shape.groups,
        chunks,
        items,
        shape.states,
        shape.rank,
        directions,
    );
}

impl ScanKernels for CubeBackend {
    fn scan_gradients(inputs: [Tensor; 6], y_grad: Tensor, chunk: Option<usize>) -> ScanGradients<Tensor> {
        let (inputs, y_grad) = (Inputs::new(inputs), into_contiguous(y_grad));
        let shape = inputs.shape;
        let ScanShape { batch, length, channels, states, rank, groups } = shape;
        let found = ScanGradients {
            u: empty_like(&inputs.u),
            projected: empty(&inputs.u, [batch, length, shape.width()]),
            step_weight: empty_like(&inputs.step_weight),
            step_bias: empty_like(&inputs.step_bias),
            a_log: empty_like(&inputs.a_log),
            d: empty_like(&inputs.d),
        };
        let client = y_grad.client.clone();
        let chunk = gradient_chunk(chunk, &shape, &client);
        let chunks = length.div_ceil(chunk);
        let items = batch * chunks * channels;
        let blocks = channels.div_ceil(LANES);
        let carried = empty(&y_grad, [inputs.head() + (2 * states + 1) * channels * batch * chunks]);
        let sums_start = shape.tokens_by_channels() + 2 * blocks * shape.tokens_by_states();
        let parameters = (states + 2 + rank) * channels;
        let scratch = empty(&y_grad, [sums_start + batch * chunks * parameters]);

        let (wanted, dim) = cubes_of_units(items);
        count();
        gradients::summarise_both_ways::launch(
            &client,
            wanted,
            dim,
            inputs.u.clone().into_buffer_arg(),
            inputs.projected.clone().into_buffer_arg(),
            inputs.step_weight.clone().into_buffer_arg(),
            inputs.step_bias.clone().into_buffer_arg(),
            inputs.a_log.clone().into_buffer_arg(),
            y_grad.clone().into_buffer_arg(),
            carried.clone().into_buffer_arg(),
            length,
            channels,
            inputs.row,
            inputs.per_group(),
            groups,
            chunks,
            chunk,
            items,
            states,
            rank,
        );
        carry_over_chunks(&inputs, chunks, 2, &carried);
        let width = states.clamp(1, LANES);
        let (row, per_group) = (inputs.row, inputs.per_group());
        count();
        gradients::differentiate_chunks::launch(
            &client,
            cubes(batch * chunks * blocks),
            CubeDim::new_2d(width as u32, LANES as u32),
            inputs.u.into_buffer_arg(),
            inputs.projected.into_buffer_arg(),
            y_grad.into_buffer_arg(),
            carried.into_buffer_arg(),
            found.u.clone().into_buffer_arg(),
            scratch.clone().into_buffer_arg(),
            batch * length,
            length,
            channels,
            row,
            per_group,
            groups,
            chunks,
            blocks,
            batch * chunks * blocks,
            states,
            rank,
            width,
            states.div_ceil(width),
            chunk,
        );
        let (wanted, dim) = cubes_of_units(shape.tokens_by_width());
        count();
        gradients::gather_columns::launch(
            &client,
            wanted,
            dim,
            scratch.clone().into_buffer_arg(),
            inputs.step_weight.into_buffer_arg(),
            found.projected.clone().into_buffer_arg(),
            batch * length,
            per_group * length,
            channels,
            blocks,
            states,
            rank,
        );
        count();
        gradients::sum_parameters::launch(
            &client,
            cubes((groups * parameters).div_ceil(LANES)),
            CubeDim::new_2d(LANES as u32, SEGMENTS as u32),
            scratch.into_buffer_arg(),
            inputs.a_log.into_buffer_arg(),
            found.step_weight.clone().into_buffer_arg(),
            found.step_bias.clone().into_buffer_arg(),
            found.a_log.clone().into_buffer_arg(),
            found.d.clone().into_buffer_arg(),
            sums_start,
            per_group * chunks,
            groups,
            channels,
            states,
            rank,
        );
        found
    }
}
