//! What the settings of every run have in common: how they are read and written, and the checks of crop and length.

use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tu_model::{EmMambaConfig, Precision, Preset};

use super::TrainError;

/// Most voxels that one step may hold.
const STEP_VOXELS: usize = 1 << 31;
/// Longest side of a crop.
const CROP_SIDE: usize = 4096;

/// Reads settings from a TOML file; fields that are absent take their defaults.
pub(crate) fn read_settings<T: DeserializeOwned>(path: &Path) -> Result<T, TrainError> {
    let text = std::fs::read_to_string(path).map_err(|source| TrainError::io("read", path, source))?;
    toml::from_str(&text).map_err(|error| {
        TrainError::Config(format!("{}: {error}; correct the field that is named", path.display()))
    })
}

/// All settings as TOML.
pub(crate) fn settings_toml<T: Serialize>(settings: &T) -> Result<String, TrainError> {
    toml::to_string(settings)
        .map_err(|error| TrainError::Config(format!("cannot write settings as TOML: {error}")))
}

/// The architecture that is given in full, or else that of a preset.
pub(crate) fn named_architecture(
    architecture: Option<&EmMambaConfig>,
    preset: &str,
) -> Result<EmMambaConfig, TrainError> {
    if let Some(architecture) = architecture {
        return Ok(architecture.clone());
    }
    let preset: Preset = preset.parse().map_err(|_| {
        TrainError::Config(format!(
            "preset `{preset}` is unknown; use tiny, small, base, 100m, 200m, 500m or 1b"
        ))
    })?;
    Ok(EmMambaConfig::preset(preset))
}

/// Leaves the usual precision out of written settings, so that they read, and hash, as those of runs that know no other.
pub(crate) fn is_f32(precision: &Precision) -> bool {
    *precision == Precision::F32
}

/// Checks the shape of crops and how many a step holds.
pub(crate) fn check_crops(crop_zyx: [usize; 3], crops_per_step: usize) -> Result<(), TrainError> {
    let refuse = |text: &str| Err(TrainError::Config(text.into()));
    let [z, y, x] = crop_zyx;
    if crops_per_step == 0 {
        return refuse("batch and accumulate must be at least 1");
    }
    if z == 0 || y == 0 || x == 0 || !y.is_multiple_of(16) || !x.is_multiple_of(16) {
        return refuse("crop_zyx: y and x must be multiples of 16, z at least 1");
    }
    if crop_zyx.iter().any(|side| *side > CROP_SIDE) {
        return refuse("crop_zyx: no side may exceed 4096 voxels");
    }
    let voxels = crop_zyx.iter().try_fold(crops_per_step, |n, &side| n.checked_mul(side));
    if voxels.is_none_or(|n| n > STEP_VOXELS) {
        return refuse("crops of a step × crop_zyx exceed 2^31 voxels; use smaller crops or fewer");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crops_that_the_network_or_the_memory_cannot_take_are_refused_with_the_reason() {
        assert!(check_crops([1, 16, 16], 1).is_ok() && check_crops([32, 320, 320], 8).is_ok());
        for (crop, count, reason) in [
            ([16, 96, 100], 1, "multiples of 16"),
            ([0, 96, 96], 1, "multiples of 16"),
            ([16, 96, 96], 0, "at least 1"),
            ([16, 8192, 16], 1, "4096"),
            ([1024, 4096, 4096], 1, "2^31"),
            ([16, 96, 96], usize::MAX, "2^31"),
        ] {
            let message = check_crops(crop, count).unwrap_err().to_string();
            assert!(message.contains(reason), "{message}");
        }
    }

    #[test]
    fn an_unknown_preset_is_answered_with_those_there_are() {
        let message = named_architecture(None, "huge").unwrap_err().to_string();
        assert!(message.contains("huge") && message.contains("100m"), "{message}");
        let own = EmMambaConfig { hidden: 24, ..EmMambaConfig::preset(Preset::Tiny) };
        assert_eq!(named_architecture(Some(&own), "huge").unwrap(), own);
    }
}
