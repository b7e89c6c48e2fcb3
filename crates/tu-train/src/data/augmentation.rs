//! Which random changes a crop goes through and how often (method: flips, rotation, elastic, grayscale and the
//! artefacts of serial sections). Geometry is applied to raw and labels alike, intensities to raw alone.

use serde::{Deserialize, Serialize};

/// Probabilities and strengths. A probability of 0 switches a change off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AugmentationConfig {
    /// Reflections of z, y, x and exchange of y and x, each with an independent coin. Default: true.
    pub flip: bool,
    /// Probability of an in-plane rotation by any angle. Default: 0.25.
    pub rotate: f64,
    /// Probability of an in-plane scale change. Default: 0.
    pub rescale: f64,
    /// Scale is drawn from 1 ± this. Default: 0.2.
    pub rescale_range: f64,
    /// Probability of a smooth in-plane deformation, equal for all sections. Default: 0.25.
    pub elastic: f64,
    /// Amplitude of the deformation's noise before smoothing, in voxels. Default: 16.
    pub elastic_alpha: f64,
    /// Standard deviation of its smoothing, in voxels. Default: 4.
    pub elastic_sigma: f64,
    /// Probability of a slip (one section) or shift (all sections from one on) in plane. Default: 0.
    pub misalign: f64,
    /// Largest slip or shift in voxels. Default: 16.
    pub misalign_max: usize,
    /// Probability of contrast, brightness and gamma changes, per section or for the whole crop with equal odds. Default: 0.5.
    pub grayscale: f64,
    /// Probability that up to `missing_sections` sections are blank. Default: 0.
    pub missing: f64,
    /// Most sections that go missing. Default: 2.
    pub missing_sections: usize,
    /// Probability of an in-plane Gaussian blur of some sections (σ up to 2 voxels). Default: 0.1.
    pub blur: f64,
    /// Probability of added Gaussian noise. Default: 0.2.
    pub noise: f64,
    /// Largest standard deviation of that noise, in units of the intensity range. Default: 0.08.
    pub noise_sigma: f64,
}

impl Default for AugmentationConfig {
    fn default() -> Self {
        Self {
            flip: true,
            rotate: 0.25,
            rescale: 0.0,
            rescale_range: 0.2,
            elastic: 0.25,
            elastic_alpha: 16.0,
            elastic_sigma: 4.0,
            misalign: 0.0,
            misalign_max: 16,
            grayscale: 0.5,
            missing: 0.0,
            missing_sections: 2,
            blur: 0.1,
            noise: 0.2,
            noise_sigma: 0.08,
        }
    }
}

impl AugmentationConfig {
    /// No change at all: crops as they are stored.
    #[must_use]
    pub fn none() -> Self {
        Self {
            flip: false,
            rotate: 0.0,
            elastic: 0.0,
            grayscale: 0.0,
            blur: 0.0,
            noise: 0.0,
            ..Self::default()
        }
    }

    pub(crate) fn check(&self) -> Result<(), String> {
        let probabilities = [
            ("rotate", self.rotate),
            ("rescale", self.rescale),
            ("elastic", self.elastic),
            ("misalign", self.misalign),
            ("grayscale", self.grayscale),
            ("missing", self.missing),
            ("blur", self.blur),
            ("noise", self.noise),
        ];
        for (name, p) in probabilities {
            if !(0.0..=1.0).contains(&p) {
                return Err(format!("augmentation.{name} = {p} is no probability; use 0..1"));
            }
        }
        if !(0.0..0.9).contains(&self.rescale_range)
            || !(0.0..=256.0).contains(&self.elastic_alpha)
            || !(0.5..=64.0).contains(&self.elastic_sigma)
            || !(0.0..=1.0).contains(&self.noise_sigma)
            || self.misalign_max > 1024
        {
            return Err(
                "augmentation: rescale_range in 0..0.9, elastic_alpha in 0..256, elastic_sigma in 0.5..64, noise_sigma in 0..1, misalign_max up to 1024"
                    .into(),
            );
        }
        Ok(())
    }
}
