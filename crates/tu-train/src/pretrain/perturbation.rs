//! One extra change of an input, never of its target: noise, blur or a blank box, drawn with equal odds.
//!
//! It is applied after tokens have been hidden. Before, blur would carry hidden voxels into visible ones.

use rand::Rng;
use rand_distr::{Distribution, Normal};

use crate::data::gaussian_plane;

/// Perturbs a crop `[z, y, x]` whose hidden tokens have been replaced.
pub fn perturb(rng: &mut impl Rng, values: &mut [f32], shape_zyx: [usize; 3]) {
    let [_, height, width] = shape_zyx;
    match rng.random_range(0..3) {
        0 => {
            let sigma = rng.random_range(0.02f32..0.1);
            if let Ok(normal) = Normal::new(0.0f32, sigma) {
                values.iter_mut().for_each(|v| *v += normal.sample(rng));
            }
        }
        1 => {
            let sigma = rng.random_range(0.5f32..1.5);
            for section in values.chunks_exact_mut(height * width) {
                section.copy_from_slice(&gaussian_plane(section, height, width, sigma));
            }
        }
        _ => {
            let mut range = |side: usize| {
                let length = rng.random_range(side.div_ceil(8)..=side.div_ceil(3));
                let begin = rng.random_range(0..=side - length);
                begin..begin + length
            };
            let (zs, ys, xs) = (range(shape_zyx[0]), range(height), range(width));
            for z in zs {
                for y in ys.clone() {
                    let row = (z * height + y) * width;
                    values[row + xs.start..row + xs.end].fill(0.0);
                }
            }
        }
    }
}
