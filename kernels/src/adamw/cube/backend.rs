//! The operations on all parameters on tensors of burn's CubeCL backend.

use core::ops::Range;

use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{CubeCount, CubeDim, SequenceArg};

use super::groups::{ADAMW, SQUARE_SUMS, WEIGHTED_SUMS};
use super::kernels::{self, StepRatesLaunch};
use super::{CHUNK, UNITS};
use crate::adamw::{AdamwBackend, Place, Rates, TensorList};
use crate::cube::launch::{count, cubes, empty};

type Tensor = FloatTensor<CubeBackend>;

/// The tensor with its elements in C order; the copy that this may take is counted.
fn in_order(tensor: Tensor) -> Tensor {
    if !tensor.is_contiguous() {
        count();
    }
    into_contiguous(tensor)
}

/// The tensor, in memory that nothing else refers to.
fn owned(tensor: Tensor) -> Tensor {
    let tensor = in_order(tensor);
    if tensor.can_mut() {
        return tensor;
    }
    count();
    tensor.copy()
}

/// How a group of tensors is cut into cubes.
struct Cut {
    /// First cube of each tensor, and the number of cubes.
    cubes: Vec<usize>,
    lengths: Vec<usize>,
}

impl Cut {
    fn new(tensors: &[Tensor]) -> Self {
        let lengths: Vec<usize> = tensors.iter().map(|tensor| tensor.shape().num_elements()).collect();
        let mut cubes = vec![0];
        for (i, length) in lengths.iter().enumerate() {
            cubes.push(cubes[i] + length.div_ceil(CHUNK));
        }
        Self { cubes, lengths }
    }

    fn total(&self) -> usize {
        self.cubes[self.lengths.len()]
    }

    fn launch(&self) -> (CubeCount, CubeDim) {
        (cubes(self.total()), CubeDim::new_1d(UNITS as u32))
    }
}

fn buffers(tensors: &[Tensor]) -> SequenceArg<Box<[f32]>> {
    tensors.iter().map(|tensor| tensor.clone().into_buffer_arg()).collect()
}

fn numbers(values: &[usize]) -> SequenceArg<usize> {
    values.iter().copied().collect()
}

/// A buffer that new tensors are views into.
struct Views {
    buffer: Tensor,
    /// First element of each.
    starts: Vec<usize>,
}

impl Views {
    /// Room for a tensor of every length, each at an address that the device can bind.
    fn new(like: &CubeTensor, lengths: &[usize]) -> Self {
        let alignment = (like.client.properties().memory.alignment as usize / size_of::<f32>()).max(1);
        let mut end = 0;
        let starts = lengths
            .iter()
            .map(|length| {
                let start = end;
                end += length.next_multiple_of(alignment);
                start
            })
            .collect();
        Self { buffer: empty(like, [end]), starts }
    }

    /// The tensors, in the shapes of others.
    fn tensors(self, like: &[Tensor]) -> impl Iterator<Item = Tensor> {
        let Self { buffer, starts } = self;
        starts.into_iter().zip(like).map(move |(start, like)| view(&buffer, start, like.shape()))
    }
}

fn view(buffer: &Tensor, start: usize, shape: Shape) -> Tensor {
    let bytes = |elements: usize| (elements * size_of::<f32>()) as u64;
    let behind = buffer.shape().num_elements() - start - shape.num_elements();
    let handle = buffer.handle.clone().offset_start(bytes(start)).offset_end(bytes(behind));
    CubeTensor::new_contiguous(buffer.client.clone(), buffer.device.clone(), shape, handle, DType::F32)
}

/// How many buffers the tensors' device binds.
fn limit(tensors: &[Tensor]) -> u32 {
    tensors.first().map_or(0, |tensor| tensor.client.properties().hardware.max_bindings)
}

impl AdamwBackend for CubeBackend {
    /// One sum per chunk.
    fn square_sums(tensors: TensorList<Self>) -> Tensor {
        let tensors: Vec<Tensor> = tensors.0.into_iter().map(in_order).collect();
        let groups: Vec<Range<usize>> = SQUARE_SUMS.groups(tensors.len(), limit(&tensors)).collect();
        let cuts: Vec<Cut> = groups.iter().map(|group| Cut::new(&tensors[group.clone()])).collect();
        let sums = empty(&tensors[0], [cuts.iter().map(Cut::total).sum::<usize>().max(1)]);
        let client = sums.client.clone();
        let mut start = 0;
        for (group, cut) in groups.into_iter().zip(cuts) {
            let (wanted, dim) = cut.launch();
            count();
            // SAFETY: a cube beyond those of its group does nothing, elements are compared with the tensors' lengths, and
            // `sums` has a place for every cube of every group.
            unsafe {
                kernels::square_sums::launch_unchecked(
                    &client,
                    wanted,
                    dim,
                    buffers(&tensors[group]),
                    sums.clone().into_buffer_arg(),
                    numbers(&cut.cubes),
                    numbers(&cut.lengths),
                    start,
                );
            }
            start += cut.total();
        }
        sums
    }

    fn weighted_sums(a: TensorList<Self>, b: TensorList<Self>, weights: [f32; 2]) -> Vec<Tensor> {
        let [a, b] = [a, b].map(|list| list.0.into_iter().map(in_order).collect::<Vec<_>>());
        let mut found = Vec::with_capacity(a.len());
        for group in WEIGHTED_SUMS.groups(a.len(), limit(&a)) {
            let (a, b) = (&a[group.clone()], &b[group]);
            let cut = Cut::new(a);
            let views = Views::new(&a[0], &cut.lengths);
            let (wanted, dim) = cut.launch();
            count();
            // SAFETY: a cube beyond those of the group does nothing, elements are compared with the lengths, which the
            // tensors of a pair share, and the views hold as many elements from their starts on.
            unsafe {
                kernels::weighted_sums::launch_unchecked(
                    &views.buffer.client,
                    wanted,
                    dim,
                    buffers(a),
                    buffers(b),
                    views.buffer.clone().into_buffer_arg(),
                    numbers(&cut.cubes),
                    numbers(&cut.lengths),
                    numbers(&views.starts),
                    weights[0],
                    weights[1],
                );
            }
            found.extend(views.tensors(a));
        }
        found
    }

    fn adamw(
        values: TensorList<Self>,
        gradients: TensorList<Self>,
        first: Tensor,
        second: Tensor,
        places: Vec<Place>,
        rates: Rates,
    ) -> (Vec<Tensor>, Tensor, Tensor) {
        let [values, gradients] =
            [values, gradients].map(|list| list.0.into_iter().map(in_order).collect::<Vec<_>>());
        let [first, second] = [first, second].map(owned);
        let mut found = Vec::with_capacity(values.len());
        for group in ADAMW.groups(values.len(), limit(&values)) {
            let places = &places[group.clone()];
            let (values, gradients) = (&values[group.clone()], &gradients[group]);
            let cut = Cut::new(values);
            let views = Views::new(&values[0], &cut.lengths);
            let (wanted, dim) = cut.launch();
            let moments: Vec<usize> = places.iter().map(|place| place.moments.start).collect();
            let Rates { clip, betas, rests, rate, correction, epsilon } = rates;
            let rates =
                StepRatesLaunch::new(clip, betas[0], rests[0], betas[1], rests[1], rate, correction, epsilon);
            count();
            // SAFETY: a cube beyond those of the group does nothing, elements are compared with the lengths, which a
            // value shares with its gradient and its place in the moments, and the views hold as many elements from
            // their starts on. Nothing else refers to the moments, and no two places overlap.
            unsafe {
                kernels::adamw::launch_unchecked(
                    &views.buffer.client,
                    wanted,
                    dim,
                    buffers(values),
                    buffers(gradients),
                    first.clone().into_buffer_arg(),
                    second.clone().into_buffer_arg(),
                    views.buffer.clone().into_buffer_arg(),
                    numbers(&cut.cubes),
                    numbers(&cut.lengths),
                    numbers(&moments),
                    numbers(&views.starts),
                    places.iter().map(|place| place.keep).collect(),
                    rates,
                );
            }
            found.extend(views.tensors(values));
        }
        (found, first, second)
    }
}
