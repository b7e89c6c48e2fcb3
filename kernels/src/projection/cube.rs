//! Linear maps on tensors of burn's CubeCL backend: its matrix product.

use burn::backend::TensorMetadata;
use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn::tensor::Shape;
use burn_cubecl::CubeBackend;

use super::{Layout, ProjectionBackend, ProjectionKernels};

type B = CubeBackend;
type Tensor = FloatTensor<B>;

fn reshaped(x: Tensor, shape: impl Into<Shape>) -> Tensor {
    B::float_reshape(x, shape.into())
}

/// `[B, second, third]` with the last two axes exchanged where the layouts differ.
fn turned(x: Tensor, from: Layout, to: Layout) -> Tensor {
    if from == to { x } else { B::float_swap_dims(x, 1, 2) }
}

impl ProjectionBackend for B {
    fn project(x: Tensor, w: Tensor, from: Layout, to: Layout) -> Tensor {
        let ([batch, channels, positions], [output, _]) = (from.sizes(x.shape().dims()), w.shape().dims());
        match to {
            Layout::Volume => {
                B::float_matmul(reshaped(w, [1, output, channels]), turned(x, from, Layout::Volume))
            }
            Layout::Tokens if from == Layout::Volume => {
                let w = B::float_swap_dims(reshaped(w, [1, output, channels]), 1, 2);
                B::float_matmul(turned(x, from, Layout::Tokens), w)
            }
            Layout::Tokens => {
                let rows = reshaped(x, [batch * positions, channels]);
                let y = B::float_matmul(rows, B::float_swap_dims(w, 0, 1));
                reshaped(y, [batch, positions, output])
            }
        }
    }

    fn project_and_add(x: Tensor, w: Tensor, b: Tensor, from: Layout, to: Layout) -> Tensor {
        let [output] = b.shape().dims();
        B::float_add(Self::project(x, w, from, to), reshaped(b, to.shape([1, output, 1])))
    }
}

impl ProjectionKernels for B {
    fn project_weight_gradient(x: Tensor, y_grad: Tensor, from: Layout, to: Layout) -> Tensor {
        let [batch, channels, positions] = from.sizes(x.shape().dims());
        let [_, output, _] = to.sizes(y_grad.shape().dims());
        if from == Layout::Tokens && to == Layout::Tokens {
            let y_grad = B::float_swap_dims(reshaped(y_grad, [batch * positions, output]), 0, 1);
            return B::float_matmul(y_grad, reshaped(x, [batch * positions, channels]));
        }
        let product = B::float_matmul(turned(y_grad, to, Layout::Volume), turned(x, from, Layout::Tokens));
        reshaped(B::float_sum_dim(product, 0), [output, channels])
    }
}
