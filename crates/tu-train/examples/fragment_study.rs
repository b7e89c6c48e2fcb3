//! Scores ways to make fragments, and to join them, on affinities that a network gave for a labelled region: tiles with more and
//! less context, seeds of distances smoothed more and less, shifts of the grid of tiles.
//!
//! ```text
//! tu-train affinities --input em.zarr/raw --roi 180:250,:,: --model models/tiny-fib25.safetensors --output a.zarr
//! cargo run --release -p tu-train --example fragment_study -- a.zarr em.zarr/labels 180:250,:,:
//! ```
//!
//! Every row is a mean over four shifts at the threshold that is best for it with its neighbours, with the standard deviation
//! over shifts.

#![allow(clippy::print_stdout, reason = "a study prints its table")]

use rayon::prelude::*;
use tu_segment::{
    AffinityView, Contingency, FragmentMethod, RegionGraph, Scoring, SeededWatershed, TileFragments,
    TileGrid, agglomerate, crop, pad_reflect, quantise_affinity,
};
use tu_train::calibration::grid_shifts;
use tu_train::roi::RoiSpec;
use tu_volume::{DataType, Volume};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TILE_ZYX: [usize; 3] = [32, 96, 96];
const CONTEXTS: [usize; 4] = [0, 8, 16, 24];
const SMOOTHING: [u8; 4] = [2, 8, 18, 32];
const SHIFTS: usize = 4;

/// Affinities `[3, z, y, x]` and labels of one region.
struct Region {
    bins: Vec<u8>,
    labels: Vec<u64>,
    shape_zyx: [usize; 3],
}

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [affinities, labels, roi] = arguments.as_slice() else {
        return Err("write fragment_study AFFINITIES LABELS z0:z1,y0:y1,x0:x1".into());
    };
    let region = read(affinities, labels, roi)?;
    println!("tile            context  smoothing  threshold  VOI split  VOI merge  VOI            ARAND");
    let whole = region.shape_zyx;
    for (tile_zyx, contexts) in [(TILE_ZYX, &CONTEXTS[..]), (whole, &[0][..])] {
        for &context in contexts {
            for smoothing in SMOOTHING {
                let shifts = if tile_zyx == whole { vec![[0; 3]] } else { grid_shifts(TILE_ZYX, SHIFTS) };
                let curves = shifts
                    .par_iter()
                    .map(|shift| curve(&region, tile_zyx, context, smoothing, *shift))
                    .collect::<Result<Vec<_>, _>>()?;
                println!(
                    "{:<14}  {context:<7}  {smoothing:<9}  {}",
                    if tile_zyx == whole { "whole".to_owned() } else { format!("{tile_zyx:?}") },
                    row(&curves)
                );
            }
        }
    }
    Ok(())
}

fn read(affinities: &str, labels: &str, roi: &str) -> Result<Region, Failure> {
    let (affinities, labels) = (Volume::open(affinities)?, Volume::open(labels)?);
    let roi = roi.parse::<RoiSpec>()?.resolve(labels.url(), labels.shape_zyx())?;
    let bins = if affinities.data_type() == DataType::U8 {
        affinities.read_channels_u8(&affinities.region())?
    } else {
        affinities.read_channels_f32(&affinities.region())?.into_iter().map(quantise_affinity).collect()
    };
    let shape_zyx = affinities.shape_zyx().map(|n| n as usize);
    if shape_zyx.map(|n| n as u64) != roi.shape_zyx() {
        return Err(
            format!("the affinities have {shape_zyx:?} voxels, the region {:?}", roi.shape_zyx()).into()
        );
    }
    Ok(Region { bins, labels: labels.read_u64(&roi.region())?, shape_zyx })
}

/// Split, merge and ARAND at every threshold.
type Curve = Vec<(f32, [f64; 3])>;

fn curve(
    region: &Region,
    tile_zyx: [usize; 3],
    context: usize,
    smoothing: u8,
    shift_zyx: [usize; 3],
) -> Result<Curve, Failure> {
    let shape: [usize; 3] = std::array::from_fn(|axis| region.shape_zyx[axis] + shift_zyx[axis]);
    let voxels = region.shape_zyx.iter().product();
    let channels = region.bins.chunks_exact(voxels);
    let bins: Vec<u8> =
        channels.flat_map(|channel| pad_reflect(channel, region.shape_zyx, shift_zyx, shape)).collect();
    let extent = shape.map(|n| n as u64);
    let grid = TileGrid::new(extent, tile_zyx, [context; 3])?;
    let method = FragmentMethod::Seeded(SeededWatershed { smoothing, ..SeededWatershed::default() });
    let mut graph = RegionGraph::new(grid.clone());
    let mut contingency = Contingency::new();
    for index in grid.tiles_intersecting([0; 3], extent) {
        let tile = grid.tile(index)?;
        let block = crop(&bins, 3, shape, tile.read_origin_zyx.map(|n| n as usize), tile.read_shape_zyx);
        let made =
            TileFragments::compute(&grid, index, &AffinityView::new(&block, tile.read_shape_zyx)?, &method)?;
        graph.insert(&made);
        let mut truth = Vec::with_capacity(tile.voxels());
        let place = |axis: usize, i: usize| (tile.origin_zyx[axis] as usize + i).checked_sub(shift_zyx[axis]);
        for (z, y, x) in (0..tile.shape_zyx[0])
            .flat_map(|z| (0..tile.shape_zyx[1]).map(move |y| (z, y)))
            .flat_map(|(z, y)| (0..tile.shape_zyx[2]).map(move |x| (z, y, x)))
        {
            let label = place(0, z)
                .zip(place(1, y))
                .zip(place(2, x))
                .map(|((z, y), x)| region.labels[(z * region.shape_zyx[1] + y) * region.shape_zyx[2] + x]);
            truth.push(label.unwrap_or(0));
        }
        contingency.add(made.labels(), &truth);
    }
    let (ids, edges) = (graph.fragment_ids(), graph.edges());
    let at = |step: usize| {
        let threshold = step as f32 * 0.05;
        let agglomeration = agglomerate(&ids, &edges, Scoring::Mean, threshold);
        let scores = contingency.relabelled(|fragment| agglomeration.root(fragment)).scores();
        (threshold, [scores.voi_split, scores.voi_merge, scores.arand])
    };
    Ok((6..18).map(at).collect())
}

fn row(curves: &[Curve]) -> String {
    let count = curves.len() as f64;
    let voi = |curve: &Curve, i: usize| curve[i].1[0] + curve[i].1[1];
    let mean = |i: usize, value: &dyn Fn(&Curve, usize) -> f64| {
        curves.iter().map(|curve| value(curve, i)).sum::<f64>() / count
    };
    let near = |i: usize| (mean(i - 1, &voi) + mean(i, &voi) + mean(i + 1, &voi)) / 3.0;
    let best = (1..curves[0].len() - 1).min_by(|a, b| near(*a).total_cmp(&near(*b))).unwrap_or(1);
    let centre = mean(best, &voi);
    let spread =
        (mean(best, &|curve, i| (voi(curve, i) - centre).powi(2)) * count / (count - 1.0).max(1.0)).sqrt();
    format!(
        "{:<9.2}  {:<9.3}  {:<9.3}  {centre:.3} ± {spread:.3}  {:.3}",
        curves[0][best].0,
        mean(best, &|curve, i| curve[i].1[0]),
        mean(best, &|curve, i| curve[i].1[1]),
        mean(best, &|curve, i| curve[i].1[2])
    )
}
