//! The convolution on CubeCL devices: burn's own kernels.

use burn::backend::TensorMetadata;
use burn::backend::ops::{ConvOptions, ModuleOps};
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{ConvBackend, ConvKernels};

fn options(w: &FloatTensor<CubeBackend>) -> ConvOptions<3> {
    let [_, _, kernel @ ..] = w.shape().dims::<5>();
    ConvOptions::new([1; 3], kernel.map(|k| k / 2), [1; 3], 1)
}

impl ConvBackend for CubeBackend {
    fn conv_same(x: FloatTensor<Self>, w: FloatTensor<Self>) -> FloatTensor<Self> {
        let options = options(&w);
        Self::conv3d(x, w, None, options)
    }
}

impl ConvKernels for CubeBackend {
    fn conv_same_input_gradient(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let options = options(&w);
        Self::conv3d_x_backward(x, w, y_grad, options)
    }

    fn conv_same_weight_gradient(
        x: FloatTensor<Self>,
        w: FloatTensor<Self>,
        y_grad: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let options = options(&w);
        Self::conv3d_weight_backward(x, w, y_grad, options)
    }
}
