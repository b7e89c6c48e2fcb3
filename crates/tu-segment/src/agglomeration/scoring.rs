//! How an edge is judged: by a statistic of its affinities, and by how large its segments are.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::size_weight::SizeWeight;

/// The affinity statistic of an edge; written `quantile:50`, `mean` or `max`.
///
/// | | waterz | merged edges |
/// |---|---|---|
/// | `quantile:Q` | `HistogramQuantileAffinity<…, Q, …, 256>` | an edge between fragments is one entry, its largest bin; the Q % quantile of the entries, upper at ties |
/// | `mean` | `MeanAffinity` | mean of all affinities |
/// | `max` | `MaxAffinity` | largest affinity |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EdgeStatistic {
    /// The given percentage of the contacts' maxima lies below. 50 is the median. Above 99 it is the maximum, which
    /// is where this differs from waterz, which there finds no entry at all.
    Quantile(u8),
    /// Mean over all affinities.
    Mean,
    /// Maximum over all affinities.
    Max,
}

/// How an edge between segments `u` and `v` is scored: `1 − statistic + W · log₁₀(min(size u, size v) / 1000)`, sizes in
/// voxels. Segments are joined along edges of low score.
///
/// Written as the statistic, followed by `,size:W` unless `W` is 0: `mean`, `quantile:50,size:0.06`. In files it is that
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scoring {
    /// What is taken of an edge's affinities.
    pub statistic: EdgeStatistic,
    /// `W`: how much more evidence large segments need than small ones.
    pub size_weight: SizeWeight,
}

/// A text that is no scoring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScoringError {
    /// Neither a statistic nor one with a size weight.
    #[error(
        "there is no scoring «{text}»: use quantile:N with N from 0 to 100, mean or max, or one of them and a size weight, as in mean,size:0.06"
    )]
    Unknown {
        /// The text that was given.
        text: String,
    },
    /// The size weight is no number, or outside its range.
    #[error("there is no size weight «{text}»: use a number from 0 to 1, as in mean,size:0.06")]
    SizeWeight {
        /// The weight that was given.
        text: String,
    },
    /// The size weight is finer than is kept.
    #[error("the size weight «{text}» has more than three decimals: round it, as in mean,size:0.06")]
    SizeDecimals {
        /// The weight that was given.
        text: String,
    },
}

impl From<EdgeStatistic> for Scoring {
    /// The statistic alone, whatever sizes are.
    fn from(statistic: EdgeStatistic) -> Self {
        Self { statistic, size_weight: SizeWeight::NONE }
    }
}

impl Default for Scoring {
    /// The median alone.
    fn default() -> Self {
        EdgeStatistic::Quantile(50).into()
    }
}

impl FromStr for Scoring {
    type Err = ScoringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || ScoringError::Unknown { text: text.to_owned() };
        let (name, size_weight) = match text.split_once(',') {
            Some((name, size)) => (name, size.strip_prefix("size:").ok_or_else(unknown)?.parse()?),
            None => (text, SizeWeight::NONE),
        };
        Ok(Self { statistic: statistic_of(name).ok_or_else(unknown)?, size_weight })
    }
}

/// The statistic that is written so.
fn statistic_of(name: &str) -> Option<EdgeStatistic> {
    match name {
        "mean" => return Some(EdgeStatistic::Mean),
        "max" => return Some(EdgeStatistic::Max),
        _ => {}
    }
    name.strip_prefix("quantile:")
        .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|digits| digits.parse().ok())
        .filter(|&percent| percent <= 100)
        .map(EdgeStatistic::Quantile)
}

impl fmt::Display for EdgeStatistic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantile(percent) => write!(f, "quantile:{percent}"),
            Self::Mean => f.write_str("mean"),
            Self::Max => f.write_str("max"),
        }
    }
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.statistic)?;
        if self.size_weight == SizeWeight::NONE { Ok(()) } else { write!(f, ",size:{}", self.size_weight) }
    }
}

impl TryFrom<String> for Scoring {
    type Error = ScoringError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Scoring> for String {
    fn from(scoring: Scoring) -> Self {
        scoring.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scorings_survive_being_written_and_read() {
        use EdgeStatistic::{Max, Mean, Quantile};
        for statistic in [Quantile(0), Quantile(50), Quantile(100), Mean, Max] {
            for thousandths in [0, 1, 60, 300, 1000] {
                let size_weight = SizeWeight::from_thousandths(thousandths).unwrap();
                let scoring = Scoring { statistic, size_weight };
                assert_eq!(scoring.to_string().parse(), Ok(scoring));
                let json = serde_json::to_string(&scoring).unwrap();
                assert_eq!(json, format!("\"{scoring}\""));
                assert_eq!(serde_json::from_str::<Scoring>(&json).unwrap(), scoring);
            }
        }
    }

    #[test]
    fn a_scoring_without_sizes_is_written_as_its_statistic() {
        for (text, written) in [
            ("mean", "mean"),
            ("mean,size:0", "mean"),
            ("max,size:0.000", "max"),
            ("quantile:50", "quantile:50"),
            ("mean,size:0.06", "mean,size:0.06"),
            ("quantile:7,size:0.250", "quantile:7,size:0.25"),
            ("max,size:1.0", "max,size:1"),
        ] {
            assert_eq!(text.parse::<Scoring>().unwrap().to_string(), written);
        }
        assert_eq!("mean".parse(), Ok(Scoring::from(EdgeStatistic::Mean)));
        assert_eq!("mean,size:0".parse(), Ok(Scoring::from(EdgeStatistic::Mean)));
        assert_eq!("quantile:50".parse(), Ok(Scoring::default()));
    }

    #[test]
    fn other_texts_are_refused_by_name() {
        for text in [
            "",
            "median",
            "quantile",
            "quantile:",
            "quantile:101",
            "quantile:+5",
            "quantile:-1",
            "Mean",
            ",size:0.06",
            "median,size:0.06",
            "mean,",
            "mean,0.06",
            "mean, size:0.06",
            "mean size:0.06",
            "size:0.06,mean",
        ] {
            let error = text.parse::<Scoring>().unwrap_err().to_string();
            assert!(error.contains(&format!("«{text}»")) && error.contains("quantile:N"), "{error}");
        }
    }

    #[test]
    fn size_weights_that_are_none_are_refused_with_what_is_allowed() {
        for (text, weight, allowed) in [
            ("mean,size:", "", "from 0 to 1"),
            ("mean,size:-0.1", "-0.1", "from 0 to 1"),
            ("max,size:1.001", "1.001", "from 0 to 1"),
            ("mean,size:0.06,size:0.06", "0.06,size:0.06", "from 0 to 1"),
            ("quantile:50,size:0.0605", "0.0605", "three decimals"),
        ] {
            let error = text.parse::<Scoring>().unwrap_err().to_string();
            assert!(error.contains(&format!("«{weight}»")) && error.contains(allowed), "{error}");
            let json = serde_json::from_str::<Scoring>(&format!("\"{text}\"")).unwrap_err().to_string();
            assert!(json.contains(allowed), "{json}");
        }
    }
}
