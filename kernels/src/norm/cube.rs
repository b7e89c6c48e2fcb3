//! Row normalisation on CubeCL devices, from burn's own kernels.

use burn::backend::ops::FloatTensorOps;
use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{EPSILON, NormBackend, NormKernels};

type T = FloatTensor<CubeBackend>;

/// (x̂, r).
fn normalise(x: T) -> (T, T) {
    let mean = CubeBackend::float_mean_dim(x.clone(), 1);
    let centred = CubeBackend::float_sub(x, mean);
    let square = CubeBackend::float_mul(centred.clone(), centred.clone());
    let variance = CubeBackend::float_mean_dim(square, 1);
    let deviation = CubeBackend::float_sqrt(CubeBackend::float_add_scalar(variance, EPSILON.into()));
    let scale = CubeBackend::float_recip(deviation);
    (CubeBackend::float_mul(centred, scale.clone()), scale)
}

impl NormBackend for CubeBackend {
    fn normalise_rows(x: T) -> T {
        normalise(x).0
    }
}

impl NormKernels for CubeBackend {
    fn normalise_rows_gradient(x: T, y_grad: T) -> T {
        let (y, scale) = normalise(x);
        let mean = Self::float_mean_dim(y_grad.clone(), 1);
        let along = Self::float_mean_dim(Self::float_mul(y_grad.clone(), y.clone()), 1);
        let centred = Self::float_sub(y_grad, mean);
        Self::float_mul(scale, Self::float_sub(centred, Self::float_mul(y, along)))
    }
}
