//! What half precision costs in accuracy: affinities of a tile and segments of a labelled region in every type, against
//! f32.
//!
//! ```text
//! cargo run --release -p tu-train --example precision_accuracy -- MODEL RAW LABELS z0:z1,y0:y1,x0:x1 [--device cpu]
//! ```
//!
//! Segments are those of `tu-train segment` with the model's own post-processing.

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::time::Instant;

use tu_model::{Network, Precision};
use tu_segment::{Contingency, TileGrid, quantise_affinity};
use tu_train::device::DeviceChoice;
use tu_train::roi::{Roi, RoiSpec};
use tu_train::segment::{SegmentOptions, Silent, TileInput, segment};
use tu_volume::{Region, Volume};

type Failure = Box<dyn std::error::Error>;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let device = match arguments.iter().position(|a| a == "--device") {
        Some(at) if at + 1 < arguments.len() => {
            arguments.remove(at);
            arguments.remove(at).parse::<DeviceChoice>()?
        }
        _ => DeviceChoice::Cpu,
    };
    let [model, raw, labels, roi] = arguments.as_slice() else {
        return Err("write MODEL RAW LABELS z0:z1,y0:y1,x0:x1".into());
    };
    let (device, choice) = device.open()?;
    let bytes = std::fs::read(model)?;
    let network = |precision| -> Result<Network, Failure> {
        Ok(Network::from_bytes(&bytes, &device)?.in_precision(precision)?)
    };
    let volume = Volume::open(raw)?;
    let roi = roi.parse::<RoiSpec>()?.resolve(raw, volume.shape_zyx())?;

    let truth = Volume::open(labels)?.read_u64(&roi.region())?;
    let folder = tempfile::tempdir()?;

    println!("{model}, region {roi}, {choice}");
    println!(
        "type   max |Δ|  mean |Δ|  bins that differ  VOI split  VOI merge     VOI  ARAND  change of VOI  seconds"
    );
    let mut exact: Option<(Vec<f32>, f64)> = None;
    for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
        if !precision.is_offered_by(&device) {
            println!("{precision:<5} is not offered by {choice}");
            continue;
        }
        let network = network(precision)?;
        let started = Instant::now();
        let output = folder.path().join(format!("{precision}.zarr")).to_string_lossy().into_owned();
        let segments = segments(&network, &volume, roi, output)?;
        let seconds = started.elapsed().as_secs_f64();
        let mut contingency = Contingency::new();
        contingency.add(&segments, &truth);
        let scores = contingency.scores();
        let affinities = affinities(&network, &volume)?;
        let (exact, voi) = &*exact.get_or_insert_with(|| (affinities.clone(), scores.voi));
        let differences = exact.iter().zip(&affinities).map(|(a, b)| f64::from((a - b).abs()));
        let (largest, sum) = differences.fold((0.0f64, 0.0), |(max, sum), d| (max.max(d), sum + d));
        let moved = exact
            .iter()
            .zip(&affinities)
            .filter(|(a, b)| quantise_affinity(**a) != quantise_affinity(**b))
            .count();
        let count = exact.len() as f64;
        println!(
            "{:<5} {largest:>8.4}  {:>8.6}  {:>15.1}%  {:>9.4}  {:>9.4}  {:>6.4} {:>6.4} {:>+14.4} {seconds:>8.1}",
            precision.to_string(),
            sum / count,
            100.0 * moved as f64 / count,
            scores.voi_split,
            scores.voi_merge,
            scores.voi,
            scores.arand,
            scores.voi - voi
        );
    }
    Ok(())
}

/// What `tu-train segment` writes.
fn segments(network: &Network, volume: &Volume, roi: Roi, output: String) -> Result<Vec<u64>, Failure> {
    let metadata = &network.metadata;
    let options = SegmentOptions {
        grid: TileGrid::new(volume.shape_zyx(), metadata.tile_zyx, metadata.halo_zyx)?,
        roi,
        fragment_method: metadata.fragment_method,
        scoring: metadata.scoring,
        threshold: metadata.threshold,
        output,
        fragments_output: None,
        affinities_output: None,
        voxel_nm_zyx: volume.voxel_nm_zyx(),
        voxel_offset_zyx: volume.voxel_offset_zyx(),
        identity: serde_json::Map::new(),
        resume: false,
        workers: 1,
    };
    segment(&TileInput::Network { network, raw: volume }, &options, &Silent)?;
    let written = Volume::open(&options.output)?;
    Ok(written.read_u64(&written.region())?)
}

/// Affinities of the tile in the middle of a volume, `[3, z, y, x]`.
fn affinities(network: &Network, volume: &Volume) -> Result<Vec<f32>, Failure> {
    let metadata = &network.metadata;
    let grid = TileGrid::new(volume.shape_zyx(), metadata.tile_zyx, metadata.halo_zyx)?;
    let middle = std::array::from_fn(|d| volume.shape_zyx()[d] / 2 / metadata.tile_zyx[d] as u64);
    let tile = grid.tile(middle)?;
    let region = Region { origin_zyx: tile.read_origin_zyx, shape_zyx: tile.read_shape_zyx };
    let values = volume.read_f32(&region)?;
    let window = network.tile_window(values, volume.data_type().full_range(), &tile)?;
    Ok(network.tile_affinities_blocking(window, &tile)?)
}
