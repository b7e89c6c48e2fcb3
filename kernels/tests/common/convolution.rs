//! The size-keeping convolution in f64, and its comparison with a device.

use burn::tensor::{DType, Device, FloatDType, Tensor};
use tu_kernels::conv::{ConvAlgorithm, ConvShape, conv_same_with};

use super::{error, rounded, tensor, uniform, values};

/// Values and gradients of one convolution.
pub(crate) struct ConvResult<T> {
    pub(crate) y: T,
    pub(crate) x_grad: T,
    pub(crate) w_grad: T,
}

/// Inputs of one convolution and the gradient of its values.
pub(crate) struct ConvInputs {
    pub(crate) shape: ConvShape,
    pub(crate) x: Vec<f64>,
    pub(crate) w: Vec<f64>,
    pub(crate) y_grad: Vec<f64>,
}

pub(crate) fn conv_shape(
    batch: usize,
    [input, output]: [usize; 2],
    size_zyx: [usize; 3],
    kernel_zyx: [usize; 3],
) -> ConvShape {
    ConvShape { batch, input, output, size_zyx, kernel_zyx }
}

impl ConvInputs {
    pub(crate) fn new(shape: ConvShape, seed: u64) -> Self {
        let voxels = shape.batch * shape.voxels();
        Self {
            shape,
            x: uniform(voxels * shape.input, seed),
            w: uniform(shape.output * shape.input * shape.taps(), seed + 1000),
            y_grad: uniform(voxels * shape.output, seed + 2000),
        }
    }

    fn dims(&self) -> [[usize; 5]; 3] {
        let ConvShape { batch, input, output, size_zyx: [d, h, w], kernel_zyx: [kz, ky, kx] } = self.shape;
        [[batch, input, d, h, w], [output, input, kz, ky, kx], [batch, output, d, h, w]]
    }

    /// Values and gradients, summed one product after the other over taps that lie inside.
    pub(crate) fn reference(&self) -> ConvResult<Vec<f64>> {
        let ConvShape { batch, input, output, size_zyx: [d, h, w], kernel_zyx: [kz, ky, kx] } = self.shape;
        let mut found = ConvResult {
            y: vec![0.0; self.y_grad.len()],
            x_grad: vec![0.0; self.x.len()],
            w_grad: vec![0.0; self.w.len()],
        };
        // position and tap to source, along one axis
        let pairs = |size: usize, k: usize| {
            let all = (0..size).flat_map(move |p| (0..k).map(move |tap| (p, tap)));
            all.filter_map(move |(p, tap)| {
                Some((p, tap, (p + tap).checked_sub(k / 2).filter(|q| *q < size)?))
            })
            .collect::<Vec<_>>()
        };
        let (along_z, along_y, along_x) = (pairs(d, kz), pairs(h, ky), pairs(w, kx));
        for b in 0..batch {
            for o in 0..output {
                for i in 0..input {
                    for &(z, dz, sz) in &along_z {
                        for &(y, dy, sy) in &along_y {
                            let to = (((b * output + o) * d + z) * h + y) * w;
                            let from = (((b * input + i) * d + sz) * h + sy) * w;
                            let tap = (((o * input + i) * kz + dz) * ky + dy) * kx;
                            for &(x, dx, sx) in &along_x {
                                found.y[to + x] += self.w[tap + dx] * self.x[from + sx];
                                found.x_grad[from + sx] += self.w[tap + dx] * self.y_grad[to + x];
                                found.w_grad[tap + dx] += self.y_grad[to + x] * self.x[from + sx];
                            }
                        }
                    }
                }
            }
        }
        found
    }

    /// Values and gradients on a device.
    pub(crate) async fn run(&self, device: &Device, algorithm: ConvAlgorithm) -> ConvResult<Vec<f32>> {
        self.run_in(FloatDType::F32, device, algorithm).await
    }

    /// The inputs as a type holds them.
    pub(crate) fn rounded(&self, dtype: FloatDType) -> Self {
        let [x, w, y_grad] = [&self.x, &self.w, &self.y_grad].map(|values| rounded(values, dtype));
        Self { shape: self.shape, x, w, y_grad }
    }

    /// Values and gradients on a device, of inputs in a type.
    pub(crate) async fn run_in(
        &self,
        dtype: FloatDType,
        device: &Device,
        algorithm: ConvAlgorithm,
    ) -> ConvResult<Vec<f32>> {
        let device = device.clone().autodiff();
        let [x_dims, w_dims, y_dims] = self.dims();
        let x: Tensor<5> = tensor(&self.x, x_dims, &device).require_grad();
        let w: Tensor<5> = tensor(&self.w, w_dims, &device).require_grad();
        let y = conv_same_with(x.clone().cast(dtype), w.clone().cast(dtype), algorithm);
        assert_eq!(y.dtype(), DType::from(dtype));
        let y = y.cast(FloatDType::F32);
        let mut grads = (y.clone() * tensor(&self.y_grad, y_dims, &device)).sum().backward();
        ConvResult {
            x_grad: values(x.grad_remove(&mut grads).unwrap()).await,
            w_grad: values(w.grad_remove(&mut grads).unwrap()).await,
            y: values(y.inner()).await,
        }
    }

    /// Compares a device with [`Self::reference`].
    pub(crate) async fn check(&self, device: &Device, algorithm: ConvAlgorithm, limit: f64) {
        self.check_in(FloatDType::F32, device, algorithm, limit).await;
    }

    /// Compares a device with [`Self::reference`] of inputs rounded to a type.
    pub(crate) async fn check_in(
        &self,
        dtype: FloatDType,
        device: &Device,
        algorithm: ConvAlgorithm,
        limit: f64,
    ) {
        let expected = self.rounded(dtype).reference();
        let found = self.run_in(dtype, device, algorithm).await;
        for (name, error) in [
            ("y", error(&found.y, &expected.y)),
            ("x_grad", error(&found.x_grad, &expected.x_grad)),
            ("w_grad", error(&found.w_grad, &expected.w_grad)),
        ] {
            assert!(
                error <= limit,
                "{name} of {:?}, {dtype:?}: relative error {error:e} > {limit:e}",
                self.shape
            );
        }
    }
}

/// Odd sizes, channel counts around the tiles' and all kernels of EMmamba, small enough for a software device.
pub(crate) fn conv_shapes() -> Vec<ConvShape> {
    vec![
        conv_shape(1, [1, 1], [1, 1, 1], [1, 3, 3]),
        conv_shape(1, [1, 8], [3, 9, 11], [1, 5, 5]),
        conv_shape(2, [3, 5], [2, 7, 13], [1, 3, 3]),
        conv_shape(1, [8, 8], [2, 17, 33], [1, 5, 5]),
        conv_shape(1, [16, 8], [1, 12, 40], [1, 5, 5]),
        conv_shape(1, [5, 17], [4, 5, 6], [3, 3, 3]),
        conv_shape(2, [9, 33], [3, 6, 9], [3, 3, 3]),
        conv_shape(1, [33, 40], [1, 10, 10], [1, 5, 5]),
        conv_shape(1, [64, 32], [2, 8, 8], [1, 3, 3]),
        conv_shape(1, [1, 4], [2, 20, 35], [1, 7, 7]),
        conv_shape(1, [7, 2], [1, 1, 19], [1, 1, 9]),
        conv_shape(1, [2, 3], [9, 3, 2], [5, 1, 3]),
        conv_shape(1, [4, 6], [1, 9, 9], [1, 11, 11]),
    ]
}
