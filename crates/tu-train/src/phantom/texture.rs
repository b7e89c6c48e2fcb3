//! Grey values: cytoplasm, membranes, and what the microscope adds.

use rand::Rng;
use rand_distr::{Distribution, Normal};

use super::PhantomConfig;

/// Smooth noise in about −1..1: random values on a lattice of `pitch_nm`, linear in between.
pub(super) struct Noise {
    pitch: f32,
    key: u64,
}

impl Noise {
    pub(super) fn new(config: &PhantomConfig, purpose: u64, pitch_nm: f64) -> Self {
        Self { pitch: pitch_nm as f32, key: config.rng(purpose).random() }
    }

    fn lattice(&self, cell: [i64; 3], channel: u32) -> f32 {
        let mut h = self.key ^ (u64::from(channel) << 60);
        for c in cell {
            h = (h ^ c as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            h ^= h >> 29;
        }
        h = h.wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (h >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Value at a position in nm, zyx; channels are independent.
    pub(super) fn value(&self, nm: [f32; 3], channel: u32) -> f32 {
        let scaled = nm.map(|c| c / self.pitch);
        let cell = scaled.map(|c| c.floor() as i64);
        let f = [0, 1, 2].map(|a| {
            let t = scaled[a] - cell[a] as f32;
            t * t * (3.0 - 2.0 * t)
        });
        let mut sum = 0.0;
        for corner in 0..8u8 {
            let bit = [corner >> 2 & 1, corner >> 1 & 1, corner & 1];
            let weight: f32 = (0..3).map(|a| if bit[a] == 1 { f[a] } else { 1.0 - f[a] }).product();
            sum += weight * self.lattice([0, 1, 2].map(|a| cell[a] + i64::from(bit[a])), channel);
        }
        sum
    }
}

/// Light cytoplasm: a level per neurite with slow and fast variation inside.
pub(super) fn cytoplasm(config: &PhantomConfig, labels: &[u32]) -> Vec<f32> {
    let slow = Noise::new(config, 3, 220.0);
    let fast = Noise::new(config, 4, 45.0);
    let level = Noise::new(config, 5, 1.0);
    let [_, height, width] = config.shape_zyx;
    let voxel = config.voxel_nm_zyx.map(|nm| nm as f32);
    // Along x the fast noise is sampled every few voxels and interpolated: it is the costly part.
    let stride = ((20.0 / voxel[2]) as usize).clamp(1, 8);
    let mut grey = Vec::with_capacity(labels.len());
    let mut row_noise = vec![0.0f32; width + stride + 1];
    for (row, row_labels) in labels.chunks_exact(width).enumerate() {
        let (z, y) = ((row / height) as f32 * voxel[0], (row % height) as f32 * voxel[1]);
        let mut x = 0;
        while x < width + stride {
            let nm = [z, y, x as f32 * voxel[2]];
            row_noise[x] = 0.035 * slow.value(nm, 0) + 0.06 * fast.value(nm, 0);
            x += stride;
        }
        for (x, label) in row_labels.iter().enumerate() {
            let (from, f) = (x / stride * stride, (x % stride) as f32 / stride as f32);
            let noise = row_noise[from] * (1.0 - f) + row_noise[from + stride] * f;
            grey.push(0.66 + 0.06 * level.lattice([i64::from(*label), 0, 0], 0) + noise);
        }
    }
    grey
}

/// Darkens what lies within the membrane. A thick section sees a membrane smeared over its thickness.
pub(super) fn membranes(config: &PhantomConfig, distance_nm: &[f32], grey: &mut [f32]) {
    let [z_nm, y_nm, x_nm] = config.voxel_nm_zyx;
    let in_plane = 0.5 * (y_nm + x_nm);
    // Half the membrane belongs to either side; a voxel cannot show less than a part of itself.
    let half = (0.5 * config.membrane_nm).max(0.45 * in_plane).max(0.12 * z_nm) as f32;
    if config.membrane_nm <= 0.0 {
        return;
    }
    for (value, distance) in grey.iter_mut().zip(distance_nm) {
        let t = distance / half;
        if t < 3.0 {
            let dark = (-0.7 * t * t).exp();
            *value = *value * (1.0 - dark) + 0.2 * dark;
        }
    }
}

/// What the microscope adds: blur in plane, brightness from section to section where sections are cut, noise.
pub(super) fn image(config: &PhantomConfig, mut grey: Vec<f32>) -> Vec<u8> {
    let mut rng = config.rng(6);
    let [_, height, width] = config.shape_zyx;
    let cut = config.voxel_nm_zyx[0] > 2.0 * config.voxel_nm_zyx[2];
    let noise = Normal::new(0.0f32, config.noise as f32).ok();
    let mut raw = Vec::with_capacity(grey.len());
    let mut row = vec![0.0; width];
    for section in grey.chunks_exact_mut(height * width) {
        let (gain, offset) =
            if cut { (rng.random_range(0.88..1.12), rng.random_range(-0.06..0.06)) } else { (1.0, 0.0) };
        blur(section, height, width, &mut row);
        for value in section {
            let sample = noise.as_ref().map_or(0.0, |n| n.sample(&mut rng));
            let v = (*value - 0.5) * gain + 0.5 + offset + sample;
            raw.push((v * 255.0).round().clamp(0.0, 255.0) as u8);
        }
    }
    raw
}

/// The kernel (1, 4, 1)/6 along x, then y.
fn blur(section: &mut [f32], height: usize, width: usize, row: &mut [f32]) {
    let mix = |a: f32, b: f32, c: f32| (a + 4.0 * b + c) / 6.0;
    for line in section.chunks_exact_mut(width) {
        row.copy_from_slice(line);
        for x in 0..width {
            line[x] = mix(row[x.saturating_sub(1)], row[x], row[(x + 1).min(width - 1)]);
        }
    }
    row.copy_from_slice(&section[..width]);
    for y in 0..height {
        let below = (y + 1).min(height - 1);
        for x in 0..width {
            let here = section[y * width + x];
            section[y * width + x] = mix(row[x], here, section[below * width + x]);
            row[x] = here;
        }
    }
}
