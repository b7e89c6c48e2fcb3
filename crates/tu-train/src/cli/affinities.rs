//! `tu-train affinities`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Context;
use serde_json::json;
use tu_segment::TileGrid;
use tu_train::roi::RoiSpec;
use tu_train::segment::{AffinitySink, AffinityType, write_affinities, write_affinities_whole};

use super::Common;
use super::inputs::{
    DeviceOption, InferenceOption, Triple, load_model, open_raw, region, voxel_size_warning,
};
use super::report::Report;

/// Run the network alone: EM in, affinities [3, z, y, x] (channels z, y, x; f32) out
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train affinities --input em.zarr --model models/tiny-fib25.safetensors --output affinities.zarr
  tu-train affinities --input em.zarr --model m.safetensors --output a.zarr --roi 0:24,0:96,0:96 --whole

Without --whole the region is computed in the model's tiles with halo, exactly as `tu-train segment` does; with it,
the region goes through the network as one window, without padding, so y and x must be multiples of 16.")]
pub(super) struct Options {
    /// EM: u8, u16, or f32 from 0 to 1
    #[arg(long, value_name = "VOL")]
    input: String,
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Affinities to write; must not exist
    #[arg(long, value_name = "A.zarr")]
    output: String,
    /// The part to compute, in voxels of the input; a side left out means the border
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Option<RoiSpec>,
    /// Take the region as one window: no tiles, no padding
    #[arg(long)]
    whole: bool,
    /// Voxel size in nanometres, if the input does not say it
    #[arg(long, value_name = "Z,Y,X")]
    voxel_nm: Option<Triple<f64>>,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    inference: InferenceOption,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let progress = common.progress();
    let (device, choice) = options.device.open()?;
    let model = load_model(&options.model, (&device, choice), &options.inference, &progress)?;
    let raw = open_raw(&options.input)?;
    let metadata = &model.network.metadata;
    let voxel_nm_zyx = options.voxel_nm.map(|nm| nm.0).or(raw.voxel_nm_zyx());
    if let Some(warning) = voxel_size_warning(metadata.voxel_nm_zyx, voxel_nm_zyx) {
        eprintln!("{warning}");
    }
    let roi = region(options.roi, &raw)?;
    if options.whole {
        let window = roi.shape_zyx().map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        metadata.architecture.check_window(window).with_context(|| {
            format!("region {roi} of {}: choose one that fits, or leave --whole out", options.input)
        })?;
    }
    let place = (voxel_nm_zyx, raw.voxel_offset_zyx());
    let sink = AffinitySink::open(&options.output, AffinityType::F32, roi, metadata.tile_zyx, place, false)?;
    let tiles = if options.whole {
        write_affinities_whole(&model.network, &raw, roi, sink)?;
        1
    } else {
        let grid = TileGrid::new(raw.shape_zyx(), metadata.tile_zyx, metadata.halo_zyx)?;
        write_affinities(&model.network, &raw, &grid, roi, sink, &progress)?
    };
    let seconds = begun.elapsed().as_secs_f64();
    let text = format!(
        "{}: affinities of {:.1} Mvoxel ({tiles} tiles) in {seconds:.1} s on {choice}",
        options.output,
        roi.voxels() as f64 / 1e6
    );
    let json = json!({
        "command": "affinities", "output": options.output, "roi": roi.to_string(), "whole": options.whole,
        "device": choice.to_string(), "tiles": tiles, "voxels": roi.voxels(), "seconds": seconds,
        "model_sha256": model.sha256, "precision": options.inference.precision.precision,
        "reflections": options.inference.reflections,
    });
    Ok(Report::new(text, json))
}
