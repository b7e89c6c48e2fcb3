//! Checks to run on a device before trusting it with training.

use core::fmt;

use burn::tensor::{Device, Tensor, TensorData, module::conv3d, ops::ConvOptions};

/// Largest relative error that passes; f32 sums of 10⁵ products stay far below it, wrong kernels far above.
const LIMIT: f64 = 1e-3;
/// Channels of input and output.
const CHANNELS: usize = 16;
/// Of these, the channels compared with the f64 sums.
const COMPARED: usize = 4;
/// Weights of one pair of channels, kernel 3 × 3 × 3.
const TAPS: usize = 27;
/// Batch and input size zyx: below, at and above 32,768 positions, where wrong gradients have been seen.
const SHAPES: [[usize; 4]; 3] = [[1, 8, 32, 32], [1, 8, 64, 64], [2, 12, 64, 64]];

/// A device failed a check.
#[derive(Clone, Debug)]
pub enum SelfCheckError {
    /// The gradient differs from the f64 sums.
    Wrong {
        /// Batch and input size zyx.
        batch_zyx: [usize; 4],
        /// Largest difference over the largest expected magnitude; NaN when the device's result is not finite.
        relative_error: f64,
    },
    /// The device gave no gradient.
    Unreadable(String),
}

impl fmt::Display for SelfCheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong { batch_zyx, relative_error } => write!(
                f,
                "the weight gradient of a 3-D convolution over {batch_zyx:?} (batch, z, y, x) is wrong on this \
                 device by {relative_error:.1e} of its magnitude; train on the CPU or on another device or driver"
            ),
            Self::Unreadable(cause) => write!(
                f,
                "the device returned no weight gradient ({cause}); check its driver or train on the CPU"
            ),
        }
    }
}

impl core::error::Error for SelfCheckError {}

/// Compares the weight gradient of a 3-D convolution (16 → 16 channels, kernel 3, padding 1) with f64 sums and
/// returns the largest error relative to the largest magnitude.
///
/// Some driver and kernel combinations return finite but wrong gradients for large inputs, silently; a training
/// run should refuse such a device.
///
/// # Errors
/// When the error exceeds 1e-3 or the gradient cannot be read.
#[cfg(not(target_arch = "wasm32"))]
pub fn conv3d_weight_gradient(device: &Device) -> Result<f64, SelfCheckError> {
    burn::tensor::read_sync(conv3d_weight_gradient_async(device))
}

/// The check of `conv3d_weight_gradient` where reading a device cannot block, as in a browser.
///
/// # Errors
/// When the error exceeds 1e-3 or the gradient cannot be read.
pub async fn conv3d_weight_gradient_async(device: &Device) -> Result<f64, SelfCheckError> {
    let mut worst = 0.0f64;
    for batch_zyx in SHAPES {
        let error = check_shape(device, batch_zyx).await?;
        if error.is_nan() || error > LIMIT {
            return Err(SelfCheckError::Wrong { batch_zyx, relative_error: error });
        }
        worst = worst.max(error);
    }
    Ok(worst)
}

async fn check_shape(device: &Device, batch_zyx: [usize; 4]) -> Result<f64, SelfCheckError> {
    let [batch, depth, height, width] = batch_zyx;
    let dims = [batch, CHANNELS, depth, height, width];
    let count = dims.iter().product();
    let (input, output_grad) = (uniform(count, 1), uniform(count, 2));
    let device = device.clone().autodiff();
    let tensor = |values: &[f32]| Tensor::<5>::from_data(TensorData::new(values.to_vec(), dims), &device);
    let weights = uniform(CHANNELS * CHANNELS * TAPS, 3);
    let weights = TensorData::new(weights, [CHANNELS, CHANNELS, 3, 3, 3]);
    let weights = Tensor::<5>::from_data(weights, &device).require_grad();
    let options = ConvOptions::new([1; 3], [1; 3], [1; 3], 1);
    let output = conv3d(tensor(&input), weights.clone(), None, options);
    let grads = (output * tensor(&output_grad)).sum().backward();
    let Some(found) = weights.grad(&grads) else {
        return Err(SelfCheckError::Unreadable("no gradient was recorded".into()));
    };
    let found =
        found.into_data_async().await.map_err(|error| SelfCheckError::Unreadable(format!("{error:?}")))?;
    let found =
        found.try_into_vec::<f32>().map_err(|error| SelfCheckError::Unreadable(format!("{error:?}")))?;

    let (mut difference, mut magnitude) = (0.0f64, 0.0f64);
    for o in 0..COMPARED {
        for i in 0..COMPARED {
            for tap in 0..TAPS {
                let exact = exact(&input, &output_grad, batch_zyx, [o, i, tap]);
                let error = (f64::from(found[(o * CHANNELS + i) * TAPS + tap]) - exact).abs();
                if error.is_nan() {
                    return Ok(f64::NAN);
                }
                difference = difference.max(error);
                magnitude = magnitude.max(exact.abs());
            }
        }
    }
    Ok(difference / magnitude)
}

/// `Σ input[i, p + tap − 1] · output_grad[o, p]` over all positions `p` and the batch.
fn exact(input: &[f32], output_grad: &[f32], batch_zyx: [usize; 4], [o, i, tap]: [usize; 3]) -> f64 {
    let [batch, depth, height, width] = batch_zyx;
    let (kz, ky, kx) = (tap / 9, tap / 3 % 3, tap % 3);
    // positions whose input, one tap away, lies inside
    let inside = |k: usize, size: usize| usize::from(k == 0)..size - usize::from(k == 2);
    let mut sum = 0.0;
    for n in 0..batch {
        for z in inside(kz, depth) {
            for y in inside(ky, height) {
                let row = |channel: usize, z: usize, y: usize| {
                    (((n * CHANNELS + channel) * depth + z) * height + y) * width
                };
                let from = row(i, z + kz - 1, y + ky - 1);
                let to = row(o, z, y);
                for x in inside(kx, width) {
                    sum += f64::from(input[from + x + kx - 1]) * f64::from(output_grad[to + x]);
                }
            }
        }
    }
    sum
}

/// Uniform numbers in [−1, 1), the same on every machine.
fn uniform(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            ((state >> 8) as f32) / 8_388_608.0 - 1.0
        })
        .collect()
}
