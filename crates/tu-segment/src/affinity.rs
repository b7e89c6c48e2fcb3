//! Affinities as bins: 8 bits per voxel and channel.
//!
//! Bin `b` stands for the affinities in `[b/256, (b+1)/256)`. Backends differ in the last bits of a float, and
//! the scoring of edges uses 256 bins anyway, so affinities are rounded to bins before anything is decided on
//! them; thresholds given as numbers are rounded by the same rule.

/// The most voxels that one block (a tile, a window, a volume taken as a whole) may have.
///
/// Local labels and voxel indices are 32-bit, with the top bit reserved as a mark.
pub const MAX_VOXELS: usize = i32::MAX as usize;

/// The bin of an affinity in `[0, 1]`: `min(⌊256 a⌋, 255)`; below 0 and NaN → 0, above 1 → 255.
pub fn quantise_affinity(a: f32) -> u8 {
    // The cast saturates at both ends and takes NaN to 0. Multiplying by 256 is exact.
    (a * 256.0) as u8
}

/// The affinity in the middle of a bin, `(b + ½)/256`.
pub fn affinity_of_bin(b: u8) -> f32 {
    (f32::from(b) + 0.5) / 256.0
}

/// Data whose length does not fit the shape it is said to have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShapeError {
    /// Wrong number of values.
    #[error(
        "{values} affinities do not fill three channels of {shape_zyx:?} (z, y, x) voxels: pass [3, z, y, x] in C order"
    )]
    Length {
        /// How many values there are.
        values: usize,
        /// The shape that was claimed, z y x.
        shape_zyx: [usize; 3],
    },
    /// More voxels than one block may have.
    #[error(
        "a block of {shape_zyx:?} (z, y, x) has more than {MAX_VOXELS} voxels: work on it in smaller tiles"
    )]
    TooManyVoxels {
        /// The shape that was claimed, z y x.
        shape_zyx: [usize; 3],
    },
}

/// Quantised affinities `[3, z, y, x]` of a block, borrowed. An axis may be empty.
#[derive(Clone, Copy, Debug)]
pub struct AffinityView<'a> {
    data: &'a [u8],
    shape_zyx: [usize; 3],
}

impl<'a> AffinityView<'a> {
    /// `data` as the affinities (channels z, y, x) of a block of `shape_zyx` voxels.
    ///
    /// # Errors
    /// If the lengths do not agree or the block has more than [`MAX_VOXELS`] voxels.
    pub fn new(data: &'a [u8], shape_zyx: [usize; 3]) -> Result<Self, ShapeError> {
        let voxels = shape_zyx
            .iter()
            .try_fold(1usize, |product, &n| product.checked_mul(n))
            .filter(|&n| n <= MAX_VOXELS)
            .ok_or(ShapeError::TooManyVoxels { shape_zyx })?;
        if voxels.checked_mul(3) != Some(data.len()) {
            return Err(ShapeError::Length { values: data.len(), shape_zyx });
        }
        Ok(Self { data, shape_zyx })
    }

    /// Shape of the block, z y x.
    pub fn shape_zyx(&self) -> [usize; 3] {
        self.shape_zyx
    }

    /// Voxels in the block.
    pub fn voxels(&self) -> usize {
        self.data.len() / 3
    }

    /// The affinities along `axis` (0 z, 1 y, 2 x) of all voxels.
    ///
    /// # Panics
    /// If `axis` is above 2.
    pub fn channel(&self, axis: usize) -> &'a [u8] {
        assert!(axis < 3, "there are three affinity channels");
        let voxels = self.voxels();
        &self.data[axis * voxels..(axis + 1) * voxels]
    }
}

/// Distance in a C-order array between neighbours along z, y and x.
pub(crate) fn strides(shape_zyx: [usize; 3]) -> [usize; 3] {
    [shape_zyx[1] * shape_zyx[2], shape_zyx[2], 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_cover_the_unit_interval_and_everything_else_goes_to_an_end() {
        for (a, bin) in [(0.0, 0), (0.0039, 0), (1.0 / 256.0, 1), (0.5, 128), (0.4999, 127), (1.0, 255)] {
            assert_eq!(quantise_affinity(a), bin, "{a}");
        }
        for (a, bin) in [(-1.0, 0), (f32::NAN, 0), (7.0, 255), (f32::INFINITY, 255), (f32::NEG_INFINITY, 0)] {
            assert_eq!(quantise_affinity(a), bin, "{a}");
        }
        for b in 0..=255 {
            assert_eq!(quantise_affinity(affinity_of_bin(b)), b);
        }
    }

    #[test]
    fn a_view_refuses_data_of_the_wrong_length_and_shapes_that_overflow() {
        assert!(AffinityView::new(&[0; 24], [2, 2, 2]).is_ok());
        assert!(AffinityView::new(&[], [0, 5, 5]).is_ok());
        assert!(matches!(AffinityView::new(&[0; 23], [2, 2, 2]), Err(ShapeError::Length { .. })));
        assert!(matches!(
            AffinityView::new(&[0; 3], [usize::MAX, 2, 2]),
            Err(ShapeError::TooManyVoxels { .. })
        ));
    }
}
