//! Scores ways to make fragments, and to join them, on affinities that a network gave for a labelled region: tiles with more and
//! less context, seeds of distances smoothed more and less, sizes that count more and less, shifts of the grid of tiles.
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
    EdgeStatistic, FragmentMethod, Scoring, SeededWatershed, SizeWeight, crop, pad_reflect, quantise_affinity,
};
use tu_train::calibration::{CalibrationRow, grid_shifts, summarise};
use tu_train::finetune::{LabelledRegion, PostProcessing, ValidationResult};
use tu_train::roi::RoiSpec;
use tu_train::segment::Silent;
use tu_train::training::TrainError;
use tu_volume::{DataType, Volume};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const TILE_ZYX: [usize; 3] = [32, 96, 96];
const CONTEXTS: [usize; 4] = [0, 8, 16, 24];
const SMOOTHING: [u8; 4] = [2, 8, 18, 32];
/// What sizes count for, in thousandths.
const SIZE_WEIGHTS: [u16; 4] = [0, 30, 60, 100];
const SHIFTS: usize = 4;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [affinities, labels, roi] = arguments.as_slice() else {
        return Err("write fragment_study AFFINITIES LABELS z0:z1,y0:y1,x0:x1".into());
    };
    let (bins, region) = read(affinities, labels, roi)?;
    println!(
        "tile            context  smoothing  scoring         threshold  VOI split  VOI merge  VOI            ARAND"
    );
    let whole = region.shape_zyx;
    for (tile_zyx, contexts) in [(TILE_ZYX, &CONTEXTS[..]), (whole, &[0][..])] {
        let tile = if tile_zyx == whole { "whole".to_owned() } else { format!("{tile_zyx:?}") };
        let shifts = if tile_zyx == whole { vec![[0; 3]] } else { grid_shifts(TILE_ZYX, SHIFTS) };
        for &context in contexts {
            let samples = shifts
                .par_iter()
                .map(|shift| sample(&bins, &region, (tile_zyx, [context; 3]), *shift))
                .collect::<Result<Vec<_>, _>>()?;
            let rows = summarise(&[samples]).rows;
            for (smoothing, scoring) in SMOOTHING.iter().flat_map(|n| scorings().map(|scoring| (*n, scoring)))
            {
                let same = |row: &&CalibrationRow| {
                    row.fragment_method == seeded(smoothing) && row.scoring == scoring
                };
                let best = rows.iter().find(same).map(described).unwrap_or_default();
                println!("{tile:<14}  {context:<7}  {smoothing:<9}  {:<14}  {best}", scoring.to_string());
            }
        }
    }
    Ok(())
}

/// Means, by what sizes count for.
fn scorings() -> [Scoring; SIZE_WEIGHTS.len()] {
    SIZE_WEIGHTS.map(|thousandths| Scoring {
        statistic: EdgeStatistic::Mean,
        size_weight: SizeWeight::from_thousandths(thousandths).unwrap_or(SizeWeight::NONE),
    })
}

fn seeded(smoothing: u8) -> FragmentMethod {
    FragmentMethod::Seeded(SeededWatershed { smoothing, ..SeededWatershed::default() })
}

/// Affinities in 256 bins, `[3, z, y, x]`, and the labels of their region.
fn read(affinities: &str, labels: &str, roi: &str) -> Result<(Vec<u8>, LabelledRegion), Failure> {
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
    let region =
        LabelledRegion { name: labels.url().to_owned(), labels: labels.read_u64(&roi.region())?, shape_zyx };
    Ok((bins, region))
}

/// Every setting under one shift of the grid.
fn sample(
    bins: &[u8],
    region: &LabelledRegion,
    tile_and_halo: ([usize; 3], [usize; 3]),
    shift_zyx: [usize; 3],
) -> Result<Vec<ValidationResult>, TrainError> {
    let tiles = region.grid(tile_and_halo, shift_zyx)?;
    let shape = tiles.grid.volume_zyx().map(|n| n as usize);
    let channels = bins.chunks_exact(region.labels.len());
    let bins: Vec<u8> =
        channels.flat_map(|channel| pad_reflect(channel, region.shape_zyx, shift_zyx, shape)).collect();
    let thresholds: Vec<f32> = (6..18).map(|step| step as f32 * 0.05).collect();
    let (methods, scorings) = (SMOOTHING.map(seeded), scorings());
    let settings = PostProcessing { methods: &methods, scorings: &scorings, thresholds: &thresholds };
    region.score(&tiles, &settings, &Silent, |tile| {
        Ok(crop(&bins, 3, shape, tile.read_origin_zyx.map(|n| n as usize), tile.read_shape_zyx))
    })
}

fn described(row: &CalibrationRow) -> String {
    format!(
        "{:<9.2}  {:<9.3}  {:<9.3}  {:.3} ± {:.3}  {:.3}",
        row.threshold,
        row.voi_split,
        row.voi_merge,
        row.voi(),
        row.voi_spread,
        row.arand
    )
}
