//! Random crops over several volumes.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use tu_model::IntensityRule;

use super::augmentation::AugmentationConfig;
use super::geometry::{Geometry, Orientation};
use super::replacement::{Replacement, Replacements};
use super::volume::TrainingVolume;
use super::{DataError, change_intensity, sample_rng};

/// Crops tried for one place in a batch before the run is given up.
const ATTEMPTS: u32 = 16;

/// A crop after augmentation, C order zyx.
#[derive(Clone, Debug, PartialEq)]
pub struct Crop {
    /// Values in `[0, 1]`.
    pub raw: Vec<f32>,
    /// Labels, empty for unlabelled volumes; 0 = unlabelled.
    pub labels: Vec<u64>,
    /// Volume the crop is from.
    pub volume: String,
    /// First voxel of its source block in the volume, zyx; negative where it is reflected.
    pub origin_zyx: [i64; 3],
}

/// Draws crops of one shape.
pub struct Sampler {
    volumes: Vec<TrainingVolume>,
    shape_zyx: [usize; 3],
    augmentation: AugmentationConfig,
    intensity: IntensityRule,
    seed: u64,
    replacements: Replacements,
}

impl Sampler {
    /// A sampler over `volumes`; the weights decide how often each is drawn.
    ///
    /// # Errors
    /// No volume has a positive weight.
    pub fn new(
        volumes: Vec<TrainingVolume>,
        shape_zyx: [usize; 3],
        augmentation: AugmentationConfig,
        intensity: IntensityRule,
        seed: u64,
    ) -> Result<Self, DataError> {
        if !volumes.iter().any(|v| v.weight() > 0.0) {
            return Err(DataError::Unusable {
                name: "all volumes".into(),
                cause: "no volume has a positive weight; give one".into(),
            });
        }
        Ok(Self { volumes, shape_zyx, augmentation, intensity, seed, replacements: Replacements::default() })
    }

    /// Shape of every crop, zyx.
    #[must_use]
    pub fn shape_zyx(&self) -> [usize; 3] {
        self.shape_zyx
    }

    /// The volumes drawn from.
    #[must_use]
    pub fn volumes(&self) -> &[TrainingVolume] {
        &self.volumes
    }

    /// Crops replaced for the steps before `step`, each reported once.
    #[must_use]
    pub fn take_replacements(&self, step: u64) -> Vec<Replacement> {
        self.replacements.take_before(step)
    }

    /// The crop at position `sample` of the batch of `step`. One that stands on unreadable chunks is replaced by the next of
    /// the same generator, so runs agree as long as the same chunks fail.
    ///
    /// # Errors
    /// Storage fails for many crops in a row, or otherwise than for single chunks.
    pub fn crop(&self, step: u64, sample: u64) -> Result<Crop, DataError> {
        let mut rng = sample_rng(self.seed, step, sample);
        let mut attempts = 1;
        loop {
            match self.draw_crop(&mut rng) {
                Err(cause) if cause.is_local() && attempts < ATTEMPTS => {
                    attempts += 1;
                    self.replacements.add(Replacement { step, cause: cause.to_string() });
                }
                Err(cause) if cause.is_local() => {
                    return Err(DataError::Damaged { attempts, cause: Box::new(cause) });
                }
                drawn => return drawn,
            }
        }
    }

    fn draw_crop(&self, rng: &mut ChaCha8Rng) -> Result<Crop, DataError> {
        let volume = self.draw_volume(rng);
        let orientation = Orientation::draw(rng, volume.permute_axes());
        let orientation = if self.augmentation.flip { orientation } else { Orientation::IDENTITY };
        let geometry = Geometry::draw(rng, &self.augmentation, self.shape_zyx);
        let window_zyx = geometry.window_zyx();
        let extent = volume.shape_zyx();
        // The crop itself stays inside the region where it fits; only a warp's margin is reflected.
        let inner = orientation.block_shape(self.shape_zyx);
        let mut origin = [0i64; 3];
        for axis in 0..3 {
            let room = extent[axis].saturating_sub(inner[axis]);
            origin[axis] = rng.random_range(0..=room) as i64;
        }
        let block_shape = orientation.block_shape(window_zyx);
        let before = geometry.before_zyx();
        for (axis, &source) in orientation.source_axis.iter().enumerate() {
            // A shrinking warp needs less than the crop: then the margin behind it is negative.
            let margin_before = before[axis] as i64;
            let margin_after = window_zyx[axis] as i64 - margin_before - self.shape_zyx[axis] as i64;
            origin[source] -= if orientation.reflect[axis] { margin_after } else { margin_before };
        }
        let block = volume.read(origin, block_shape)?;
        let mut raw = geometry.warp_raw(orientation.apply(&block.raw, window_zyx));
        let labels = if block.labels.is_empty() {
            Vec::new()
        } else {
            geometry.warp_labels(orientation.apply(&block.labels, window_zyx))
        };
        self.intensity.apply(&mut raw, volume.data_type_max());
        change_intensity(rng, &self.augmentation, &mut raw, self.shape_zyx);
        let begin = volume.begin_zyx();
        let origin_zyx = [0, 1, 2].map(|axis| origin[axis] + begin[axis] as i64);
        Ok(Crop { raw, labels, volume: volume.name().into(), origin_zyx })
    }

    fn draw_volume(&self, rng: &mut ChaCha8Rng) -> &TrainingVolume {
        let total: f64 = self.volumes.iter().map(TrainingVolume::weight).sum();
        let mut left = rng.random::<f64>() * total;
        for volume in &self.volumes {
            if left < volume.weight() {
                return volume;
            }
            left -= volume.weight();
        }
        // Rounding alone leads here; any volume with a weight will do.
        self.volumes.iter().rfind(|v| v.weight() > 0.0).unwrap_or(&self.volumes[0])
    }
}
