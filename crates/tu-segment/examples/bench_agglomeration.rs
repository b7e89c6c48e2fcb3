//! How fast each stage runs on one core, on synthetic tissue: jittered Voronoi cells with blurred, noisy borders.
//!
//! ```text
//! cargo run --release -p tu-segment --example bench_agglomeration [extent in voxels, 256] [noise 0..255, 100]
//! ```

#![allow(clippy::print_stdout, reason = "the numbers are what it is for")]

use std::time::Instant;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tu_segment::{
    AffinityView, Contingency, FragmentMethod, RegionGraph, Scoring, TileFragments, TileGrid,
    affinities_of_labels, agglomerate, contacts_of_volume,
};

/// Side of the cubes that hold one cell centre each, in voxels.
const CELL: usize = 24;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let extent: usize = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let noise: u8 = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let shape = [extent; 3];
    let voxels = extent * extent * extent;
    let truth = cells(extent);
    let affinities = noisy(&affinities_of_labels(&truth, shape), extent, noise);
    let aff = AffinityView::new(&affinities, shape)?;
    println!("{extent}³ = {:.1} Mvoxel, one core", voxels as f64 / 1e6);

    for name in ["affinity", "seeded", "slice"] {
        let method = FragmentMethod::from_name(name)?;
        let grid = TileGrid::new([extent as u64; 3], [64.min(extent); 3], [0; 3])?;
        let blocks: Vec<([u64; 3], Vec<u8>)> = grid
            .tiles_intersecting([0; 3], grid.volume_zyx())
            .into_iter()
            .map(|index| Ok((index, block(&affinities, extent, &grid.tile(index)?))))
            .collect::<Result<_, tu_segment::GridError>>()?;

        let watch = Watch::start();
        tu_segment::fragments(&aff, &method);
        watch.stop(&format!("{name}: fragments, whole"), voxels);

        let watch = Watch::start();
        let tiles = blocks
            .iter()
            .map(|(index, block)| {
                let shape = grid.tile(*index)?.shape_zyx;
                Ok(TileFragments::compute(&grid, *index, &AffinityView::new(block, shape)?, &method)?)
            })
            .collect::<Result<Vec<_>, Box<dyn std::error::Error>>>()?;
        watch.stop(&format!("{name}: fragments and contacts, tiles"), voxels);

        let watch = Watch::start();
        let mut graph = RegionGraph::new(grid);
        for tile in &tiles {
            graph.insert(tile);
        }
        let (fragments, edges) = (graph.fragments(), graph.edges());
        watch.stop(&format!("{name}: graph, {} fragments, {} edges", fragments.len(), edges.len()), voxels);

        for scoring in ["quantile:50", "mean", "max", "mean,size:0.06"] {
            let scoring: Scoring = scoring.parse()?;
            let watch = Watch::start();
            let result = agglomerate(&fragments, &edges, scoring, 0.5);
            watch.stop(&format!("{name}: agglomerate {scoring}, {} segments", result.segments()), voxels);
        }

        let watch = Watch::start();
        contacts_of_volume(&truth, &aff);
        watch.stop("contacts of the true labels, whole", voxels);
    }
    let watch = Watch::start();
    let mut table = Contingency::new();
    table.add(&truth, &truth);
    let scores = table.scores();
    watch.stop(&format!("scores, VOI {}", scores.voi), voxels);
    Ok(())
}

/// Seconds of processor time that this thread has used, where the system tells; else of the clock.
fn seconds(since: Instant) -> f64 {
    std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok())
        .map_or_else(|| since.elapsed().as_secs_f64(), |nanoseconds| nanoseconds / 1e9)
}

struct Watch {
    begun: Instant,
    seconds: f64,
}

impl Watch {
    fn start() -> Self {
        let begun = Instant::now();
        Self { begun, seconds: seconds(begun) }
    }

    fn stop(self, what: &str, voxels: usize) {
        let seconds = seconds(self.begun) - self.seconds;
        println!("{what:60} {seconds:8.3} s {:8.1} Mvoxel/s", voxels as f64 / 1e6 / seconds);
    }
}

/// Voronoi cells of one random centre per cube.
fn cells(extent: usize) -> Vec<u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let cubes = extent.div_ceil(CELL) + 2;
    let centres: Vec<[f32; 3]> = (0..cubes * cubes * cubes)
        .map(|i| {
            [i / cubes / cubes, i / cubes % cubes, i % cubes]
                .map(|cube| (cube as f32 - 1.0 + rng.random::<f32>()) * CELL as f32)
        })
        .collect();
    let mut labels = Vec::with_capacity(extent * extent * extent);
    for z in 0..extent {
        for y in 0..extent {
            for x in 0..extent {
                let mut nearest = (f32::INFINITY, 0);
                for dz in 0..3 {
                    for dy in 0..3 {
                        for dx in 0..3 {
                            let cube =
                                (z / CELL + dz) * cubes * cubes + (y / CELL + dy) * cubes + x / CELL + dx;
                            let [cz, cy, cx] = centres[cube];
                            let distance =
                                (z as f32 - cz).powi(2) + (y as f32 - cy).powi(2) + (x as f32 - cx).powi(2);
                            if distance < nearest.0 {
                                nearest = (distance, cube as u64 + 1);
                            }
                        }
                    }
                }
                labels.push(nearest.1);
            }
        }
    }
    labels
}

/// 0 and 1 as dark and bright bins with noise, blurred along every axis as a network's output is.
fn noisy(targets: &[u8], extent: usize, noise: u8) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let noise = f32::from(noise);
    let mut values: Vec<f32> = targets
        .iter()
        .map(|&target| if target == 1 { 290.0 } else { -40.0 } + rng.random_range(-noise..=noise))
        .collect();
    for stride in [1, extent, extent * extent] {
        for v in stride..values.len() {
            values[v] = 0.9 * values[v] + 0.1 * values[v - stride];
        }
    }
    values.into_iter().map(|value| value as u8).collect()
}

/// A tile's affinities out of those of the cube.
fn block(affinities: &[u8], extent: usize, tile: &tu_segment::Tile) -> Vec<u8> {
    let [oz, oy, ox] = tile.origin_zyx.map(|n| n as usize);
    let mut block = Vec::with_capacity(3 * tile.voxels());
    for channel in affinities.chunks(extent * extent * extent) {
        for z in oz..oz + tile.shape_zyx[0] {
            for y in oy..oy + tile.shape_zyx[1] {
                let row = (z * extent + y) * extent + ox;
                block.extend_from_slice(&channel[row..row + tile.shape_zyx[2]]);
            }
        }
    }
    block
}
