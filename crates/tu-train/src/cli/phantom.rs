//! `tu-train phantom`.

use serde_json::{Map, json};
use tu_train::phantom::{PhantomConfig, phantom};
use tu_volume::{DataType, NewVolume, Region, VolumeWriter};

use super::inputs::Triple;
use super::report::Report;

const CHUNK_ZYX: [usize; 3] = [64, 64, 64];

/// Make synthetic EM with its true labels: arrays `raw` (u8) and `labels` (u64) in one zarr
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train phantom --out phantom.zarr
  tu-train phantom --out block.zarr --shape 96,192,192 --voxel-nm 10,10,10 --seed 7

The arrays are opened as phantom.zarr/raw and phantom.zarr/labels.")]
pub(super) struct Options {
    /// Where to write; must not exist
    #[arg(long, value_name = "V.zarr")]
    out: String,
    /// Shape in voxels
    #[arg(long, default_value = "64,512,512", value_name = "Z,Y,X")]
    shape: Triple<usize>,
    /// Voxel size in nanometres
    #[arg(long, default_value = "30,8,8", value_name = "Z,Y,X")]
    voxel_nm: Triple<f64>,
    /// The same seed gives the same voxels
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

pub(super) fn run(options: &Options) -> anyhow::Result<Report> {
    let config = PhantomConfig {
        shape_zyx: options.shape.0,
        voxel_nm_zyx: options.voxel_nm.0,
        seed: options.seed,
        ..PhantomConfig::default()
    };
    let spec = |data_type: DataType| NewVolume {
        shape_zyx: config.shape_zyx.map(|n| n as u64),
        channels: None,
        data_type,
        chunk_zyx: std::array::from_fn(|d| CHUNK_ZYX[d].min(config.shape_zyx[d])),
        voxel_nm_zyx: Some(config.voxel_nm_zyx),
        voxel_offset_zyx: [0; 3],
        attributes: Map::from_iter([("phantom".to_owned(), json!(config))]),
    };
    let made = phantom(&config)?;
    let neurites = made.labels.iter().copied().max().unwrap_or(0);
    let whole = Region { origin_zyx: [0; 3], shape_zyx: config.shape_zyx };
    let raw = VolumeWriter::create_in_group(&options.out, "raw", &spec(DataType::U8))?;
    raw.write_u8(&whole, &made.raw)?;
    let labels = VolumeWriter::create_in_group(&options.out, "labels", &spec(DataType::U64))?;
    labels.write_u64(&whole, &made.labels)?;
    raw.finish()?;
    labels.finish()?;
    let out = options.out.trim_end_matches('/');
    let text = format!(
        "{out}/raw and {out}/labels: {} voxels (z, y, x) of {} nm, {neurites} neurites",
        list(&config.shape_zyx),
        list(&config.voxel_nm_zyx)
    );
    let json = json!({
        "command": "phantom", "raw": format!("{out}/raw"), "labels": format!("{out}/labels"),
        "shape_zyx": config.shape_zyx, "voxel_nm_zyx": config.voxel_nm_zyx, "seed": config.seed, "neurites": neurites,
    });
    Ok(Report::new(text, json))
}

fn list<T: ToString>(values: &[T; 3]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" × ")
}
