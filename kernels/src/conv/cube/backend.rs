//! The convolution on tensors of burn's CubeCL backend, and which one runs.

use burn::backend::TensorMetadata;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;
use burn_cubecl::{CubeBackend, kernel::into_contiguous, tensor::CubeTensor};

use super::launch;
use super::tile::{ValueTile, WeightTile};
use crate::conv::{ConvAlgorithm, ConvBackend, ConvKernels, ConvShape};

fn options(w: &CubeTensor) -> ConvOptions<3> {
    let [_, _, kernel @ ..] = w.shape().dims::<5>();
    ConvOptions::new([1; 3], kernel.map(|k| k / 2), [1; 3], 1)
}

/// The sizes, if the tiled convolution is to run.
fn tiled(x: &CubeTensor, w: &CubeTensor, algorithm: ConvAlgorithm) -> Option<ConvShape> {
    let shape = ConvShape::new(x.shape().dims(), w.shape().dims());
    let matmul = &x.client.features().matmul;
    let matrix_units = !matmul.cmma.is_empty() || !matmul.mma.is_empty();
    let wanted = match algorithm {
        ConvAlgorithm::ByDevice => !(matrix_units && cfg!(feature = "autotune")),
        ConvAlgorithm::Tiled => true,
        ConvAlgorithm::Burn => false,
    };
    let known = matches!(x.dtype(), DType::F32 | DType::F16 | DType::BF16) && x.dtype() == w.dtype();
    (wanted && known && shape.products() > 0).then_some(shape)
}

impl ConvBackend for CubeBackend {
    fn conv_same(x: FloatTensor<Self>, w: FloatTensor<Self>, algorithm: ConvAlgorithm) -> FloatTensor<Self> {
        let tile = tiled(&x, &w, algorithm).and_then(|shape| Some((shape, ValueTile::of(&shape)?)));
        let Some((shape, tile)) = tile else {
            let options = options(&w);
            return Self::conv3d(x, w, None, options);
        };
        let [x, w] = [x, w].map(into_contiguous);
        launch::convolve(x, w, &shape, tile, false)
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
        launch::convolve(y_grad, w, &shape, tile, true)
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
