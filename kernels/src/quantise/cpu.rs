//! CPU twin of quantisation.

use super::{BINS_PER_WORD, Crop};

/// σ(x), as burn's Flex backend computes it.
#[inline]
fn sigmoid(x: f32) -> f32 {
    if x >= 0.0 {
        1.0 / (1.0 + (-x).exp())
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// The bin of a logit. NaN → 0.
#[inline]
#[must_use]
pub fn bin(logit: f32) -> u8 {
    // The cast saturates and rounds down. Multiplying by 256 is exact.
    (sigmoid(logit) * 256.0) as u8
}

/// Bins `[C, crop]` of `logits [C, window]`, both in C order.
///
/// # Panics
/// When the crop is not within the window, or the logits do not fill whole channels.
#[must_use]
pub fn bins(logits: &[f32], window_zyx: [usize; 3], crop: &Crop) -> Vec<u8> {
    let [depth, height, width] = window_zyx;
    let ([z0, y0, x0], [tile_z, tile_y, tile_x]) = (crop.origin_zyx, crop.shape_zyx);
    let channels = logits.chunks_exact(depth * height * width);
    let mut found = Vec::with_capacity(crop.bins(channels.len()));
    for channel in channels {
        for z in z0..z0 + tile_z {
            for y in y0..y0 + tile_y {
                let row = (z * height + y) * width + x0;
                found.extend(channel[row..row + tile_x].iter().map(|logit| bin(*logit)));
            }
        }
    }
    found
}

/// Bins as words, then one that is 1 if `finite` is false.
#[must_use]
pub fn packed(bins: &[u8], finite: bool) -> Vec<u32> {
    let word = |bins: &[u8]| {
        let mut bytes = [0; BINS_PER_WORD];
        bytes[..bins.len()].copy_from_slice(bins);
        u32::from_le_bytes(bytes)
    };
    bins.chunks(BINS_PER_WORD).map(word).chain([u32::from(!finite)]).collect()
}
