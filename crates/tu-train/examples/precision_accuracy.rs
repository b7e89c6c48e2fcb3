//! What half precision costs in accuracy: affinities and segments of a labelled region in every type, against f32.
//!
//! ```text
//! cargo run --release -p tu-train --example precision_accuracy -- MODEL RAW LABELS z0:z1,y0:y1,x0:x1 [--device cpu]
//! ```
//!
//! Segments are made with the model's own post-processing.

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::time::Instant;

use tu_model::{Network, Precision};
use tu_segment::{TileGrid, quantise_affinity};
use tu_train::data::VolumeEntry;
use tu_train::device::DeviceChoice;
use tu_train::finetune::{Validation, ValidationConfig};
use tu_train::roi::RoiSpec;
use tu_train::segment::Silent;
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

    let metadata = network(Precision::F32)?.metadata;
    let mut entry = VolumeEntry::labelled(raw, labels);
    (entry.begin_zyx, entry.end_zyx) = (Some(roi.begin_zyx), Some(roi.end_zyx));
    let mut config = ValidationConfig::new(entry);
    config.methods = vec![metadata.fragment_method];
    config.scorings = vec![metadata.scoring];
    config.thresholds = vec![metadata.threshold];
    let validation = Validation::open(&config)?;

    println!("{model}, {roi} of {raw}, {choice}");
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
        let results = validation.run(&network, &Silent)?;
        let seconds = started.elapsed().as_secs_f64();
        let scores = results.first().ok_or("no setting was scored")?.scores;
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
