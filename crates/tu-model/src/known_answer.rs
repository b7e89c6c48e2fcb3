//! What a network gives for an input that anybody can make again: the proof that a device computes it right.
//!
//! The input is a function of a seed and of the voxel, in integers of 32 bits until one division, so that it has the same
//! bits in every language and on every machine. With ⌊·⌋ over the places (z, y, x):
//!
//! ```text
//! mix(h):   h ^= h >> 16;  h *= 0x85ebca6b;  h ^= h >> 13;  h *= 0xc2b2ae35;  h ^= h >> 16      (mod 2³²)
//! hash(s; a, b, …):   h = s;  for each n of a, b, …:  h = mix((h + 0x9e3779b9) ^ n);  h
//! part(o, p, q, r) = hash(seed; o, p, q, r) >> 11
//! input(z, y, x) = (4·part(0, z/4, y/16, x/16) + 2·part(1, z/2, y/4, x/4) + part(2, z, y, x)) / (7·2²¹)
//! ```
//!
//! Blocks of three sizes: neither smooth nor periodic, with borders where affinities fall. The places are spread alike: of the
//! V voxels of a window, channel c is looked at in its first, in its last, and in one of each of the stretches between,
//! `⌊V·i/n⌋ + hash(seed; 3, c, i) mod ⌊V/n⌋`.

use serde::{Deserialize, Serialize};

use crate::inference::{Network, NetworkError};
use crate::metadata::ModelMetadata;
use crate::model_file::ModelFileError;
#[cfg(feature = "flex")]
use crate::model_file::read_metadata;
use crate::precision::Precision;

/// Seed of the known answers that are written here.
pub const SEED: u32 = 1;
/// Places of each channel, if the window has so many voxels.
const PLACES_PER_CHANNEL: usize = 24;
/// Windows for networks whose file has no known answer: small, but they pass through every kernel.
#[cfg(feature = "flex")]
const SMALL_WINDOWS_ZYX: [[usize; 3]; 2] = [[2, 16, 16], [16, 16, 16]];
/// The most places that a file may name.
const MAX_PLACES: usize = 4096;
/// The most voxels of a window that is made from a seed: an input of 1 GiB.
const MAX_VOXELS: usize = 1 << 28;

/// Values of a network at some places of a window that is made from a seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KnownAnswer {
    /// Seed of the input.
    pub seed: u32,
    /// The window, voxels (z, y, x).
    pub window_zyx: [usize; 3],
    /// Where the output is looked at: channel, z, y, x.
    pub places_czyx: Vec<[usize; 4]>,
    /// The output there, in (0, 1), as the CPU computes it in f32; six decimals.
    pub values: Vec<f32>,
}

/// Why a network does not give its known answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownAnswerError {
    /// The model file cannot be read.
    #[error(transparent)]
    File(#[from] ModelFileError),
    /// The window did not pass through the network, or the device failed.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The network gives something else.
    #[error(
        "the network's known answer is missed by up to {difference} in {precision}, where {tolerance} may be (channel {}, voxel {:?}: {found} in place of {expected})",
        place_czyx[0],
        &place_czyx[1..]
    )]
    Wrong {
        /// Where the difference is largest: channel, z, y, x.
        place_czyx: [usize; 4],
        /// What the network gives there.
        found: f32,
        /// What it should give.
        expected: f32,
        /// Between these two.
        difference: f32,
        /// The largest difference that counts as rounding.
        tolerance: f32,
        /// In which the network ran.
        precision: Precision,
    },
}

impl KnownAnswerError {
    /// Whether the device has answered, and wrong.
    pub fn is_wrong_answer(&self) -> bool {
        matches!(self, Self::Wrong { .. } | Self::Network(NetworkError::NotFinite))
    }
}

/// How far a device may be from the CPU's f32 by rounding alone, in a type of volumes. Rounding of the shipped network stays
/// an order of magnitude below it (f16: 0.0014, bf16: 0.013 on the CPU); what a wrong kernel gives is mostly far above.
pub fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F32 => 1e-3,
        Precision::F16 => 3e-2,
        Precision::Bf16 => 1e-1,
    }
}

impl KnownAnswer {
    /// What `network` gives for the window of `seed`: a known answer if it runs on the CPU in f32.
    ///
    /// # Errors
    /// As [`Network::affinities`].
    pub async fn compute(network: &Network, seed: u32, window_zyx: [usize; 3]) -> Result<Self, NetworkError> {
        let output = network.affinities(input(seed, window_zyx), window_zyx).await?;
        Ok(Self::of_output(&output, seed, window_zyx))
    }

    /// As [`Self::compute`], waiting for the device; not for browsers.
    ///
    /// # Errors
    /// As [`Network::affinities`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn compute_blocking(
        network: &Network,
        seed: u32,
        window_zyx: [usize; 3],
    ) -> Result<Self, NetworkError> {
        let output = network.affinities_blocking(input(seed, window_zyx), window_zyx)?;
        Ok(Self::of_output(&output, seed, window_zyx))
    }

    /// The known answer in a model file or, where that has none, the answer of its network for a small window, which the CPU
    /// computes now.
    ///
    /// # Errors
    /// The file cannot be read, or its network gives no finite values.
    #[cfg(feature = "flex")]
    pub async fn of_file(bytes: &[u8]) -> Result<Self, KnownAnswerError> {
        let metadata = read_metadata(bytes)?;
        let window_zyx = small_window_zyx(&metadata);
        match metadata.known_answer {
            Some(known) => Ok(known),
            None => Ok(Self::compute(&Self::on_cpu(bytes)?, SEED, window_zyx).await?),
        }
    }

    /// As [`Self::of_file`]; not for browsers.
    ///
    /// # Errors
    /// As [`Self::of_file`].
    #[cfg(all(feature = "flex", not(target_arch = "wasm32")))]
    pub fn of_file_blocking(bytes: &[u8]) -> Result<Self, KnownAnswerError> {
        let metadata = read_metadata(bytes)?;
        let window_zyx = small_window_zyx(&metadata);
        match metadata.known_answer {
            Some(known) => Ok(known),
            None => Ok(Self::compute_blocking(&Self::on_cpu(bytes)?, SEED, window_zyx)?),
        }
    }

    #[cfg(feature = "flex")]
    fn on_cpu(bytes: &[u8]) -> Result<Network, ModelFileError> {
        Network::from_bytes(bytes, &burn::tensor::Device::flex())
    }

    /// The largest difference between what `network` gives and the known answer, where that is rounding in its precision.
    ///
    /// # Errors
    /// [`KnownAnswerError`] when it is more, or when there is no output.
    pub async fn check(&self, network: &Network) -> Result<f32, KnownAnswerError> {
        let output = network.affinities(input(self.seed, self.window_zyx), self.window_zyx).await?;
        self.compare(&output, network.model.precision, tolerance(network.model.precision))
    }

    /// As [`Self::check`], waiting for the device, and with a tolerance of the caller's; not for browsers.
    ///
    /// # Errors
    /// As [`Self::check`].
    #[cfg(not(target_arch = "wasm32"))]
    pub fn check_blocking(&self, network: &Network, tolerance: f32) -> Result<f32, KnownAnswerError> {
        let output = network.affinities_blocking(input(self.seed, self.window_zyx), self.window_zyx)?;
        self.compare(&output, network.model.precision, tolerance)
    }

    /// What makes the known answer of a model file unusable, as a sentence.
    pub(crate) fn defect(&self, metadata: &ModelMetadata) -> Option<String> {
        let window = metadata.window_zyx();
        if self.window_zyx != window {
            return Some(format!(
                "its known answer is that of a window of {:?} voxels, tile and halo make {window:?}; write it anew with `tu-train known-answer`",
                self.window_zyx
            ));
        }
        if window.iter().try_fold(1usize, |n, v| n.checked_mul(*v)).is_none_or(|n| n > MAX_VOXELS) {
            return Some(format!("a window of {window:?} voxels is too large for a known answer"));
        }
        let (places, values) = (self.places_czyx.len(), self.values.len());
        if places != values || places == 0 || places > MAX_PLACES {
            return Some(format!(
                "its known answer has {places} places for {values} values; 1 to {MAX_PLACES} of both are needed"
            ));
        }
        let inside = |[channel, z, y, x]: &[usize; 4]| {
            *channel < metadata.architecture.out_channels
                && *z < window[0]
                && *y < window[1]
                && *x < window[2]
        };
        if let Some(place) = self.places_czyx.iter().find(|place| !inside(place)) {
            return Some(format!(
                "its known answer has a place outside the window, {place:?} (channel, z, y, x)"
            ));
        }
        let value = self.values.iter().find(|value| !(0.0..=1.0).contains(*value))?;
        Some(format!("its known answer has the value {value}, which is not between 0 and 1"))
    }

    fn of_output(output: &[f32], seed: u32, window_zyx: [usize; 3]) -> Self {
        let voxels: usize = window_zyx.iter().product();
        let channels = output.len() / voxels.max(1);
        let places_czyx: Vec<_> =
            (0..channels).flat_map(|channel| places(seed, channel, window_zyx)).collect();
        // Vector units of processors differ in the last bits; a file should not.
        let values = places_czyx.iter().map(|place| (at(output, window_zyx, place) * 1e6).round() / 1e6);
        Self { seed, window_zyx, values: values.collect(), places_czyx }
    }

    fn compare(&self, output: &[f32], precision: Precision, tolerance: f32) -> Result<f32, KnownAnswerError> {
        let mut largest = 0.0;
        let mut worst = None;
        for (place, &expected) in self.places_czyx.iter().zip(&self.values) {
            let found = at(output, self.window_zyx, place);
            let difference = (found - expected).abs();
            if difference > largest {
                largest = difference;
                worst = Some((*place, found, expected));
            }
        }
        match worst {
            Some((place_czyx, found, expected)) if largest > tolerance => Err(KnownAnswerError::Wrong {
                place_czyx,
                found,
                expected,
                difference: largest,
                tolerance,
                precision,
            }),
            _ => Ok(largest),
        }
    }
}

/// A model file with the known answer of its network, computed on the CPU from the weights as they are stored: one whole
/// window. Tensors keep their bytes.
///
/// # Errors
/// The file cannot be read, or its network gives no finite values.
#[cfg(all(feature = "flex", not(target_arch = "wasm32")))]
pub fn with_known_answer(bytes: &[u8]) -> Result<Vec<u8>, KnownAnswerError> {
    let mut metadata = read_metadata(bytes)?;
    let network = KnownAnswer::on_cpu(bytes)?;
    metadata.known_answer = Some(KnownAnswer::compute_blocking(&network, SEED, metadata.window_zyx())?);
    Ok(crate::model_file::replace_metadata(bytes, &metadata)?)
}

#[cfg(feature = "flex")]
fn small_window_zyx(metadata: &ModelMetadata) -> [usize; 3] {
    let fits = |window: &[usize; 3]| metadata.architecture.check_window(*window).is_ok();
    SMALL_WINDOWS_ZYX.into_iter().find(fits).unwrap_or_else(|| metadata.window_zyx())
}

/// The input of a seed: a window of values in [0, 1], C order, x fastest.
pub fn input(seed: u32, window_zyx: [usize; 3]) -> Vec<f32> {
    let part = |octave: u32, voxel: [usize; 3]| {
        let [z, y, x] = voxel.map(|v| v as u32);
        hash(seed, &[octave, z, y, x]) >> 11
    };
    let [depth, height, width] = window_zyx;
    let mut values = Vec::with_capacity(depth * height * width);
    for z in 0..depth {
        for y in 0..height {
            for x in 0..width {
                let coarse = part(0, [z / 4, y / 16, x / 16]);
                let middle = part(1, [z / 2, y / 4, x / 4]);
                // Below 2²⁴: exact in f32.
                let sum = 4 * coarse + 2 * middle + part(2, [z, y, x]);
                values.push(sum as f32 / (7u32 << 21) as f32);
            }
        }
    }
    values
}

/// The places of one channel: channel, z, y, x.
fn places(seed: u32, channel: usize, window_zyx: [usize; 3]) -> impl Iterator<Item = [usize; 4]> {
    let [_, height, width] = window_zyx;
    let voxels: usize = window_zyx.iter().product();
    let count = PLACES_PER_CHANNEL.min(voxels);
    (0..count).map(move |i| {
        let within = hash(seed, &[3, channel as u32, i as u32]) as usize % (voxels / count);
        let voxel = match i {
            0 => 0,
            _ if i == count - 1 => voxels - 1,
            // In 64 bits: the product exceeds the 32 of WebAssembly.
            _ => (voxels as u64 * i as u64 / count as u64) as usize + within,
        };
        [channel, voxel / (height * width), voxel / width % height, voxel % width]
    })
}

fn at(output: &[f32], [depth, height, width]: [usize; 3], [channel, z, y, x]: &[usize; 4]) -> f32 {
    output[((channel * depth + z) * height + y) * width + x]
}

fn hash(seed: u32, numbers: &[u32]) -> u32 {
    numbers.iter().fold(seed, |h, n| mix(h.wrapping_add(0x9e37_79b9) ^ n))
}

/// The finaliser of MurmurHash3.
fn mix(mut h: u32) -> u32 {
    h ^= h >> 16;
    h = h.wrapping_mul(0x85eb_ca6b);
    h ^= h >> 13;
    h = h.wrapping_mul(0xc2b2_ae35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests;
