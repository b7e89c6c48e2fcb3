//! One rule from stored intensities to the network's [0, 1], written into the model file.

use serde::{Deserialize, Serialize};

/// How raw voxel values become the network's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rule", rename_all = "snake_case", deny_unknown_fields)]
pub enum IntensityRule {
    /// The full range of the data type: u8 / 255, u16 / 65 535, f32 as it is.
    #[default]
    FullRange,
    /// (value − low) / (high − low), for volumes that use a part of their data type.
    Range {
        /// Raw value that becomes 0.
        low: f32,
        /// Raw value that becomes 1; above `low`.
        high: f32,
    },
}

impl IntensityRule {
    /// Normalises in place and clips to [0, 1]; a value that is not a number becomes 0.
    ///
    /// `data_type_max` is 255 for u8, 65 535 for u16 and 1 for f32.
    #[expect(clippy::manual_clamp, reason = "clamp would let NaN pass; max makes it 0")]
    pub fn apply(&self, values: &mut [f32], data_type_max: f32) {
        let (low, range) = match *self {
            IntensityRule::FullRange => (0.0, data_type_max),
            IntensityRule::Range { low, high } => (low, high - low),
        };
        for v in values {
            let x = (*v - low) / range;
            *v = x.max(0.0).min(1.0);
        }
    }

    /// Whether the rule is usable: finite, and `high` above `low`.
    pub fn is_valid(&self) -> bool {
        match *self {
            IntensityRule::FullRange => true,
            IntensityRule::Range { low, high } => low.is_finite() && high.is_finite() && high > low,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_range_maps_the_data_type_onto_the_unit_interval() {
        let mut v = vec![0.0, 51.0, 255.0, 300.0, -1.0, f32::NAN];
        IntensityRule::FullRange.apply(&mut v, 255.0);
        assert_eq!(v, [0.0, 0.2, 1.0, 1.0, 0.0, 0.0]);
    }

    #[test]
    fn a_range_is_stretched_and_clipped() {
        let mut v = vec![10.0, 20.0, 30.0, 5.0, 40.0];
        IntensityRule::Range { low: 10.0, high: 30.0 }.apply(&mut v, 255.0);
        assert_eq!(v, [0.0, 0.5, 1.0, 0.0, 1.0]);
        assert!(!IntensityRule::Range { low: 3.0, high: 3.0 }.is_valid());
    }
}
