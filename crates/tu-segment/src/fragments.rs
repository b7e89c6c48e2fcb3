//! Fragments (supervoxels): small pieces that are cut too finely rather than too coarsely, to be joined later.
//!
//! Three ways to make them, all deterministic and all working on bins alone:
//!
//! | name | how | for |
//! |---|---|---|
//! | `affinity` | 3-D steepest-ascent watershed on the affinity graph | good affinities, thin neurites |
//! | `seeded` | 3-D flooding of the boundary map from maxima of its distance transform | noisy affinities |
//! | `slice` | the same per z slice, in the plane | serial sections |

mod distance;
mod flood;
mod maxima;
mod seeded;
mod slice;
mod steepest;

use serde::{Deserialize, Serialize};

pub use seeded::SeededWatershed;
pub use slice::SliceWatershed;
pub use steepest::AffinityWatershed;

use crate::affinity::AffinityView;

/// A name that is no fragment method.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no fragment method «{name}»: use affinity, seeded or slice")]
pub struct FragmentMethodError {
    /// The name that was given.
    pub name: String,
}

/// How fragments are made, with its settings; JSON `{"method": "affinity", "low": …, "high": …}` and so on, every
/// setting optional.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "lowercase")]
pub enum FragmentMethod {
    /// Steepest-ascent watershed on the affinity graph.
    Affinity(AffinityWatershed),
    /// Flooding from maxima of the distance transform, in three dimensions.
    Seeded(SeededWatershed),
    /// Flooding from maxima of the distance transform, slice by slice.
    Slice(SliceWatershed),
}

impl FragmentMethod {
    /// The method called `affinity`, `seeded` or `slice`, with default settings.
    ///
    /// # Errors
    /// If the name is none of these.
    pub fn from_name(name: &str) -> Result<Self, FragmentMethodError> {
        match name {
            "affinity" => Ok(Self::Affinity(AffinityWatershed::default())),
            "seeded" => Ok(Self::Seeded(SeededWatershed::default())),
            "slice" => Ok(Self::Slice(SliceWatershed::default())),
            _ => Err(FragmentMethodError { name: name.to_owned() }),
        }
    }

    /// `affinity`, `seeded` or `slice`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Affinity(_) => "affinity",
            Self::Seeded(_) => "seeded",
            Self::Slice(_) => "slice",
        }
    }
}

impl Default for FragmentMethod {
    fn default() -> Self {
        Self::Affinity(AffinityWatershed::default())
    }
}

impl std::str::FromStr for FragmentMethod {
    type Err = FragmentMethodError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::from_name(name)
    }
}

/// The fragments of a block: one local label per voxel, z y x; 0 for no fragment, others `1..=n` in any order.
pub fn fragments(aff: &AffinityView<'_>, method: &FragmentMethod) -> Vec<u32> {
    match method {
        FragmentMethod::Affinity(settings) => steepest::watershed(aff, settings),
        FragmentMethod::Seeded(settings) => seeded::watershed(aff, settings),
        FragmentMethod::Slice(settings) => slice::watershed(aff, settings),
    }
}

#[cfg(test)]
mod tests;
