//! From logits of a window to the bins of a tile: sigmoid, crop and quantisation in one operation, so that a byte per affinity
//! of the tile is read from the device in place of four per affinity of the window.
//!
//! ```text
//! bin = min(⌊256 σ(x)⌋, 255),      σ(x) = 1/(1 + e⁻ˣ) where x ≥ 0, eˣ/(1 + eˣ) elsewhere
//! ```
//! The same operation looks at every logit of the window, the halo included, and tells whether all are finite: what is
//! not finite in a halo says as much about a result as elsewhere.
//!
//! WebGPU has no bytes. Four bins make a word of 32 bits, the first in its lowest byte; the last word is filled up with
//! zeros. Behind the bins follow words that are 0 if and only if all logits are finite.
//!
//! | backend | what runs |
//! |---|---|
//! | Flex | [`cpu`]: rows of the tile |
//! | Cube | `cube`: one launch, a cube for 4096 logits and their share of the words |

#[cfg(feature = "flex")]
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::backend::{
    Backend, Dispatch, ExecutionError, backend_extension,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{DataError, Int, Tensor, TensorData};

use crate::precision::in_f32;

/// Bins in a word.
pub(crate) const BINS_PER_WORD: usize = 4;

/// The part of a window that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crop {
    /// First voxel within the window, z y x.
    pub origin_zyx: [usize; 3],
    /// Voxels, z y x.
    pub shape_zyx: [usize; 3],
}

impl Crop {
    /// Bins of `channels` channels.
    #[must_use]
    pub fn bins(&self, channels: usize) -> usize {
        channels * self.shape_zyx.iter().product::<usize>()
    }
}

/// A backend with the operation.
#[backend_extension(Cube: cfg(feature = "cube"), Flex: cfg(feature = "flex"))]
pub trait QuantiseBackend: Backend {
    /// Words of bins, then words that tell whether `logits [1, C, D, H, W]` are finite.
    fn quantise(logits: FloatTensor<Self>, crop: Crop) -> IntTensor<Self>;
}

/// Bins on a device, computed or still being computed.
#[derive(Clone, Debug)]
pub struct Quantised {
    words: Tensor<1, Int>,
    bins: usize,
}

/// Why bins could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum ReadError {
    /// The device failed.
    Device(ExecutionError),
    /// The device gave data of another type.
    Data(DataError),
    /// A logit of the window is not finite.
    NotFinite,
}

impl core::fmt::Display for ReadError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Device(error) => write!(f, "the compute device failed ({error:?})"),
            Self::Data(error) => write!(f, "the compute device gave data of another type ({error:?})"),
            Self::NotFinite => f.write_str("a logit is not finite"),
        }
    }
}

impl core::error::Error for ReadError {}

/// Bins `[C, crop]`, in C order with x fastest, of `logits [1, C, D, H, W]` on a device without autodiff. Nothing is waited
/// for: [`Quantised::read`] does that.
///
/// # Panics
/// When there is more than one window, or the crop is empty or not within it.
#[must_use]
pub fn quantise(logits: Tensor<5>, crop: Crop) -> Quantised {
    let [windows, channels, window @ ..] = logits.dims();
    assert!(windows == 1, "quantise: {windows} windows at a time, one is wanted");
    let within = |d: usize| {
        crop.shape_zyx[d] > 0
            && crop.origin_zyx[d].checked_add(crop.shape_zyx[d]).is_some_and(|e| e <= window[d])
    };
    assert!((0..3).all(within), "quantise: {crop:?} is not within a window of {window:?} voxels (z, y, x)");
    let words = <Dispatch as QuantiseBackend>::quantise(in_f32(logits).into_dispatch(), crop);
    Quantised { words: Tensor::from_dispatch(words), bins: crop.bins(channels) }
}

impl Quantised {
    /// The bins, once the device has them.
    ///
    /// # Errors
    /// The device fails, or a logit of the window is not finite.
    pub async fn read(self) -> Result<Vec<u8>, ReadError> {
        let data = self.words.into_data_async().await.map_err(ReadError::Device)?;
        unpacked(data, self.bins)
    }

    /// As [`Self::read`], waiting for the device; not for browsers.
    ///
    /// # Errors
    /// As [`Self::read`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read_blocking(self) -> Result<Vec<u8>, ReadError> {
        let data = self.words.try_into_data().map_err(ReadError::Device)?;
        unpacked(data, self.bins)
    }
}

fn unpacked(data: TensorData, bins: usize) -> Result<Vec<u8>, ReadError> {
    let words = data.try_into_vec::<u32>().map_err(ReadError::Data)?;
    let (packed, flags) = words.split_at(bins.div_ceil(BINS_PER_WORD).min(words.len()));
    if flags.iter().any(|flag| *flag != 0) {
        return Err(ReadError::NotFinite);
    }
    let mut found: Vec<u8> = packed.iter().flat_map(|word| word.to_le_bytes()).collect();
    found.truncate(bins);
    Ok(found)
}
