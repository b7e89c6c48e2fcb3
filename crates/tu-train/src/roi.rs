//! Regions of interest in voxels of a volume's array, axes z, y, x: `z0:z1,y0:y1,x0:x1`, ends exclusive, and a side
//! left out means the volume's own border (`180:250,:,:`).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use tu_volume::Region;

/// A region as a person writes it; sides that were left out are not known before the volume is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoiSpec {
    sides_zyx: [(Option<u64>, Option<u64>); 3],
}

impl fmt::Display for RoiSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (begin, end)) in self.sides_zyx.into_iter().enumerate() {
            let text = |side: Option<u64>| side.map_or_else(String::new, |side| side.to_string());
            write!(f, "{}{}:{}", if i > 0 { "," } else { "" }, text(begin), text(end))?;
        }
        Ok(())
    }
}

/// A region inside a volume, never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roi {
    /// First voxel, z y x.
    pub begin_zyx: [u64; 3],
    /// Voxel after the last, z y x.
    pub end_zyx: [u64; 3],
}

/// A region that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RoiError {
    /// The text is no region.
    #[error("region `{text}`: {cause}; write z0:z1,y0:y1,x0:x1 in voxels, such as 0:64,128:256,128:256")]
    Text {
        /// As given.
        text: String,
        /// What is wrong.
        cause: String,
    },
    /// The region is empty or reaches outside.
    #[error(
        "region {roi} of {volume}: it is empty or reaches outside the volume's {shape_zyx:?} voxels (z, y, x); choose a region inside"
    )]
    Outside {
        /// The region with its open sides filled in.
        roi: Roi,
        /// The volume.
        volume: String,
        /// Its shape, z y x.
        shape_zyx: [u64; 3],
    },
}

impl FromStr for RoiSpec {
    type Err = RoiError;

    fn from_str(text: &str) -> Result<Self, RoiError> {
        let refuse = |cause: String| RoiError::Text { text: text.to_owned(), cause };
        let axes: Vec<&str> = text.split(',').collect();
        if axes.len() != 3 {
            return Err(refuse(format!("it has {} parts where there are three axes", axes.len())));
        }
        let mut sides_zyx = [(None, None); 3];
        for (sides, axis) in sides_zyx.iter_mut().zip(axes) {
            let (begin, end) =
                axis.split_once(':').ok_or_else(|| refuse(format!("`{axis}` is no begin:end")))?;
            let side = |text: &str| match text.trim() {
                "" => Ok(None),
                digits => {
                    digits.parse().map(Some).map_err(|_| refuse(format!("`{digits}` is no voxel index")))
                }
            };
            *sides = (side(begin)?, side(end)?);
        }
        Ok(Self { sides_zyx })
    }
}

impl RoiSpec {
    /// Fills open sides in and checks that the region lies inside the volume.
    ///
    /// # Errors
    /// It is empty or reaches outside.
    pub fn resolve(&self, volume: &str, shape_zyx: [u64; 3]) -> Result<Roi, RoiError> {
        let roi = Roi {
            begin_zyx: std::array::from_fn(|d| self.sides_zyx[d].0.unwrap_or(0)),
            end_zyx: std::array::from_fn(|d| self.sides_zyx[d].1.unwrap_or(shape_zyx[d])),
        };
        if (0..3).any(|d| roi.begin_zyx[d] >= roi.end_zyx[d] || roi.end_zyx[d] > shape_zyx[d]) {
            return Err(RoiError::Outside { roi, volume: volume.to_owned(), shape_zyx });
        }
        Ok(roi)
    }
}

impl Roi {
    /// All of a volume.
    #[must_use]
    pub fn whole(shape_zyx: [u64; 3]) -> Self {
        Self { begin_zyx: [0; 3], end_zyx: shape_zyx }
    }

    /// Extent in voxels, z y x.
    #[must_use]
    pub fn shape_zyx(&self) -> [u64; 3] {
        std::array::from_fn(|d| self.end_zyx[d] - self.begin_zyx[d])
    }

    /// Number of voxels; saturates.
    #[must_use]
    pub fn voxels(&self) -> u64 {
        self.shape_zyx().iter().fold(1, |n, &s| n.saturating_mul(s))
    }

    /// What two regions share, if anything.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Option<Self> {
        let begin_zyx = std::array::from_fn(|d| self.begin_zyx[d].max(other.begin_zyx[d]));
        let end_zyx = std::array::from_fn(|d| self.end_zyx[d].min(other.end_zyx[d]));
        (0..3).all(|d| begin_zyx[d] < end_zyx[d]).then_some(Self { begin_zyx, end_zyx })
    }

    /// The same region in the coordinates of an array that begins at `origin_zyx`.
    #[must_use]
    pub fn relative_to(&self, origin_zyx: [u64; 3]) -> Region {
        Region {
            origin_zyx: std::array::from_fn(|d| self.begin_zyx[d] - origin_zyx[d]),
            shape_zyx: self.shape_zyx().map(|n| n as usize),
        }
    }

    /// The same region as a box to read.
    #[must_use]
    pub fn region(&self) -> Region {
        self.relative_to([0; 3])
    }

    /// The region in blocks of at most `block_zyx` voxels, counted from its own first voxel, raster order.
    pub fn blocks(&self, block_zyx: [usize; 3]) -> impl Iterator<Item = Roi> + use<> {
        let (begin, end) = (self.begin_zyx, self.end_zyx);
        let starts = move |d: usize| (begin[d]..end[d]).step_by(block_zyx[d].max(1));
        let clipped =
            move |d: usize, start: u64| start.saturating_add(block_zyx[d].max(1) as u64).min(end[d]);
        starts(0).flat_map(move |z| {
            starts(1).flat_map(move |y| {
                starts(2).map(move |x| Roi {
                    begin_zyx: [z, y, x],
                    end_zyx: [clipped(0, z), clipped(1, y), clipped(2, x)],
                })
            })
        })
    }
}

impl fmt::Display for Roi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [z, y, x] = std::array::from_fn(|d| format!("{}:{}", self.begin_zyx[d], self.end_zyx[d]));
        write!(f, "{z},{y},{x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_as_it_is_written_and_open_sides_take_the_volumes_border() {
        let roi = "180:250,:,10:".parse::<RoiSpec>().unwrap().resolve("v", [250, 64, 32]).unwrap();
        assert_eq!(roi, Roi { begin_zyx: [180, 0, 10], end_zyx: [250, 64, 32] });
        assert_eq!(roi.to_string(), "180:250,0:64,10:32");
        assert_eq!(roi.voxels(), 70 * 64 * 22);
    }

    #[test]
    fn what_is_no_region_or_lies_outside_is_refused_with_the_reason() {
        for (text, reason) in [("0:1,0:1", "2 parts"), ("0:1,0:1,5", "begin:end"), ("0:1,0:x,0:1", "`x`")] {
            let message = text.parse::<RoiSpec>().unwrap_err().to_string();
            assert!(message.contains(reason) && message.contains("z0:z1"), "{message}");
        }
        for text in ["0:5,0:1,0:1", "3:3,0:1,0:1", "4:2,0:1,0:1"] {
            let message =
                text.parse::<RoiSpec>().unwrap().resolve("the volume", [4, 4, 4]).unwrap_err().to_string();
            assert!(message.contains("the volume") && message.contains("[4, 4, 4]"), "{message}");
        }
    }

    #[test]
    fn blocks_cover_a_region_once() {
        let roi = Roi { begin_zyx: [1, 2, 3], end_zyx: [8, 9, 11] };
        let mut covered = std::collections::HashSet::new();
        for block in roi.blocks([3, 4, 8]) {
            for z in block.begin_zyx[0]..block.end_zyx[0] {
                for y in block.begin_zyx[1]..block.end_zyx[1] {
                    for x in block.begin_zyx[2]..block.end_zyx[2] {
                        assert!(covered.insert([z, y, x]));
                    }
                }
            }
        }
        assert_eq!(covered.len() as u64, roi.voxels());
    }
}
