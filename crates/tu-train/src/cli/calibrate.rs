//! `tu-train calibrate`.

use std::fmt::Write;
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::json;
use tu_model::{Precision, StoredFloat};
use tu_segment::{
    AffinityWatershed, EdgeStatistic, FragmentMethod, Scoring, SeededWatershed, SizeWeight, SliceWatershed,
};
use tu_train::calibration::{Calibration, CalibrationRow, calibrate};
use tu_train::checkpoint::write_file;
use tu_train::finetune::{Validation, ValidationConfig};
use tu_train::roi::RoiSpec;

use super::Common;
use super::finetune::labelled_entry;
use super::inputs::{DeviceOption, InferenceOption, PrecisionOption, Triple, load_model};
use super::known_answer::sealed;
use super::report::Report;

/// Choose tile, fragment method, scoring and threshold of a model on labelled EM
///
/// The network runs over the regions, in tiles as `tu-train segment` would, once for each shift of the grid of tiles; every
/// post-processing setting is scored on its affinities. The setting whose mean VOI over regions, shifts and neighbouring
/// thresholds is lowest is written into a copy of the model. Weights stay as they are. The labels must not be those the
/// network was trained on, and the scores of the chosen setting are optimistic; with several regions the cross-fitted VOI,
/// each region's with the setting that the others would choose, is not.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train calibrate --model run/model.safetensors --raw em.zarr/raw --labels em.zarr/labels --roi 180:250,:,: --out model.safetensors
  tu-train calibrate --model m.safetensors --raw a.zarr/raw --labels a.zarr/labels --raw b.zarr/raw --labels b.zarr/labels --out both.safetensors
  tu-train calibrate --model m.safetensors --raw em.zarr/raw --labels em.zarr/labels --tile 32,128,128 --halo 8,16,16 --out large.safetensors")]
pub(super) struct Options {
    /// The network
    #[arg(long, value_name = "MODEL")]
    model: PathBuf,
    /// EM; once for each region
    #[arg(long, value_name = "VOL", required = true)]
    raw: Vec<String>,
    /// Its labels, in the same order; 0 does not count
    #[arg(long, value_name = "VOL", required = true)]
    labels: Vec<String>,
    /// The part to score, in voxels of the EM, for each region or for none [default: all of it]
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Vec<RoiSpec>,
    /// Places of the grid of tiles that every setting is scored with
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=64))]
    shifts: u8,
    /// Model file to write; must not exist
    #[arg(long, value_name = "MODEL")]
    out: PathBuf,
    /// Another tile, in voxels; tile + 2 × halo must suit the network (y and x: multiples of 16)
    #[arg(long, value_name = "Z,Y,X")]
    tile: Option<Triple<usize>>,
    /// Another halo, in voxels
    #[arg(long, value_name = "Z,Y,X")]
    halo: Option<Triple<usize>>,
    /// Average affinities over the mirror images of each window, as `tu-train segment --reflections` does
    #[arg(long)]
    reflections: bool,
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
    let precision = PrecisionOption { precision: Precision::F32 };
    let inference = InferenceOption { precision, reflections: options.reflections };
    let mut network = load_model(&options.model, (&device, choice), &inference, &common.progress())?.network;
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
    let regions = regions(options, network.metadata.voxel_nm_zyx)?;
    let calibration = calibrate(&network, &regions, options.shifts.into(), &common.progress())?;
    let best = calibration.rows.first().context("no setting was scored")?;

    let metadata = &mut network.metadata;
    metadata.fragment_method = best.fragment_method;
    metadata.scoring = best.scoring;
    metadata.threshold = best.threshold;
    let note = format!(
        "post-processing chosen on {}: VOI {:.3} ± {:.3} over {} samples",
        places(options),
        best.voi(),
        best.voi_spread,
        calibration.samples
    );
    let notes = &mut metadata.provenance.notes;
    *notes = if notes.is_empty() { note } else { format!("{notes}; {note}") };
    let stored = if options.f16 { StoredFloat::F16 } else { StoredFloat::F32 };
    let bytes = tu_model::save(&network.model, &network.metadata, stored)?;
    let bytes = sealed(&bytes, &options.out, common)?;
    write_file(&options.out, &bytes)
        .with_context(|| format!("model {}: it cannot be written", options.out.display()))?;

    let rows = best_of_each_method(&calibration.rows);
    let of_row = |row: &CalibrationRow| {
        json!({
            "fragment_method": row.fragment_method, "scoring": row.scoring, "threshold": row.threshold, "voi": row.voi(),
            "voi_split": row.voi_split, "voi_merge": row.voi_merge, "arand": row.arand, "voi_spread": row.voi_spread,
            "robust_voi": row.robust_voi,
        })
    };
    let mut json = of_row(best);
    for (key, value) in [
        ("command", json!("calibrate")),
        ("model", json!(options.out.display().to_string())),
        ("tile_zyx", json!(network.metadata.tile_zyx)),
        ("halo_zyx", json!(network.metadata.halo_zyx)),
        ("samples", json!(calibration.samples)),
        ("cross_fitted_voi", json!(calibration.cross_fitted_voi)),
        ("methods", rows.iter().map(|row| of_row(row)).collect()),
        ("settings", calibration.rows.iter().map(of_row).collect()),
    ] {
        json[key] = value;
    }
    Ok(Report::new(table(&rows, &calibration, &options.out.display().to_string()), json))
}

/// The regions, with the settings that are tried.
fn regions(options: &Options, voxel_nm_zyx: [f64; 3]) -> anyhow::Result<Vec<Validation>> {
    let (raw, labels, roi) = (&options.raw, &options.labels, &options.roi);
    if labels.len() != raw.len() || ![0, raw.len()].contains(&roi.len()) {
        bail!(
            "--raw is given {} times, --labels {} and --roi {}: give one --labels for each --raw, and one --roi for each or none",
            raw.len(),
            labels.len(),
            roi.len()
        );
    }
    let one = |i: usize| {
        let entry = labelled_entry(&raw[i], &labels[i], roi.get(i).copied())?;
        let mut config = ValidationConfig::new(entry);
        config.methods = methods(voxel_nm_zyx);
        config.scorings = scorings();
        config.thresholds = (4..20).map(|step| step as f32 * 0.05).collect();
        let region = Validation::open(&config)?;
        let objects = region.region().objects();
        if objects < 2 {
            bail!(
                "{}: the region has {objects} labelled objects, and with fewer than two no setting is better than another: give labels of neurons",
                labels[i]
            );
        }
        Ok(region)
    };
    (0..raw.len()).map(one).collect()
}

/// The regions in words.
fn places(options: &Options) -> String {
    let place = |(i, raw): (usize, &String)| match options.roi.get(i) {
        Some(roi) => format!("{raw} {roi}"),
        None => raw.clone(),
    };
    options.raw.iter().enumerate().map(place).collect::<Vec<_>>().join(", ")
}

/// Passes of smoothing of the seeded watershed that are tried: Gaussians of 0.7 to 4 voxels.
const SMOOTHING: [u8; 6] = [1, 2, 4, 8, 18, 32];

/// What the sizes of segments count for, in thousandths, that are tried with means.
const SIZE_WEIGHTS: [u16; 3] = [60, 100, 150];

/// The median of contacts' maxima, the mean, and the mean with sizes.
fn scorings() -> Vec<Scoring> {
    let mut scorings = vec![EdgeStatistic::Quantile(50).into(), EdgeStatistic::Mean.into()];
    let weights = SIZE_WEIGHTS.into_iter().filter_map(SizeWeight::from_thousandths);
    scorings.extend(weights.map(|size_weight| Scoring { statistic: EdgeStatistic::Mean, size_weight }));
    scorings
}

/// Each method as it is by default, and `seeded` with more and with fewer seeds.
fn methods(voxel_nm_zyx: [f64; 3]) -> Vec<FragmentMethod> {
    let voxel_nm_zyx = voxel_nm_zyx.map(|nm| nm as f32);
    let mut methods = vec![
        FragmentMethod::Affinity(AffinityWatershed::default()),
        FragmentMethod::Slice(SliceWatershed::default()),
    ];
    methods.extend(
        SMOOTHING.map(|smoothing| FragmentMethod::Seeded(SeededWatershed { voxel_nm_zyx, smoothing })),
    );
    methods
}

/// The first result of every fragment method; results come best first.
fn best_of_each_method(results: &[CalibrationRow]) -> Vec<&CalibrationRow> {
    let mut rows: Vec<&CalibrationRow> = Vec::new();
    for result in results {
        if rows.iter().all(|row| row.fragment_method != result.fragment_method) {
            rows.push(result);
        }
    }
    rows
}

fn table(rows: &[&CalibrationRow], calibration: &Calibration, model: &str) -> String {
    let mut text =
        "fragments     scoring               threshold  VOI split  VOI merge  VOI     ±       ARAND   near\n"
            .to_owned();
    for row in rows {
        let method = match row.fragment_method {
            FragmentMethod::Seeded(SeededWatershed { smoothing, .. }) => format!("seeded, {smoothing}×"),
            other => other.name().to_owned(),
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{method:<12}  {:<20}  {:<9.2}  {:<9.4}  {:<9.4}  {:<6.4}  {:<6.4}  {:<6.4}  {:.4}",
            row.scoring.to_string(),
            row.threshold,
            row.voi_split,
            row.voi_merge,
            row.voi(),
            row.voi_spread,
            row.arand,
            row.robust_voi,
        );
    }
    let _ =
        write!(text, "\nmeans over {} samples; near: over neighbouring thresholds too", calibration.samples);
    if let Some(voi) = calibration.cross_fitted_voi {
        let _ = write!(text, "\ncross-fitted VOI: {voi:.4}");
    }
    let _ = write!(text, "\n{model}: written with the first setting");
    text
}
