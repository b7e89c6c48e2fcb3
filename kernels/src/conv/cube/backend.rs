//! The convolution on tensors of burn's CubeCL backend, and which one runs.

use burn::backend::TensorMetadata;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

use super::launch;
use super::tile::{ValueTile, WeightTile};
use crate::conv::PackedConvBackend;
use crate::conv::{ConvAlgorithm, ConvBackend, ConvKernels, ConvShape};
use crate::cube::launch::{empty, empty_in_type_of};

fn options(w: &CubeTensor) -> ConvOptions<3> {
    let [_, _, kernel @ ..] = w.shape().dims::<5>();
    ConvOptions::new([1; 3], kernel.map(|k| k / 2), [1; 3], 1)
}

/// Whether the tiled convolution is to run for tensors like this one.
fn prefers_tiled(x: &CubeTensor, algorithm: ConvAlgorithm) -> bool {
    let matmul = &x.client.features().matmul;
    let matrix_units = !matmul.cmma.is_empty() || !matmul.mma.is_empty();
    let wanted = match algorithm {
        ConvAlgorithm::ByDevice => !(matrix_units && cfg!(feature = "autotune")),
        ConvAlgorithm::Tiled => true,
        ConvAlgorithm::Burn => false,
    };
    wanted && matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16)
}

/// The sizes, if the tiled convolution is to run.
fn tiled(x: &CubeTensor, w: &CubeTensor, algorithm: ConvAlgorithm) -> Option<ConvShape> {
    let shape = ConvShape::new(x.shape().dims(), w.shape().dims());
    (prefers_tiled(x, algorithm) && x.dtype() == w.dtype() && shape.products() > 0).then_some(shape)
}

impl ConvBackend for CubeBackend {
    fn conv_same(x: FloatTensor<Self>, w: FloatTensor<Self>, algorithm: ConvAlgorithm) -> FloatTensor<Self> {
        let tile = tiled(&x, &w, algorithm).and_then(|shape| Some((shape, ValueTile::of(&shape)?)));
        let Some((shape, tile)) = tile else {
            let options = options(&w);
            return Self::conv3d(x, w, None, options);
        };
        let [x, w] = [x, w].map(into_contiguous);
        let packed = launch::pack(w, &shape, tile.channels, false);
        launch::convolve(x, packed, &shape, tile)
    }
}

impl PackedConvBackend for CubeBackend {
    fn pack_conv_weights(w: FloatTensor<Self>, algorithm: ConvAlgorithm) -> FloatTensor<Self> {
        let dims = w.shape().dims::<5>();
        let shape = ConvShape::new([1, dims[1], 1, 1, 1], dims);
        let channels = ValueTile::channels_of(&shape)
            .filter(|_| prefers_tiled(&w, algorithm) && shape.input * shape.output > 0);
        match channels {
            Some(channels) => launch::pack(into_contiguous(w), &shape, channels, false),
            None => empty(&w, [0]),
        }
    }

    fn conv_same_packed(x: FloatTensor<Self>, packed: FloatTensor<Self>, w: [usize; 5]) -> FloatTensor<Self> {
        let shape = ConvShape::new(x.shape().dims(), w);
        let Some(tile) = ValueTile::of(&shape).filter(|_| shape.products() > 0) else {
            let [depth, height, width] = shape.size_zyx;
            return empty_in_type_of(&x, [shape.batch, shape.output, depth, height, width]);
        };
        launch::convolve(into_contiguous(x), packed, &shape, tile)
    }
}

impl ConvKernels for CubeBackend {
    fn conv_same_input_gradient(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        algorithm: ConvAlgorithm,
    ) -> FloatTensor<Self> {
        let shape = tiled(&x, &w, algorithm).map(|shape| shape.transposed());
        let Some((shape, tile)) = shape.and_then(|shape| Some((shape, ValueTile::of(&shape)?))) else {
            let options = options(&w);
            return Self::conv3d_x_backward(x, w, y_grad, options);
        };
        let [w, y_grad] = [w, y_grad].map(into_contiguous);
        let packed = launch::pack(w, &shape, tile.channels, true);
        launch::convolve(y_grad, packed, &shape, tile)
    }

    fn conv_same_weight_gradient(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
        algorithm: ConvAlgorithm,
    ) -> FloatTensor<Self> {
        let tile = tiled(&x, &w, algorithm).and_then(|shape| Some((shape, WeightTile::of(&shape)?)));
        let Some((shape, tile)) = tile else {
            let options = options(&w);
            return Self::conv3d_weight_backward(x, w, y_grad, options);
        };
        let [x, y_grad] = [x, y_grad].map(into_contiguous);
        launch::weight_gradient(x, y_grad, &shape, tile)
    }
}
