//! `tu-train agglomerate`.

use std::time::Instant;

use anyhow::bail;
use serde_json::{Map, json};
use tu_segment::{FragmentMethod, Scoring, TileGrid};
use tu_train::roi::Roi;
use tu_train::segment::{SegmentOptions, TileInput, segment};
use tu_volume::{DataType, Volume};

use super::Common;
use super::inputs::Triple;
use super::report::Report;

/// Largest volume that is taken in one piece, about 10 GB of memory.
const ONE_PIECE_VOXELS: u64 = 1 << 28;

/// Segment from affinities that somebody else computed: the CPU half alone
///
/// Without --tile the volume is taken in one piece, up to 268 million voxels (about 10 GB of memory).
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train agglomerate --affinities affinities.zarr --output segments.zarr --threshold 0.5
  tu-train agglomerate --affinities a.zarr --fragments supervoxels.zarr --output s.zarr --scoring mean,size:0.06
  tu-train agglomerate --affinities large.zarr --output s.zarr --fragment-method seeded --tile 64,256,256

Affinities are [3, z, y, x] with channels z, y, x; a[c, v] joins voxel v with its predecessor along axis c.
u8 stands for 256 bins of 0..1; f32 is put into these bins first. Without ,size:W the
result is that of waterz on the same fragments.")]
pub(super) struct Options {
    /// Affinities [3, z, y, x], u8 or f32
    #[arg(long, value_name = "A.zarr")]
    affinities: String,
    /// Segmentation to write; must not exist unless --resume is given
    #[arg(long, value_name = "VOL")]
    output: String,
    /// Fragments are joined while the score is below this
    #[arg(long, default_value_t = 0.5, value_parser = threshold)]
    threshold: f32,
    /// Fragments to join in place of making them; 0 belongs to none
    #[arg(long, value_name = "VOL", conflicts_with_all = ["fragment_method", "tile"])]
    fragments: Option<String>,
    /// affinity, seeded or slice
    #[arg(long, value_name = "METHOD", default_value = "affinity")]
    fragment_method: FragmentMethod,
    /// Score of a contact: 1 − quantile:Q, mean or max of its affinities; with ,size:W behind it plus
    /// W · log₁₀(voxels of the smaller segment / 1000), W from 0 to 1
    #[arg(long, default_value = "quantile:50")]
    scoring: Scoring,
    /// Write fragments too
    #[arg(long, value_name = "F.zarr")]
    write_fragments: Option<String>,
    /// Make fragments in tiles of this many voxels, in bounded memory
    #[arg(long, value_name = "Z,Y,X")]
    tile: Option<Triple<usize>>,
    /// Voxels around a tile that its fragments are made with
    #[arg(long, value_name = "Z,Y,X", default_value = "16,16,16", requires = "tile")]
    halo: Triple<usize>,
    /// Go on with an interrupted run
    #[arg(long)]
    resume: bool,
}

/// A threshold on scores, which lie between 0 and 1 unless sizes count.
pub(super) fn threshold(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("a threshold lies between 0 and 1".to_owned()),
    }
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let begun = Instant::now();
    let affinities = Volume::open(&options.affinities)?;
    let (channels, data_type) = (affinities.channels(), affinities.data_type());
    if channels != 3 || !matches!(data_type, DataType::U8 | DataType::F32) {
        bail!(
            "{}: it holds {channels} channels of {data_type}, and affinities are 3 channels (z, y, x) of uint8 or float32: give an array [3, z, y, x]",
            options.affinities
        );
    }
    let shape = affinities.shape_zyx();
    let fragments = options.fragments.as_deref().map(Volume::open).transpose()?;
    if let Some(fragments) = &fragments {
        if fragments.shape_zyx() != shape {
            bail!(
                "{}: it has {:?} voxels (z, y, x) and the affinities have {shape:?}: give fragments of the same volume",
                fragments.url(),
                fragments.shape_zyx()
            );
        }
        if !fragments.data_type().is_unsigned() || fragments.channels() != 1 {
            bail!(
                "{}: it holds {} channels of {}: fragments are one channel of unsigned integers",
                fragments.url(),
                fragments.channels(),
                fragments.data_type()
            );
        }
    }
    let whole = Roi::whole(shape);
    if options.tile.is_none() && whole.voxels() > ONE_PIECE_VOXELS {
        bail!(
            "{}: {} voxels are too many to take in one piece (the limit is {ONE_PIECE_VOXELS}): give --tile, such as --tile 64,256,256",
            options.affinities,
            whole.voxels()
        );
    }
    let (tile, halo) = match options.tile {
        Some(tile) => (tile.0, options.halo.0),
        None => (shape.map(|n| n as usize), [0; 3]),
    };
    let identity = Map::from_iter([
        ("affinities".to_owned(), json!(options.affinities)),
        ("affinities_type".to_owned(), json!(data_type.name())),
        ("fragments".to_owned(), json!(options.fragments)),
    ]);
    let settings = SegmentOptions {
        grid: TileGrid::new(shape, tile, halo)?,
        roi: whole,
        fragment_method: options.fragment_method,
        scoring: options.scoring,
        threshold: options.threshold,
        output: options.output.clone(),
        fragments_output: options.write_fragments.clone(),
        affinities_output: None,
        voxel_nm_zyx: affinities.voxel_nm_zyx(),
        voxel_offset_zyx: affinities.voxel_offset_zyx(),
        identity,
        resume: options.resume,
        workers: common.threads(),
    };
    let input = TileInput::Affinities { volume: &affinities, fragments: fragments.as_ref() };
    let summary = segment(&input, &settings, &common.progress())?;
    let seconds = begun.elapsed().as_secs_f64();
    let text = if summary.already_complete {
        format!("{} was complete already", options.output)
    } else {
        format!(
            "{}: {} segments of {} fragments in {seconds:.1} s",
            options.output, summary.segments, summary.fragments
        )
    };
    let json = json!({
        "command": "agglomerate", "output": options.output, "fragments": summary.fragments,
        "segments": summary.segments, "voxels": summary.voxels, "tiles": summary.tiles, "seconds": seconds,
        "resumed_tiles": summary.resumed_tiles, "already_complete": summary.already_complete,
        "threshold": options.threshold, "scoring": options.scoring, "fragment_method": options.fragment_method,
    });
    Ok(Report::new(text, json))
}
