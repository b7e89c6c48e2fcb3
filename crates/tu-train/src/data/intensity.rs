//! Changes of grey values: contrast, brightness and gamma, blank sections, blur and noise; all on `[0, 1]`.

use rand::Rng;
use rand_distr::{Distribution, Normal};

use super::augmentation::AugmentationConfig;

/// Applies the drawn changes to a crop `[z, y, x]` of values in `[0, 1]`.
pub fn change_intensity(
    rng: &mut impl Rng,
    config: &AugmentationConfig,
    values: &mut [f32],
    shape_zyx: [usize; 3],
) {
    let [depth, height, width] = shape_zyx;
    let area = height * width;
    if rng.random_bool(config.blur) {
        let sigma = rng.random_range(0.5f32..2.0);
        let share = rng.random_range(0.2..1.0);
        for section in values.chunks_exact_mut(area) {
            if rng.random_bool(share) {
                section.copy_from_slice(&gaussian_plane(section, height, width, sigma));
            }
        }
    }
    if rng.random_bool(config.grayscale) {
        if rng.random_bool(0.5) {
            grayscale(rng, values);
        } else {
            values.chunks_exact_mut(area).for_each(|section| grayscale(rng, section));
        }
    }
    if rng.random_bool(config.noise) {
        let sigma = rng.random_range(0.0..=config.noise_sigma) as f32;
        if let Ok(normal) = Normal::new(0.0f32, sigma) {
            for value in values.iter_mut() {
                *value = (*value + normal.sample(rng)).clamp(0.0, 1.0);
            }
        }
    }
    if rng.random_bool(config.missing) && config.missing_sections > 0 {
        for _ in 0..rng.random_range(1..=config.missing_sections) {
            let z = rng.random_range(0..depth);
            values[z * area..(z + 1) * area].fill(0.0);
        }
    }
}

/// Contrast × (1 ± 0.15), brightness ± 0.15, then a power between ½ and 2.
fn grayscale(rng: &mut impl Rng, values: &mut [f32]) {
    let contrast = 1.0 + 0.3 * (rng.random::<f32>() - 0.5);
    let brightness = 0.3 * (rng.random::<f32>() - 0.5);
    let gamma = 2f32.powf(2.0 * rng.random::<f32>() - 1.0);
    for value in values {
        *value = (*value * contrast + brightness).clamp(0.0, 1.0).powf(gamma);
    }
}

/// Separable Gaussian on one plane, wrapping at the border.
pub(crate) fn gaussian_plane(plane: &[f32], height: usize, width: usize, sigma: f32) -> Vec<f32> {
    let radius = (3.0 * sigma).ceil() as usize;
    let mut kernel: Vec<f32> =
        (0..=2 * radius).map(|i| (-0.5 * ((i as f32 - radius as f32) / sigma).powi(2)).exp()).collect();
    let total: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|k| *k /= total);
    let wrap = |i: usize, k: usize, n: usize| (i + k + n * (radius / n + 1) - radius) % n;
    let mut rows = vec![0.0; plane.len()];
    for y in 0..height {
        for x in 0..width {
            rows[y * width + x] =
                kernel.iter().enumerate().map(|(k, w)| w * plane[y * width + wrap(x, k, width)]).sum();
        }
    }
    let mut out = vec![0.0; plane.len()];
    for y in 0..height {
        for (k, w) in kernel.iter().enumerate() {
            let source = wrap(y, k, height) * width;
            for x in 0..width {
                out[y * width + x] += w * rows[source + x];
            }
        }
    }
    out
}
