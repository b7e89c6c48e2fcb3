//! Synthetic electron microscopy: neurites that fill space and touch, dark membranes, organelles, noise. Same seed, same
//! voxels.
//!
//! Neurites are bent tubes of varying radius, given as chains of spheres (p, r). A voxel at q (nm, after a smooth warp)
//! belongs to the neurite of the sphere with the least power |q − p|² − r². For the best two neurites i and j,
//! (power_j − power_i) / (2·|p_j − p_i|) is the distance to their common border, which is where the membrane is drawn.
//! Everything is laid out in nanometres and sampled at the voxel size asked for, so anisotropic stacks look like stacks.

mod borders;
mod neurites;
mod organelles;
mod pieces;
mod texture;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use borders::Borders;
use neurites::Neurites;

/// What to make.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PhantomConfig {
    /// Shape in voxels, zyx. Default: 64, 256, 256.
    pub shape_zyx: [usize; 3],
    /// Voxel size in nm, zyx. Default: 10, 10, 10.
    pub voxel_nm_zyx: [f64; 3],
    /// Seed. Default: 1.
    pub seed: u64,
    /// Typical diameter of a neurite in nm. Default: 240.
    pub neurite_nm: f64,
    /// Thickness of the membrane between two neurites in nm. Default: 18.
    pub membrane_nm: f64,
    /// Standard deviation of the imaging noise, of a range of 1. Default: 0.06.
    pub noise: f64,
    /// Mitochondria and vesicles. Default: true.
    pub organelles: bool,
}

impl Default for PhantomConfig {
    fn default() -> Self {
        Self {
            shape_zyx: [64, 256, 256],
            voxel_nm_zyx: [10.0; 3],
            seed: 1,
            neurite_nm: 240.0,
            membrane_nm: 18.0,
            noise: 0.06,
            organelles: true,
        }
    }
}

/// A synthetic volume, C order zyx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phantom {
    /// Grey values; membranes are dark.
    pub raw: Vec<u8>,
    /// 1..=n, every voxel labelled, every label one connected piece.
    pub labels: Vec<u64>,
}

/// Why there is no phantom.
#[derive(Debug, Error, PartialEq)]
#[error("phantom: {0}")]
pub struct PhantomError(String);

impl PhantomConfig {
    fn check(&self) -> Result<(), PhantomError> {
        let voxels = self.shape_zyx.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        if !voxels.is_some_and(|n| (1..=1 << 31).contains(&n)) {
            return Err(PhantomError(format!("shape {:?} must have 1 to 2^31 voxels", self.shape_zyx)));
        }
        if !self.voxel_nm_zyx.iter().all(|nm| (0.1..=10_000.0).contains(nm)) {
            return Err(PhantomError(format!(
                "voxel size {:?} nm must lie in 0.1..10000",
                self.voxel_nm_zyx
            )));
        }
        if !(20.0..=20_000.0).contains(&self.neurite_nm)
            || !(0.0..=200.0).contains(&self.membrane_nm)
            || !(0.0..=1.0).contains(&self.noise)
        {
            return Err(PhantomError(
                "neurite_nm must lie in 20..20000, membrane_nm in 0..200, noise in 0..1".into(),
            ));
        }
        let extent: f64 =
            (0..3).map(|a| self.shape_zyx[a] as f64 * self.voxel_nm_zyx[a] / self.neurite_nm).product();
        if extent > 4e6 {
            return Err(PhantomError(
                "more than four million neurite diameters cubed; use a smaller volume or a larger neurite_nm"
                    .into(),
            ));
        }
        Ok(())
    }

    fn rng(&self, purpose: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(purpose);
        rng
    }
}

/// Makes a volume.
///
/// # Errors
/// A setting is out of range.
pub fn phantom(config: &PhantomConfig) -> Result<Phantom, PhantomError> {
    config.check()?;
    let neurites = Neurites::grow(config);
    let Borders { mut labels, distance_nm } = borders::label(config, &neurites);
    let mut grey = texture::cytoplasm(config, &labels);
    if config.organelles {
        organelles::draw(config, &neurites, &labels, &distance_nm, &mut grey);
    }
    texture::membranes(config, &distance_nm, &mut grey);
    let raw = texture::image(config, grey);
    pieces::separate(&mut labels, config.shape_zyx);
    Ok(Phantom { raw, labels: labels.into_iter().map(u64::from).collect() })
}

#[cfg(test)]
mod tests;
