//! What is timed, as a person names it.

use std::str::FromStr;

use tu_model::{EmMambaConfig, ForwardCost, Precision, Preset};

use super::Failure;

/// What is timed unless the command names something.
pub(crate) const ITEMS: [&str; 11] = [
    "forward:tiny:16,160,160",
    "step:tiny:16,96,96",
    "checkpointed:tiny:16,96,96",
    "forward:small:16,160,160",
    "step:small:16,96,96",
    "checkpointed:small:16,96,96",
    "forward:base:16,160,160",
    "forward:base:16,160,160:f16",
    "step:base:16,96,96",
    "checkpointed:base:16,96,96",
    "step:base:16,96,96:bf16",
];

/// A pass over one window: `forward`, `step` or `checkpointed:PRESET:Z,Y,X[:TYPE]`.
pub(crate) struct Item {
    /// `forward`, `step` or `checkpointed`.
    pub(crate) what: String,
    pub(crate) preset: Preset,
    pub(crate) window_zyx: [usize; 3],
    pub(crate) precision: Precision,
}

impl FromStr for Item {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut parts: Vec<&str> = text.split(':').collect();
        let precision =
            if parts.len() == 4 { parts.pop().unwrap_or_default().parse()? } else { Precision::F32 };
        let &[what @ ("forward" | "step" | "checkpointed"), preset, window] = parts.as_slice() else {
            return Err(format!("{text}: write forward, step or checkpointed:PRESET:Z,Y,X[:TYPE]").into());
        };
        let sides = window.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let window_zyx = sides.try_into().map_err(|_| format!("{text}: a window has three sides, z,y,x"))?;
        Ok(Self { what: what.to_owned(), preset: preset.parse()?, window_zyx, precision })
    }
}

impl Item {
    pub(crate) fn config(&self) -> EmMambaConfig {
        EmMambaConfig::preset(self.preset)
    }

    /// Counted from the architecture; a step is three forward passes.
    pub(crate) fn flop(&self) -> u64 {
        let passes = if self.what == "forward" { 1 } else { 3 };
        passes * ForwardCost::of(&self.config(), self.window_zyx).total()
    }

    pub(crate) fn voxels(&self) -> usize {
        self.window_zyx.iter().product()
    }
}
