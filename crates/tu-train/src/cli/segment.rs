//! `tu-train segment`.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;
use tu_segment::{FragmentMethod, Scoring, TileGrid};
use tu_train::roi::RoiSpec;
use tu_train::segment::{AffinityType, Progress, SegmentOptions, TileInput, segment};

use super::Common;
use super::inputs::{
    DeviceOption, InferenceOption, Triple, fragment_method, identity, load_model, open_raw, region,
    voxel_size_warning,
};
use super::report::Report;

/// Segment a volume: EM in, neurons out, tile by tile in bounded memory
///
/// Tiles that are done are kept beside the output until all are; an interrupted run goes on with --resume.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train segment --input em.zarr --model models/tiny-fib25.safetensors --output segments.zarr
  tu-train segment --input https://host/em.zarr --model m.safetensors --output crop.zarr --roi 0:64,1000:1500,1000:1500
  tu-train segment --input em.zarr --model m.safetensors --output segments.zarr --resume
  tu-train segment --input em.zarr --model m.safetensors --output layer --threshold 0.3 --fragment-method seeded

An output that ends in .zarr is zarr 3, any other a precomputed volume for Neuroglancer. Labels are u64.
Exit code 0 means that every voxel asked for was written.")]
pub(super) struct Options {
    /// EM: u8, u16, or f32 from 0 to 1
    #[arg(long, value_name = "VOL")]
    input: String,
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// Segmentation to write; must not exist unless --resume is given
    #[arg(long, value_name = "VOL")]
    output: String,
    /// The part to segment, in voxels of the input; a side left out means the border
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Option<RoiSpec>,
    /// Fragments are joined while the score is below this [default: the model's]
    #[arg(long, value_parser = super::agglomerate::threshold)]
    threshold: Option<f32>,
    /// Score of a contact: 1 − quantile:Q, mean or max of its affinities; with ,size:W behind it plus
    /// W · log₁₀(voxels of the smaller segment / 1000), W from 0 to 1 [default: the model's]
    #[arg(long)]
    scoring: Option<Scoring>,
    /// affinity, seeded or slice [default: the model's]
    #[arg(long, value_name = "METHOD")]
    fragment_method: Option<FragmentMethod>,
    /// Write affinities too, [3, z, y, x]
    #[arg(long, value_name = "A.zarr")]
    affinities: Option<String>,
    /// How affinities are stored: u8 or f32
    #[arg(long, default_value = "u8", requires = "affinities", value_parser = affinity_type)]
    affinities_type: AffinityType,
    /// Write fragments too
    #[arg(long, value_name = "F.zarr")]
    write_fragments: Option<String>,
    /// Voxel size in nanometres, if the input does not say it
    #[arg(long, value_name = "Z,Y,X")]
    voxel_nm: Option<Triple<f64>>,
    /// Go on with an interrupted run
    #[arg(long)]
    resume: bool,
    #[command(flatten)]
    device: DeviceOption,
    #[command(flatten)]
    inference: InferenceOption,
}

fn affinity_type(name: &str) -> Result<AffinityType, String> {
    match name {
        "u8" => Ok(AffinityType::U8),
        "f32" => Ok(AffinityType::F32),
        _ => Err("choose u8 or f32".to_owned()),
    }
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
    let settings = SegmentOptions {
        grid: TileGrid::new(raw.shape_zyx(), metadata.tile_zyx, metadata.halo_zyx)?,
        roi,
        fragment_method: fragment_method(options.fragment_method, metadata.fragment_method),
        scoring: options.scoring.unwrap_or(metadata.scoring),
        threshold: options.threshold.unwrap_or(metadata.threshold),
        output: options.output.clone(),
        fragments_output: options.write_fragments.clone(),
        affinities_output: options.affinities.clone().map(|url| (url, options.affinities_type)),
        voxel_nm_zyx,
        voxel_offset_zyx: raw.voxel_offset_zyx(),
        identity: identity(&raw, &model.sha256, &options.inference),
        resume: options.resume,
        workers: common.threads().saturating_sub(1).clamp(1, 8),
    };
    progress.note(&format!("{roi} of {} on {choice}", options.input));
    let input = TileInput::Network { network: &model.network, raw: &raw };
    let summary = segment(&input, &settings, &progress)?;
    let seconds = begun.elapsed().as_secs_f64();
    let text = if summary.already_complete {
        format!("{} was complete already", options.output)
    } else {
        format!(
            "{}: {} segments of {} fragments in {} tiles, {:.1} Mvoxel in {seconds:.1} s",
            options.output,
            summary.segments,
            summary.fragments,
            summary.tiles,
            summary.voxels as f64 / 1e6
        )
    };
    let json = json!({
        "command": "segment", "output": options.output, "roi": roi.to_string(), "device": choice.to_string(),
        "tiles": summary.tiles, "resumed_tiles": summary.resumed_tiles, "fragments": summary.fragments,
        "segments": summary.segments, "voxels": summary.voxels, "seconds": seconds,
        "already_complete": summary.already_complete, "threshold": settings.threshold, "scoring": settings.scoring,
        "fragment_method": settings.fragment_method, "model_sha256": model.sha256,
        "precision": options.inference.precision.precision, "reflections": options.inference.reflections,
    });
    Ok(Report::new(text, json))
}
