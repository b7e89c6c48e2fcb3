//! Which neurite each voxel belongs to and how far it is from the nearest border. The two best neurites are searched for
//! on a lattice only; a voxel then compares the handful of spheres that its eight lattice neighbours found.

use super::PhantomConfig;
use super::neurites::{Neurites, Node};
use super::texture::Noise;

/// Per-voxel neurite (1-based) and distance to its border in nm, zyx.
pub(super) struct Borders {
    pub(super) labels: Vec<u32>,
    pub(super) distance_nm: Vec<f32>,
}

/// Spheres sorted into cubes.
struct Bins {
    low: [f32; 3],
    size: f32,
    counts: [usize; 3],
    starts: Vec<u32>,
    nodes: Vec<Node>,
}

impl Bins {
    fn new(nodes: &[Node], size: f32) -> Self {
        let mut low = [f32::MAX; 3];
        let mut high = [f32::MIN; 3];
        for node in nodes {
            for axis in 0..3 {
                low[axis] = low[axis].min(node.at[axis]);
                high[axis] = high[axis].max(node.at[axis]);
            }
        }
        let counts = [0, 1, 2].map(|a| ((high[a] - low[a]) / size) as usize + 1);
        let mut bins = Self { low, size, counts, starts: Vec::new(), nodes: Vec::new() };
        let mut keyed: Vec<(u32, Node)> =
            nodes.iter().map(|n| (bins.key(bins.cell(n.at)) as u32, *n)).collect();
        keyed.sort_by_key(|(key, _)| *key);
        bins.starts = vec![0; counts.iter().product::<usize>() + 1];
        for (key, _) in &keyed {
            bins.starts[*key as usize + 1] += 1;
        }
        for i in 1..bins.starts.len() {
            bins.starts[i] += bins.starts[i - 1];
        }
        bins.nodes = keyed.into_iter().map(|(_, node)| node).collect();
        bins
    }

    fn cell(&self, at: [f32; 3]) -> [usize; 3] {
        [0, 1, 2].map(|a| (((at[a] - self.low[a]) / self.size).max(0.0) as usize).min(self.counts[a] - 1))
    }

    fn key(&self, cell: [usize; 3]) -> usize {
        (cell[0] * self.counts[1] + cell[1]) * self.counts[2] + cell[2]
    }

    /// Index of the sphere with the least power, and of the best sphere of another neurite, within `reach` cubes.
    fn best_two(&self, at: [f32; 3], reach: usize) -> [u32; 2] {
        let centre = self.cell(at);
        let mut best = [(f32::MAX, u32::MAX); 2];
        let range = |a: usize| centre[a].saturating_sub(reach)..(centre[a] + reach + 1).min(self.counts[a]);
        for z in range(0) {
            for y in range(1) {
                let row = self.key([z, y, 0]);
                let xs = range(2);
                let span = self.starts[row + xs.start] as usize..self.starts[row + xs.end] as usize;
                for i in span {
                    let node = &self.nodes[i];
                    let power = power(node, at);
                    if power >= best[1].0 {
                        continue;
                    }
                    let first_neurite = self.nodes.get(best[0].1 as usize).map_or(0, |n| n.neurite);
                    if power < best[0].0 {
                        if node.neurite != first_neurite {
                            best[1] = best[0];
                        }
                        best[0] = (power, i as u32);
                    } else if node.neurite != first_neurite {
                        best[1] = (power, i as u32);
                    }
                }
            }
        }
        if best[1].1 == u32::MAX && reach < *self.counts.iter().max().unwrap_or(&1) {
            return self.best_two(at, reach * 2);
        }
        [best[0].1, best[1].1]
    }
}

fn power(node: &Node, at: [f32; 3]) -> f32 {
    let d = [node.at[0] - at[0], node.at[1] - at[1], node.at[2] - at[2]];
    d[0] * d[0] + d[1] * d[1] + d[2] * d[2] - node.radius * node.radius
}

/// Labels every voxel.
pub(super) fn label(config: &PhantomConfig, neurites: &Neurites) -> Borders {
    let diameter = config.neurite_nm as f32;
    let bins = Bins::new(&neurites.nodes, 0.5 * diameter);
    let voxel = config.voxel_nm_zyx.map(|nm| nm as f32);
    let shape = config.shape_zyx;
    // Lattice pitch in voxels: a fifth of a diameter, and never finer than the voxels.
    let pitch = [0, 1, 2].map(|a| ((0.2 * diameter / voxel[a]) as usize).clamp(1, 64));
    let counts = [0, 1, 2].map(|a| (shape[a] - 1) / pitch[a] + 2);
    let warp = Noise::new(config, 2, 1.1 * config.neurite_nm);
    let amplitude = 0.11 * diameter;
    let mut found = Vec::with_capacity(counts.iter().product());
    let mut moved = Vec::with_capacity(found.capacity());
    for z in 0..counts[0] {
        for y in 0..counts[1] {
            for x in 0..counts[2] {
                let nm = [
                    (z * pitch[0]) as f32 * voxel[0],
                    (y * pitch[1]) as f32 * voxel[1],
                    (x * pitch[2]) as f32 * voxel[2],
                ];
                let shift = [0u32, 1, 2].map(|c| amplitude * warp.value(nm, c));
                let at = [nm[0] + shift[0], nm[1] + shift[1], nm[2] + shift[2]];
                found.push(bins.best_two(at, 2));
                moved.push(at);
            }
        }
    }
    let mut labels = Vec::with_capacity(shape.iter().product());
    let mut distance_nm = Vec::with_capacity(labels.capacity());
    let index = |z: usize, y: usize, x: usize| (z * counts[1] + y) * counts[2] + x;
    let mut candidates: Vec<u32> = Vec::with_capacity(16);
    for z in 0..shape[0] {
        let (lz, fz) = (z / pitch[0], (z % pitch[0]) as f32 / pitch[0] as f32);
        for y in 0..shape[1] {
            let (ly, fy) = (y / pitch[1], (y % pitch[1]) as f32 / pitch[1] as f32);
            let mut cell = usize::MAX;
            for x in 0..shape[2] {
                let (lx, fx) = (x / pitch[2], (x % pitch[2]) as f32 / pitch[2] as f32);
                let corners = [
                    index(lz, ly, lx),
                    index(lz, ly, lx + 1),
                    index(lz, ly + 1, lx),
                    index(lz, ly + 1, lx + 1),
                    index(lz + 1, ly, lx),
                    index(lz + 1, ly, lx + 1),
                    index(lz + 1, ly + 1, lx),
                    index(lz + 1, ly + 1, lx + 1),
                ];
                if lx != cell {
                    cell = lx;
                    candidates.clear();
                    for corner in corners {
                        for node in found[corner] {
                            if node != u32::MAX && !candidates.contains(&node) {
                                candidates.push(node);
                            }
                        }
                    }
                }
                // The warp is linear between lattice points, so positions are interpolated rather than noise evaluated.
                let mut at = [0.0; 3];
                for (i, corner) in corners.iter().enumerate() {
                    let wz = if i & 4 == 0 { 1.0 - fz } else { fz };
                    let wy = if i & 2 == 0 { 1.0 - fy } else { fy };
                    let wx = if i & 1 == 0 { 1.0 - fx } else { fx };
                    let weight = wz * wy * wx;
                    for axis in 0..3 {
                        at[axis] += weight * moved[*corner][axis];
                    }
                }
                let (neurite, distance) = nearest(&bins.nodes, &candidates, at);
                labels.push(neurite);
                distance_nm.push(distance);
            }
        }
    }
    Borders { labels, distance_nm }
}

/// The neurite of the best candidate and the least distance to the border with any other neurite among them.
fn nearest(nodes: &[Node], candidates: &[u32], at: [f32; 3]) -> (u32, f32) {
    let mut best = (f32::MAX, 0usize);
    let mut powers = [0f32; 16];
    for (slot, &i) in candidates.iter().enumerate().take(16) {
        powers[slot] = power(&nodes[i as usize], at);
        if powers[slot] < best.0 {
            best = (powers[slot], slot);
        }
    }
    let Some(&winner) = candidates.get(best.1) else { return (1, f32::MAX) };
    let winner = nodes[winner as usize];
    let mut distance = f32::MAX;
    for (slot, &i) in candidates.iter().enumerate().take(16) {
        let other = nodes[i as usize];
        if other.neurite != winner.neurite {
            let apart = (0..3).map(|a| (other.at[a] - winner.at[a]).powi(2)).sum::<f32>().sqrt().max(1e-3);
            distance = distance.min((powers[slot] - best.0) / (2.0 * apart));
        }
    }
    (winner.neurite, distance)
}
