//! The kernels on tensors of burn's CubeCL backend.

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};
use cubecl::prelude::CubeDim;

use super::launch::{count, cubes, cubes_of_units, empty, forward_chunk, gradient_chunk};
use super::{LANES, SEGMENTS, carry, forward, gradients};
use crate::ScanShape;
use crate::scan::{ScanBackend, ScanGradients, ScanKernels};

type Tensor = FloatTensor<CubeBackend>;

fn shape_of(u: &Tensor, a: &Tensor) -> ScanShape {
    let ([batch, length, channels], [_, states]) = (u.shape().dims(), a.shape().dims());
    ScanShape { batch, length, channels, states }
}

fn empty_like(like: &CubeTensor) -> CubeTensor {
    empty(like, like.shape())
}

impl ScanBackend for CubeBackend {
    fn scan(
        u: Tensor,
        delta: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        d: Tensor,
        chunk: Option<usize>,
    ) -> Tensor {
        let [u, delta, a, b, c, d] = [u, delta, a, b, c, d].map(into_contiguous);
        let shape = shape_of(&u, &a);
        let y = empty_like(&u);
        if shape.tokens_by_channels() == 0 {
            return y;
        }
        let ScanShape { batch, length, channels, states } = shape;
        let client = u.client.clone();
        let chunk = chunk.unwrap_or_else(|| forward_chunk(&shape)).min(length);
        let chunks = length.div_ceil(chunk);
        let items = batch * chunks * channels;
        let carried = empty(&u, [(states + 1) * channels * (batch * chunks + 1)]);

        let (wanted, dim) = cubes_of_units(items);
        count();
        forward::summarise_chunks::launch(
            &client,
            wanted.clone(),
            dim,
            u.clone().into_buffer_arg(),
            delta.clone().into_buffer_arg(),
            a.clone().into_buffer_arg(),
            b.clone().into_buffer_arg(),
            carried.clone().into_buffer_arg(),
            length,
            channels,
            chunks,
            chunk,
            items,
            states,
        );
        carry_over_chunks(&shape, chunks, 1, &a, &d, &carried);
        count();
        forward::apply_chunks::launch(
            &client,
            wanted,
            dim,
            u.into_buffer_arg(),
            delta.into_buffer_arg(),
            b.into_buffer_arg(),
            c.into_buffer_arg(),
            carried.into_buffer_arg(),
            y.clone().into_buffer_arg(),
            length,
            channels,
            chunks,
            chunk,
            items,
            states,
        );
        y
    }
}

fn carry_over_chunks(
    shape: &ScanShape,
    chunks: usize,
    directions: usize,
    a: &CubeTensor,
    d: &CubeTensor,
    carried: &CubeTensor,
) {
    // with no states there is nothing to carry, but `d` still has to reach the head
    let items = shape.batch * shape.channels * shape.states * directions;
    count();
    carry::carry_over_chunks::launch(
        &a.client,
        cubes(items.div_ceil(LANES)),
        CubeDim::new_2d(LANES as u32, SEGMENTS as u32),
        a.clone().into_buffer_arg(),
        d.clone().into_buffer_arg(),
        carried.clone().into_buffer_arg(),
        shape.channels,
        chunks,
        items,
        shape.states,
        directions,
    );
}

impl ScanKernels for CubeBackend {
    fn scan_gradients(
        u: Tensor,
        delta: Tensor,
        a: Tensor,
        b: Tensor,
        c: Tensor,
        d: Tensor,
        y_grad: Tensor,
        chunk: Option<usize>,
    ) -> ScanGradients<Tensor> {
        let [u, delta, a, b, c, d, y_grad] = [u, delta, a, b, c, d, y_grad].map(into_contiguous);
        let shape = shape_of(&u, &a);
        let found = ScanGradients {
            u: empty_like(&u),
            delta: empty_like(&delta),
            a: empty_like(&a),
            b: empty_like(&b),
            c: empty_like(&c),
            d: empty_like(&d),
        };
        let ScanShape { batch, length, channels, states } = shape;
        let client = u.client.clone();
        let chunk = gradient_chunk(chunk);
        let chunks = length.div_ceil(chunk);
        let items = batch * chunks * channels;
        let blocks = channels.div_ceil(LANES);
        let carried = empty(&u, [channels * (states + 1 + (2 * states + 1) * batch * chunks)]);
        let sums_start = 2 * shape.tokens_by_channels() + 2 * blocks * shape.tokens_by_states();
        let scratch = empty(&u, [sums_start + batch * chunks * (states + 1) * channels]);

        let (wanted, dim) = cubes_of_units(items);
        count();
        gradients::summarise_both_ways::launch(
            &client,
            wanted,
            dim,
            u.clone().into_buffer_arg(),
            delta.clone().into_buffer_arg(),
            a.clone().into_buffer_arg(),
            b.clone().into_buffer_arg(),
            c.clone().into_buffer_arg(),
            y_grad.clone().into_buffer_arg(),
            carried.clone().into_buffer_arg(),
            length,
            channels,
            chunks,
            chunk,
            items,
            states,
        );
        carry_over_chunks(&shape, chunks, 2, &a, &d, &carried);
        let width = states.clamp(1, LANES);
        count();
        gradients::differentiate_chunks::launch(
            &client,
            cubes(batch * chunks * blocks),
            CubeDim::new_2d(width as u32, LANES as u32),
            u.into_buffer_arg(),
            delta.into_buffer_arg(),
            b.into_buffer_arg(),
            c.into_buffer_arg(),
            y_grad.into_buffer_arg(),
            carried.into_buffer_arg(),
            scratch.clone().into_buffer_arg(),
            batch * length,
            length,
            channels,
            chunks,
            blocks,
            batch * chunks * blocks,
            states,
            width,
            states.div_ceil(width),
            chunk,
        );
        let (by_channels, by_states) = (shape.tokens_by_channels(), shape.tokens_by_states());
        let (wanted, dim) = cubes_of_units(by_channels.max(by_states));
        count();
        gradients::gather_tokens::launch(
            &client,
            wanted,
            dim,
            scratch.clone().into_buffer_arg(),
            found.u.clone().into_buffer_arg(),
            found.delta.clone().into_buffer_arg(),
            found.b.clone().into_buffer_arg(),
            found.c.clone().into_buffer_arg(),
            by_channels,
            by_states,
            blocks,
        );
        count();
        gradients::sum_parameters::launch(
            &client,
            cubes(((states + 1) * channels).div_ceil(LANES)),
            CubeDim::new_2d(LANES as u32, SEGMENTS as u32),
            scratch.into_buffer_arg(),
            found.a.clone().into_buffer_arg(),
            found.d.clone().into_buffer_arg(),
            sums_start,
            batch * chunks,
            channels,
            states,
        );
        found
    }
}
