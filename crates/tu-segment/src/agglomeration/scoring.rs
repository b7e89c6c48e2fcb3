//! Which statistic of its affinities an edge is judged by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The affinity statistic of an edge; written `quantile:50`, `mean` or `max`.
///
/// | | waterz | merged edges |
/// |---|---|---|
/// | `quantile:Q` | `HistogramQuantileAffinity<…, Q, …, 256>` | an edge between fragments is one entry, its largest bin; the Q % quantile of the entries, upper at ties |
/// | `mean` | `MeanAffinity` | mean of all affinities |
/// | `max` | `MaxAffinity` | largest affinity |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Scoring {
    /// The given percentage of the contacts' maxima lies below. 50 is the median. Above 99 it is the maximum, which
    /// is where this differs from waterz, which there finds no entry at all.
    Quantile(u8),
    /// Mean over all affinities.
    Mean,
    /// Maximum over all affinities.
    Max,
}

/// A text that is no scoring.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scoring «{text}»: use quantile:N with N from 0 to 100, mean or max")]
pub struct ScoringError {
    /// The text that was given.
    pub text: String,
}

impl Default for Scoring {
    fn default() -> Self {
        Self::Quantile(50)
    }
}

impl FromStr for Scoring {
    type Err = ScoringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "mean" => return Ok(Self::Mean),
            "max" => return Ok(Self::Max),
            _ => {}
        }
        text.strip_prefix("quantile:")
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
            .and_then(|digits| digits.parse().ok())
            .filter(|&percent| percent <= 100)
            .map(Self::Quantile)
            .ok_or_else(|| ScoringError { text: text.to_owned() })
    }
}

impl fmt::Display for Scoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quantile(percent) => write!(f, "quantile:{percent}"),
            Self::Mean => f.write_str("mean"),
            Self::Max => f.write_str("max"),
        }
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
        for scoring in
            [Scoring::Quantile(0), Scoring::Quantile(50), Scoring::Quantile(100), Scoring::Mean, Scoring::Max]
        {
            assert_eq!(scoring.to_string().parse(), Ok(scoring));
            let json = serde_json::to_string(&scoring).unwrap();
            assert_eq!(json, format!("\"{scoring}\""));
            assert_eq!(serde_json::from_str::<Scoring>(&json).unwrap(), scoring);
        }
    }

    #[test]
    fn other_texts_are_refused_by_name() {
        for text in
            ["", "median", "quantile", "quantile:", "quantile:101", "quantile:+5", "quantile:-1", "Mean"]
        {
            let error = text.parse::<Scoring>().unwrap_err().to_string();
            assert!(error.contains(&format!("«{text}»")) && error.contains("quantile:N"), "{error}");
        }
    }
}
