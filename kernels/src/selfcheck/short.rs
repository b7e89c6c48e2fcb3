//! One small size of every kernel, for a device that is about to be used.

use burn::tensor::{Device, FloatDType};

use super::check::{Check, Passes};
use super::operations::{
    causal_convolution, convolution, gated_sum, gelu, layer_normalisation, projection, row_normalisation,
    scan,
};
use super::outcome::SelfCheckError;
use crate::conv::ConvShape;
use crate::projection::Layout;
use crate::{ScanOrder, ScanShape};

/// Channels of a volume.
const CHANNELS: usize = 8;
/// Channels of a scan.
const INNER: usize = 16;
/// Voxels, and tokens, zyx.
const SIZE_ZYX: [usize; 3] = [4, 32, 32];
/// Voxels of the stem's convolution: its weight's gradient is a sum over more of them than a loop of some drivers runs.
const STEM_ZYX: [usize; 3] = [9, 64, 64];

/// One check of every kernel, over more than one chunk of a sum and of a scan.
pub fn short_checks() -> Vec<Check> {
    let length = SIZE_ZYX.iter().product();
    let conv =
        |input, size_zyx, kernel_zyx| ConvShape { batch: 1, input, output: CHANNELS, size_zyx, kernel_zyx };
    vec![
        convolution(conv(CHANNELS, SIZE_ZYX, [1, 5, 5])),
        convolution(conv(CHANNELS, SIZE_ZYX, [3; 3])),
        convolution(conv(4, STEM_ZYX, [1, 5, 5])),
        row_normalisation(CHANNELS, length + 1, true),
        layer_normalisation([1, CHANNELS, length]),
        projection([1, INNER, CHANNELS, length], [Layout::Tokens, Layout::Volume], true),
        causal_convolution([1, length, INNER], 4, ScanOrder::InterSlice { slices: SIZE_ZYX[0] }),
        scan(ScanShape { batch: 1, length, channels: INNER, states: 16, rank: 2, groups: 1 }),
        gated_sum([1, length, INNER], SIZE_ZYX[0]),
        gelu(INNER * length),
    ]
}

/// Runs [`short_checks`] in f32 until one fails.
///
/// # Errors
/// Names the first kernel that is wrong or gives no result, with its size and its error.
pub async fn run_short_checks_async(device: &Device, passes: Passes) -> Result<(), SelfCheckError> {
    for check in short_checks() {
        let verdict = check.verdict(device, FloatDType::F32, passes).await?;
        if !verdict.agrees() {
            return Err(SelfCheckError::Wrong(verdict));
        }
    }
    Ok(())
}

/// [`run_short_checks_async`], waiting for the device; not for browsers.
///
/// # Errors
/// As [`run_short_checks_async`].
#[cfg(not(target_arch = "wasm32"))]
pub fn run_short_checks(device: &Device, passes: Passes) -> Result<(), SelfCheckError> {
    burn::tensor::read_sync(run_short_checks_async(device, passes))
}
