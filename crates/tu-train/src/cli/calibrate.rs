//! `tu-train calibrate`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;
use tu_model::{Precision, StoredFloat};
use tu_segment::{AffinityWatershed, FragmentMethod, SeededWatershed, SliceWatershed};
use tu_train::checkpoint::write_file;
use tu_train::finetune::{Validation, ValidationConfig, ValidationResult};
use tu_train::roi::{Roi, RoiSpec};

use super::Common;
use super::finetune::labelled_entry;
use super::inputs::{DeviceOption, Triple, load_model};
use super::known_answer::sealed;
use super::report::Report;

/// Choose tile, fragment method, scoring and threshold of a model on labelled EM
///
/// The network runs once over the region, in tiles as `tu-train segment` would; every post-processing setting is scored
/// on its affinities, and the one of lowest VOI is written into a copy of the model. Weights stay as they are. The
/// labels must not be those the network was trained on, and the scores of the chosen setting are optimistic.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train calibrate --model run/model.safetensors --raw em.zarr/raw --labels em.zarr/labels --roi 180:250,:,: --out model.safetensors
  tu-train calibrate --model m.safetensors --raw em.zarr/raw --labels em.zarr/labels --tile 32,128,128 --halo 8,16,16 --out large.safetensors")]
pub(super) struct Options {
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// EM
    #[arg(long, value_name = "VOL")]
    raw: String,
    /// Its labels; 0 does not count
    #[arg(long, value_name = "VOL")]
    labels: String,
    /// The part to score, in voxels of the EM [default: all of it]
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Option<RoiSpec>,
    /// Model file to write; must not exist
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Another tile, in voxels; tile + 2 × halo must suit the network (y and x: multiples of 16)
    #[arg(long, value_name = "Z,Y,X")]
    tile: Option<Triple<usize>>,
    /// Another halo, in voxels
    #[arg(long, value_name = "Z,Y,X")]
    halo: Option<Triple<usize>>,
    /// Store weights in 16 bits
    #[arg(long)]
    f16: bool,
    #[command(flatten)]
    device: DeviceOption,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    if options.out.exists() {
        bail!("{}: it exists already: choose another name for the model", options.out.display());
    }
    let (device, choice) = options.device.open()?;
    let mut network =
        load_model(&options.model, (&device, choice), Precision::F32, &common.progress())?.network;
    // Another tile makes another window, and other storage other weights: it is computed anew below.
    network.metadata.known_answer = None;
    if let Some(tile) = options.tile {
        network.metadata.tile_zyx = tile.0;
    }
    if let Some(halo) = options.halo {
        network.metadata.halo_zyx = halo.0;
    }
    if let Some(defect) = network.metadata.defect() {
        bail!("--tile and --halo: {defect}");
    }
    let entry = labelled_entry(&options.raw, &options.labels, options.roi)?;
    let place = match (entry.begin_zyx, entry.end_zyx) {
        (Some(begin_zyx), Some(end_zyx)) => format!(" {}", Roi { begin_zyx, end_zyx }),
        _ => String::new(),
    };
    let mut config = ValidationConfig::new(entry);
    config.methods = methods(network.metadata.voxel_nm_zyx);
    config.thresholds = (4..19).map(|step| step as f32 * 0.05).collect();
    let results = Validation::open(&config)?.run(&network, &common.progress())?;
    let best = results.first().context("no setting was scored")?;

    let metadata = &mut network.metadata;
    metadata.fragment_method = best.fragment_method;
    metadata.scoring = best.scoring;
    metadata.threshold = best.threshold;
    let note = format!("post-processing chosen on {}{place}: VOI {:.3}", options.raw, best.scores.voi);
    let notes = &mut metadata.provenance.notes;
    *notes = if notes.is_empty() { note } else { format!("{notes}; {note}") };
    let stored = if options.f16 { StoredFloat::F16 } else { StoredFloat::F32 };
    let bytes = tu_model::save(&network.model, &network.metadata, stored)?;
    let bytes = sealed(&bytes, &options.out, common)?;
    write_file(&options.out, &bytes)
        .with_context(|| format!("model {}: it cannot be written", options.out.display()))?;

    let rows = best_of_each_method(&results);
    let json = json!({
        "command": "calibrate", "model": options.out.display().to_string(), "fragment_method": best.fragment_method,
        "scoring": best.scoring, "threshold": best.threshold, "scores": best.scores,
        "tile_zyx": network.metadata.tile_zyx, "halo_zyx": network.metadata.halo_zyx,
        "methods": rows.iter().map(|row| json!({
            "fragment_method": row.fragment_method, "scoring": row.scoring, "threshold": row.threshold, "scores": row.scores,
        })).collect::<Vec<_>>(),
    });
    Ok(Report::new(table(&rows, &options.out.display().to_string()), json))
}

/// Each method as it is by default, and `seeded` with more and with fewer seeds.
fn methods(voxel_nm_zyx: [f64; 3]) -> Vec<FragmentMethod> {
    let voxel_nm_zyx = voxel_nm_zyx.map(|nm| nm as f32);
    let mut methods = vec![
        FragmentMethod::Affinity(AffinityWatershed::default()),
        FragmentMethod::Slice(SliceWatershed::default()),
    ];
    methods.extend(
        [0, 1, 2, 4].map(|smoothing| FragmentMethod::Seeded(SeededWatershed { voxel_nm_zyx, smoothing })),
    );
    methods
}

/// The first result of every fragment method; results come best first.
fn best_of_each_method(results: &[ValidationResult]) -> Vec<&ValidationResult> {
    let mut rows: Vec<&ValidationResult> = Vec::new();
    for result in results {
        if rows.iter().all(|row| row.fragment_method != result.fragment_method) {
            rows.push(result);
        }
    }
    rows
}

fn table(rows: &[&ValidationResult], model: &str) -> String {
    let mut text = "fragments     scoring      threshold  VOI split  VOI merge  VOI     ARAND\n".to_owned();
    for row in rows {
        let method = match row.fragment_method {
            FragmentMethod::Seeded(SeededWatershed { smoothing, .. }) => format!("seeded, {smoothing}×"),
            other => other.name().to_owned(),
        };
        let s = &row.scores;
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{method:<12}  {:<11}  {:<9.2}  {:<9.4}  {:<9.4}  {:<6.4}  {:.4}",
            row.scoring.to_string(),
            row.threshold,
            s.voi_split,
            s.voi_merge,
            s.voi,
            s.arand
        );
    }
    let _ = write!(text, "\n{model}: written with the first setting");
    text
}
