//! Mitochondria (dark sausages with a darker rim and stripes, along the axis of thick neurites) and vesicles (small rings
//! in clusters). They stay inside their neurite and off its membrane.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::PhantomConfig;
use super::neurites::{Neurites, Node};

struct Canvas<'a> {
    config: &'a PhantomConfig,
    labels: &'a [u32],
    distance_nm: &'a [f32],
    grey: &'a mut [f32],
}

/// Draws all organelles.
pub(super) fn draw(
    config: &PhantomConfig,
    neurites: &Neurites,
    labels: &[u32],
    distance_nm: &[f32],
    grey: &mut [f32],
) {
    let mut rng = config.rng(7);
    let mut canvas = Canvas { config, labels, distance_nm, grey };
    let nodes = &neurites.nodes;
    let mut i = 0;
    while i < nodes.len() {
        let node = nodes[i];
        let thick = f64::from(node.radius) > 0.4 * config.neurite_nm;
        if thick && rng.random_bool(0.10) {
            let length = rng.random_range(3..9);
            let end = (i + length).min(nodes.len());
            let chain: Vec<Node> =
                nodes[i..end].iter().copied().take_while(|n| n.neurite == node.neurite).collect();
            canvas.mitochondrion(&chain, &mut rng);
            i += chain.len();
        } else if rng.random_bool(0.03) {
            canvas.vesicles(node, &mut rng);
        }
        i += 1;
    }
}

impl Canvas<'_> {
    /// Calls `paint(distance from centre in nm, grey)` for the neurite's voxels within `reach` nm of `at`.
    fn ball(
        &mut self,
        at: [f32; 3],
        reach: f32,
        neurite: u32,
        clear_nm: f32,
        paint: impl Fn([f32; 3], f32, &mut f32),
    ) {
        let shape = self.config.shape_zyx;
        let voxel = self.config.voxel_nm_zyx.map(|nm| nm as f32);
        let range = |a: usize| {
            let low = ((at[a] - reach) / voxel[a]).ceil().max(0.0) as usize;
            let high = ((at[a] + reach) / voxel[a]).floor();
            low..if high < 0.0 { 0 } else { (high as usize + 1).min(shape[a]) }
        };
        for z in range(0) {
            for y in range(1) {
                for x in range(2) {
                    let i = (z * shape[1] + y) * shape[2] + x;
                    if self.labels[i] != neurite || self.distance_nm[i] < clear_nm {
                        continue;
                    }
                    let nm = [z as f32 * voxel[0], y as f32 * voxel[1], x as f32 * voxel[2]];
                    let distance = (0..3).map(|a| (nm[a] - at[a]).powi(2)).sum::<f32>().sqrt();
                    if distance <= reach {
                        paint(nm, distance, &mut self.grey[i]);
                    }
                }
            }
        }
    }

    fn mitochondrion(&mut self, chain: &[Node], rng: &mut ChaCha8Rng) {
        let radius = chain.iter().map(|n| n.radius).fold(f32::MAX, f32::min).min(260.0) * 0.62;
        let clear = self.config.membrane_nm as f32;
        let level = rng.random_range(0.40f32..0.50);
        let stripe = rng.random_range(0.09f32..0.16);
        let tilt = [0; 3].map(|_| rng.random_range(-1.0f32..1.0));
        // The rim first and the inside over it: spheres of one chain overlap, and the union must have one rim.
        for inside in [false, true] {
            for pair in chain.windows(2) {
                let apart = (0..3).map(|a| (pair[1].at[a] - pair[0].at[a]).powi(2)).sum::<f32>().sqrt();
                if apart > 3.0 * pair[0].radius {
                    break;
                }
                for part in 0..3 {
                    let f = part as f32 / 3.0;
                    let at = [0, 1, 2].map(|a| pair[0].at[a] * (1.0 - f) + pair[1].at[a] * f);
                    let reach = if inside { (radius - 14.0).max(radius * 0.6) } else { radius };
                    self.ball(at, reach, chain[0].neurite, clear, |nm, _, grey| {
                        let phase: f32 = (0..3).map(|a| nm[a] * tilt[a]).sum();
                        *grey = if inside { level + 0.05 * (stripe * phase).sin() } else { 0.28 };
                    });
                }
            }
        }
    }

    fn vesicles(&mut self, node: Node, rng: &mut ChaCha8Rng) {
        let clear = self.config.membrane_nm as f32;
        for _ in 0..rng.random_range(3..14) {
            let at = [0, 1, 2].map(|a| node.at[a] + node.radius * rng.random_range(-0.7f32..0.7));
            let radius = rng.random_range(18.0f32..28.0);
            self.ball(at, radius, node.neurite, clear, |_, distance, grey| {
                *grey = if distance > radius - 9.0 { 0.34 } else { 0.62 };
            });
        }
    }
}
