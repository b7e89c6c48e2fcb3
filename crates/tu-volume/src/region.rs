//! Boxes of voxels, and copying between boxes that overlap.
//!
//! All arrays are in C order with x fastest; several channels come first, `[c, z, y, x]`.

use crate::{VolumeError, limits};

/// A box of voxels in the coordinates of the stored array (its first voxel is 0, whatever its voxel offset).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Region {
    /// First voxel, zyx.
    pub origin_zyx: [u64; 3],
    /// Extent in voxels, zyx.
    pub shape_zyx: [usize; 3],
}

impl Region {
    /// A box.
    #[must_use]
    pub fn new(origin_zyx: [u64; 3], shape_zyx: [usize; 3]) -> Self {
        Self { origin_zyx, shape_zyx }
    }

    /// The voxel after the last one along each axis, zyx; saturates.
    #[must_use]
    pub fn end_zyx(&self) -> [u64; 3] {
        std::array::from_fn(|d| self.origin_zyx[d].saturating_add(self.shape_zyx[d] as u64))
    }

    /// Number of voxels, or `None` if it overflows.
    #[must_use]
    pub fn voxels(&self) -> Option<u64> {
        limits::checked_product(self.shape_zyx.map(|n| n as u64))
    }

    /// Refuses boxes that are empty, reach outside `shape_zyx`, or whose bytes exceed [`limits::MAX_READ_BYTES`];
    /// returns the number of bytes of all channels.
    pub(crate) fn check(
        &self,
        input: &str,
        shape_zyx: [u64; 3],
        channels: usize,
        item_bytes: usize,
    ) -> Result<usize, VolumeError> {
        let refuse = |cause: String, remedy: &str| VolumeError::Region {
            input: input.to_owned(),
            cause,
            remedy: remedy.to_owned(),
        };
        let inside = (0..3).all(|d| {
            self.shape_zyx[d] > 0
                && self.origin_zyx[d]
                    .checked_add(self.shape_zyx[d] as u64)
                    .is_some_and(|end| end <= shape_zyx[d])
        });
        if !inside {
            return Err(refuse(
                format!(
                    "origin {:?}, shape {:?} (zyx) is empty or outside the volume of {shape_zyx:?} voxels",
                    self.origin_zyx, self.shape_zyx
                ),
                "ask for a box inside the volume",
            ));
        }
        self.voxels()
            .and_then(|v| v.checked_mul(channels as u64))
            .and_then(|v| v.checked_mul(item_bytes as u64))
            .filter(|&bytes| bytes <= limits::MAX_READ_BYTES)
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or_else(|| {
                refuse(
                    format!("shape {:?} (zyx) is more than can be held at once", self.shape_zyx),
                    "read in smaller blocks",
                )
            })
    }
}

/// Half-open box used for chunk arithmetic, zyx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) begin: [u64; 3],
    pub(crate) end: [u64; 3],
}

impl Span {
    pub(crate) fn of(region: &Region) -> Self {
        Self { begin: region.origin_zyx, end: region.end_zyx() }
    }

    pub(crate) fn intersection(&self, other: &Self) -> Option<Self> {
        let begin = std::array::from_fn(|d| self.begin[d].max(other.begin[d]));
        let end = std::array::from_fn(|d| self.end[d].min(other.end[d]));
        (0..3).all(|d| begin[d] < end[d]).then_some(Self { begin, end })
    }

    pub(crate) fn shape(&self) -> [usize; 3] {
        std::array::from_fn(|d| (self.end[d] - self.begin[d]) as usize)
    }
}

/// The chunks (index and box clipped to the volume) of a regular grid that a region touches, in raster order.
pub(crate) fn chunks_of(region: &Region, chunk_zyx: [u64; 3], shape_zyx: [u64; 3]) -> Vec<([u64; 3], Span)> {
    let span = Span::of(region);
    let first: [u64; 3] = std::array::from_fn(|d| span.begin[d] / chunk_zyx[d]);
    let last: [u64; 3] = std::array::from_fn(|d| (span.end[d] - 1) / chunk_zyx[d]);
    let mut out = Vec::new();
    for z in first[0]..=last[0] {
        for y in first[1]..=last[1] {
            for x in first[2]..=last[2] {
                let index = [z, y, x];
                let begin = std::array::from_fn(|d| index[d] * chunk_zyx[d]);
                let end = std::array::from_fn(|d| (index[d] * chunk_zyx[d] + chunk_zyx[d]).min(shape_zyx[d]));
                out.push((index, Span { begin, end }));
            }
        }
    }
    out
}

/// One side of a copy: a C-ordered `[c, z, y, x]` buffer and where its first voxel sits in the volume.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    pub(crate) origin: [u64; 3],
    pub(crate) shape: [usize; 3],
}

impl Frame {
    pub(crate) fn of(region: &Region) -> Self {
        Self { origin: region.origin_zyx, shape: region.shape_zyx }
    }

    fn row(&self, channel: usize, z: u64, y: u64, x: u64) -> usize {
        let [z, y, x] = [z - self.origin[0], y - self.origin[1], x - self.origin[2]].map(|v| v as usize);
        ((channel * self.shape[0] + z) * self.shape[1] + y) * self.shape[2] + x
    }
}

/// Copies the voxels of `part` from one buffer to the other. `part` must lie inside both frames.
pub(crate) fn copy(
    (from, from_frame): (&[u8], Frame),
    (to, to_frame): (&mut [u8], Frame),
    part: &Span,
    channels: usize,
    item_bytes: usize,
) {
    let run = part.shape()[2] * item_bytes;
    for c in 0..channels {
        for z in part.begin[0]..part.end[0] {
            for y in part.begin[1]..part.end[1] {
                let f = from_frame.row(c, z, y, part.begin[2]) * item_bytes;
                let t = to_frame.row(c, z, y, part.begin[2]) * item_bytes;
                to[t..t + run].copy_from_slice(&from[f..f + run]);
            }
        }
    }
}
