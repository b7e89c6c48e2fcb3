//! How much the sizes of two segments count in the score of the edge between them.
//!
//! One wrong merge of two neurons costs more than many crumbs that stay alone, and large segments have long contacts,
//! whose statistic should be certain. So the threshold depends on size, an idea of size-dependent single linkage
//! (Zlateski & Seung 2015, <https://arxiv.org/abs/1505.00249>). Here the score moves rather than the threshold:
//!
//! ```text
//! score = 1 − statistic + W · log₁₀(min(size u, size v) / 1000)
//! ```
//!
//! Segments of 1000 voxels are judged as without sizes, each factor of ten moves the score by `W`.
//!
//! Mathematical libraries differ between platforms in the last bits of a logarithm, and a bit can decide a merge. So the
//! logarithm is that of whole numbers, linear between powers of two: `log₂(2ᵏ (1 + f)) ≈ k + f`. It never exceeds
//! the true one and is at most 0.087 below it, 0.026 in log₁₀; the difference to that of 1000 is off by no more.

use std::fmt;
use std::str::FromStr;

use super::ScoringError;

/// Segments of so many voxels have the score of their statistic.
const NEUTRAL_VOXELS: u64 = 1000;

/// What a segment's size counts for in scores: `W`, from 0 (nothing) to 1, in thousandths.
///
/// Written as a decimal number with no more than three decimals, such as `0.06`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SizeWeight {
    thousandths: u16,
}

impl SizeWeight {
    /// Sizes do not count.
    pub const NONE: Self = Self { thousandths: 0 };

    /// The weight of so many thousandths, from 0 to 1000; `None` above.
    pub const fn from_thousandths(thousandths: u16) -> Option<Self> {
        if thousandths <= 1000 { Some(Self { thousandths }) } else { None }
    }

    /// The weight in thousandths, from 0 to 1000.
    pub const fn thousandths(self) -> u16 {
        self.thousandths
    }

    /// The score of an edge whose statistic alone has the score `of_statistic`, and whose smaller segment has so many
    /// voxels; 0 counts as 1. It never falls when `voxels` grows: every step of the computation is monotonic, rounding too.
    pub(super) fn score(self, of_statistic: f32, voxels: u64) -> f32 {
        if self == Self::NONE {
            return of_statistic;
        }
        let log2 = fixed_log2(voxels.max(1)) - fixed_log2(NEUTRAL_VOXELS);
        let per_unit = f64::from(self.thousandths) * (std::f64::consts::LOG10_2 / 1000.0 / UNITS_PER_OCTAVE);
        (f64::from(of_statistic) + per_unit * log2 as f64) as f32
    }
}

/// Units of [`fixed_log2`] in a factor of two.
const UNITS_PER_OCTAVE: f64 = (1u64 << 32) as f64;

/// log₂ of a positive number in units of 2⁻³², linear between powers of two; see the module's head for its error. Cut off
/// below a unit, which matters above 2³² only.
fn fixed_log2(n: u64) -> i64 {
    let exponent = n.ilog2();
    // The leading one goes out at the top, the 32 bits behind it are the fraction.
    let fraction = (n << (63 - exponent) << 1) >> 32;
    i64::from(exponent) << 32 | fraction as i64
}

impl FromStr for SizeWeight {
    type Err = ScoringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || ScoringError::SizeWeight { text: text.to_owned() };
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = ["0", "1"].contains(&whole)
            && !decimals.is_empty()
            && decimals.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number {
            return Err(refused());
        }
        if decimals.len() > 3 {
            return Err(ScoringError::SizeDecimals { text: text.to_owned() });
        }
        format!("{whole}{decimals:0<3}").parse().ok().and_then(Self::from_thousandths).ok_or_else(refused)
    }
}

impl fmt::Display for SizeWeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.thousandths / 1000, self.thousandths % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{rest:03}").trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(thousandths: u16) -> SizeWeight {
        SizeWeight::from_thousandths(thousandths).unwrap()
    }

    #[test]
    fn every_weight_survives_being_written_and_read() {
        for thousandths in 0..=1000 {
            let text = weight(thousandths).to_string();
            assert_eq!(text.parse(), Ok(weight(thousandths)), "{text}");
            assert_eq!(text.parse::<f64>().unwrap(), f64::from(thousandths) / 1000.0);
        }
        for (text, thousandths) in
            [("0", 0), ("0.0", 0), ("0.06", 60), ("0.060", 60), ("0.3", 300), ("1.00", 1000)]
        {
            assert_eq!(text.parse(), Ok(weight(thousandths)), "{text}");
        }
        assert_eq!([1, 60, 300, 1000].map(|n| weight(n).to_string()), ["0.001", "0.06", "0.3", "1"]);
        assert_eq!(SizeWeight::from_thousandths(1001), None);
    }

    #[test]
    fn weights_that_are_none_are_refused_with_what_is_allowed() {
        for text in [
            "", ".", ".5", "0.", "1.001", "2", "-0.1", "+0.1", "00.1", "0,06", "6e-2", "0.06 ", "0.0_6",
            "NaN",
        ] {
            let error = text.parse::<SizeWeight>().unwrap_err().to_string();
            assert!(error.contains(&format!("«{text}»")) && error.contains("from 0 to 1"), "{error}");
        }
        for text in ["0.0605", "0.0600", "1.0000"] {
            let error = text.parse::<SizeWeight>().unwrap_err().to_string();
            assert!(error.contains(&format!("«{text}»")) && error.contains("three decimals"), "{error}");
        }
    }

    #[test]
    fn the_logarithm_is_exact_at_powers_of_two_and_within_its_bound_between_them() {
        let log2 = |n| fixed_log2(n) as f64 / UNITS_PER_OCTAVE;
        for exponent in 0..64 {
            assert_eq!(log2(1 << exponent), f64::from(exponent));
        }
        let spread = (12..64)
            .flat_map(|exponent| (0..64).map(move |part| (1u64 << exponent) + (part << (exponent - 6))));
        for n in (1..4096).chain(spread).chain([u64::MAX]) {
            let below = (n as f64).log2() - log2(n);
            assert!((-1e-9..=0.087).contains(&below), "log2({n}) is {below} too small");
            if n > 1 {
                assert!(fixed_log2(n) >= fixed_log2(n - 1), "{n}");
            }
        }
    }

    #[test]
    fn a_thousand_voxels_change_nothing_and_a_factor_of_ten_changes_about_the_weight() {
        for voxels in [0, 1, 999, 1000, u64::MAX] {
            assert_eq!(SizeWeight::NONE.score(0.4, voxels).to_bits(), 0.4f32.to_bits());
        }
        assert_eq!(weight(300).score(0.4, 1000), 0.4);
        for (voxels, expected) in [(100, 0.34), (10_000, 0.46), (1_000_000, 0.58), (1, 0.22)] {
            let score = weight(60).score(0.4, voxels);
            assert!((score - expected).abs() <= 0.06 * 0.026, "{voxels} voxels: {score}");
        }
        assert_eq!(weight(60).score(0.4, 0), weight(60).score(0.4, 1));
        let scores: Vec<f32> = (1..5000).map(|voxels| weight(1000).score(0.4, voxels)).collect();
        assert!(scores.is_sorted());
    }
}
