//! Which axes of an array are z, y, x and which lead them.
//!
//! Rank 3 is `zyx`; rank 4 has one leading axis of channels (or of a single time); rank 5 is `tczyx` with one time.

use crate::VolumeError;

/// Shape of an array as `[time], [channel], z, y, x`.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Number of axes before z: 0, 1 or 2.
    pub(crate) leading: usize,
    pub(crate) channels: usize,
    pub(crate) shape_zyx: [u64; 3],
}

impl Layout {
    /// From an array's shape and, where known, the names of its axes.
    pub(crate) fn new(input: &str, shape: &[u64], names: Option<&[String]>) -> Result<Self, VolumeError> {
        let refuse = |cause: String| {
            VolumeError::unsupported(
                input,
                cause,
                "name or rewrite the array as zyx, czyx, or tczyx with a single time (x last)",
            )
        };
        let leading = match shape.len() {
            rank @ 3..=5 => rank - 3,
            rank => return Err(refuse(format!("an array of rank {rank}"))),
        };
        if let Some(names) = names
            && names.len() == shape.len()
        {
            check_names(names, leading).map_err(refuse)?;
        }
        if leading == 2 && shape[0] != 1 {
            return Err(refuse(format!("an array with {} times", shape[0])));
        }
        let channels = if leading == 0 { 1 } else { shape[leading - 1] };
        if leading == 1 && channels != 1 && names.is_some_and(|n| n.first().is_some_and(|n| n == "t")) {
            return Err(refuse(format!("an array with {channels} times")));
        }
        let shape_zyx = [shape[leading], shape[leading + 1], shape[leading + 2]];
        if channels == 0 || shape_zyx.contains(&0) {
            return Err(VolumeError::metadata(input, format!("the shape {shape:?} is empty")));
        }
        if channels > 4096 {
            return Err(refuse(format!("an array with {channels} channels")));
        }
        Ok(Self { leading, channels: channels as usize, shape_zyx })
    }

    /// The ranges of the array that hold `channels` of a box, outermost axis first.
    pub(crate) fn ranges(
        &self,
        channels: std::ops::Range<u64>,
        origin_zyx: [u64; 3],
        end_zyx: [u64; 3],
    ) -> Vec<std::ops::Range<u64>> {
        let mut ranges = match self.leading {
            0 => vec![],
            1 => vec![channels],
            _ => vec![0..1, channels],
        };
        ranges.extend((0..3).map(|d| origin_zyx[d]..end_zyx[d]));
        ranges
    }
}

fn check_names(names: &[String], leading: usize) -> Result<(), String> {
    let names: Vec<String> = names.iter().map(|n| n.trim_end_matches(['^', '\'']).to_lowercase()).collect();
    let (lead, space) = names.split_at(leading);
    let is_space = |n: &String| ["z", "y", "x"].contains(&n.as_str());
    // Names that are not of space (dim_0, row, …) say nothing; names of space must be in their places.
    let in_place = space.iter().zip(["z", "y", "x"]).all(|(have, want)| have == want || !is_space(have));
    let misplaced = lead.iter().any(is_space) || space.iter().any(|n| n == "c" || n == "t");
    if in_place && !misplaced {
        Ok(())
    } else {
        Err(format!("an array with its axes in the order {names:?}"))
    }
}
