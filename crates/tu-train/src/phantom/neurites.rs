//! Bent tubes through the volume: chains of spheres in nm, zyx.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal, Normal};

use super::PhantomConfig;

/// One sphere of a neurite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) at: [f32; 3],
    pub(super) radius: f32,
    /// 1-based.
    pub(super) neurite: u32,
}

/// All neurites, nodes in order along each.
pub(super) struct Neurites {
    pub(super) nodes: Vec<Node>,
}

impl Neurites {
    /// Grows neurites until the spheres' tubes would fill the volume and its surroundings.
    pub(super) fn grow(config: &PhantomConfig) -> Self {
        let mut rng = config.rng(1);
        let diameter = config.neurite_nm;
        // Tubes also start outside, so that the border is no different from the middle.
        let margin = 1.5 * diameter;
        let low = [-margin; 3];
        let high = [0, 1, 2].map(|a| config.shape_zyx[a] as f64 * config.voxel_nm_zyx[a] + margin);
        let volume: f64 = (0..3).map(|a| high[a] - low[a]).product();
        let mut filled = 0.0;
        let mut nodes = Vec::new();
        let mut neurite = 0;
        let radii = LogNormal::new((diameter / 2.0).ln(), 0.45);
        while filled < volume {
            neurite += 1;
            let radius =
                radii.map_or(diameter / 2.0, |d| d.sample(&mut rng)).clamp(diameter / 6.0, 1.6 * diameter);
            let start = [0, 1, 2].map(|a| rng.random_range(low[a]..high[a]));
            let direction = random_direction(&mut rng);
            let length = rng.random_range(4.0..40.0) * diameter;
            let before = nodes.len();
            for sign in [1.0, -1.0] {
                let heading = direction.map(|d| sign * d);
                walk(&mut rng, start, heading, radius, length / 2.0, (low, high), neurite, &mut nodes);
            }
            let spacing = step_length(radius);
            filled += nodes[before..]
                .iter()
                .map(|n| std::f64::consts::PI * f64::from(n.radius).powi(2) * spacing)
                .sum::<f64>();
        }
        Self { nodes }
    }
}

fn step_length(radius: f64) -> f64 {
    0.6 * radius
}

fn random_direction(rng: &mut ChaCha8Rng) -> [f64; 3] {
    loop {
        let v = [0; 3].map(|_| rng.random_range(-1.0..1.0));
        let square: f64 = v.iter().map(|c| c * c).sum();
        if (0.01..=1.0).contains(&square) {
            return v.map(|c| c / square.sqrt());
        }
    }
}

/// A persistent random walk with swelling and shrinking radius and an occasional branch.
#[allow(clippy::too_many_arguments, reason = "the state of one walk, used twice")]
fn walk(
    rng: &mut ChaCha8Rng,
    start: [f64; 3],
    mut heading: [f64; 3],
    radius: f64,
    length: f64,
    (low, high): ([f64; 3], [f64; 3]),
    neurite: u32,
    nodes: &mut Vec<Node>,
) {
    let Ok(bend) = Normal::new(0.0, 0.28) else { return };
    let step = step_length(radius);
    let mut at = start;
    let mut swelling: f64 = 0.0;
    let mut left = length;
    // A branch needs room of its own, hence the bound on its number through the remaining length.
    let mut branches: Vec<([f64; 3], f64)> = Vec::new();
    while left > 0.0 && (0..3).all(|a| (low[a]..=high[a]).contains(&at[a])) {
        swelling = 0.85 * swelling + bend.sample(rng) * 0.5;
        let here = radius * swelling.exp().clamp(0.45, 1.9);
        nodes.push(Node { at: at.map(|c| c as f32), radius: here as f32, neurite });
        if rng.random_bool(0.015) {
            branches.push((at, left * 0.4));
        }
        for component in &mut heading {
            *component += bend.sample(rng);
        }
        let norm = heading.iter().map(|c| c * c).sum::<f64>().sqrt().max(1e-9);
        heading = heading.map(|c| c / norm);
        for axis in 0..3 {
            at[axis] += heading[axis] * step;
        }
        left -= step;
    }
    for (from, remaining) in branches {
        if remaining > 4.0 * step {
            let away = random_direction(rng);
            walk(rng, from, away, radius * 0.6, remaining, (low, high), neurite, nodes);
        }
    }
}
