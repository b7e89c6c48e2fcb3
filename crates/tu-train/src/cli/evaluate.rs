//! `tu-train evaluate`.

use anyhow::{Context, bail};
use rayon::prelude::*;
use serde_json::json;
use tu_segment::Contingency;
use tu_train::roi::{Roi, RoiSpec};
use tu_train::segment::Progress;
use tu_volume::{Region, Volume};

use super::Common;
use super::report::Report;

/// Voxels that are held of both volumes at a time, per thread.
const BLOCK_ZYX: [usize; 3] = [64, 256, 256];

/// Compare a segmentation with the truth: VOI split, VOI merge, VOI, ARAND; voxels of truth 0 do not count
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tu-train evaluate --segmentation segments.zarr --truth em.zarr/labels
  tu-train evaluate --segmentation segments.zarr --truth em.zarr/labels --roi 180:250,:,: --json

The volumes are laid over each other by their voxel offsets, so the segmentation of a region is compared with that
region of the truth. --roi is in voxels of the truth. VOI is in bits; 0 is perfect for every score.")]
pub(super) struct Options {
    /// Segmentation, unsigned integers
    #[arg(long, value_name = "VOL")]
    segmentation: String,
    /// True labels, unsigned integers
    #[arg(long, value_name = "VOL")]
    truth: String,
    /// The part to compare, in voxels of the truth [default: all that both have]
    #[arg(long, value_name = "z0:z1,y0:y1,x0:x1")]
    roi: Option<RoiSpec>,
}

pub(super) fn run(common: &Common, options: &Options) -> anyhow::Result<Report> {
    let segmentation = labels(&options.segmentation)?;
    let truth = labels(&options.truth)?;
    if let (Some(a), Some(b)) = (segmentation.voxel_nm_zyx(), truth.voxel_nm_zyx())
        && (0..3).any(|d| (a[d] - b[d]).abs() > 0.01 * b[d])
    {
        eprintln!("warning: the segmentation's voxels are {a:?} nm (z, y, x), those of the truth {b:?} nm");
    }
    let roi = compared(&segmentation, &truth, options.roi)?;
    let shift = shift(&segmentation, &truth);
    let progress = common.progress();
    progress.begin("compare", roi.voxels(), 0);
    let table = roi
        .blocks(BLOCK_ZYX)
        .par_bridge()
        .map(|block| -> anyhow::Result<Contingency> {
            let of_truth = block.region();
            let of_segmentation = Region {
                origin_zyx: std::array::from_fn(|d| of_truth.origin_zyx[d].saturating_add_signed(shift[d])),
                ..of_truth
            };
            let mut table = Contingency::new();
            table.add(&segmentation.read_u64(&of_segmentation)?, &truth.read_u64(&of_truth)?);
            progress.advance(block.voxels());
            Ok(table)
        })
        .try_reduce(Contingency::new, |mut all, table| {
            all.merge(table);
            Ok(all)
        })?;
    progress.end();
    let scores = table.scores();
    if scores.voxels == 0 {
        bail!(
            "{}: region {roi} has no labelled voxel, so there is nothing to compare with: choose another region",
            options.truth
        );
    }
    let text = format!(
        "region {roi} of the truth, {} labelled voxels\n\n\
         VOI split  VOI merge  VOI     ARAND\n\
         {:<9.4}  {:<9.4}  {:<6.4}  {:.4}\n",
        scores.voxels, scores.voi_split, scores.voi_merge, scores.voi, scores.arand
    );
    let mut json = serde_json::to_value(scores).context("scores: they have no JSON form")?;
    if let Some(object) = json.as_object_mut() {
        object.insert("command".to_owned(), json!("evaluate"));
        object.insert("segmentation".to_owned(), json!(options.segmentation));
        object.insert("truth".to_owned(), json!(options.truth));
        object.insert("roi".to_owned(), json!(roi.to_string()));
    }
    Ok(Report::new(text, json))
}

fn labels(url: &str) -> anyhow::Result<Volume> {
    let volume = Volume::open(url)?;
    if !volume.data_type().is_unsigned() || volume.channels() != 1 {
        bail!(
            "{url}: it holds {} channels of {}, and labels are one channel of unsigned integers: give a label volume",
            volume.channels(),
            volume.data_type()
        );
    }
    Ok(volume)
}

/// What to add to a voxel of the truth to get the same place in the segmentation, z y x.
fn shift(segmentation: &Volume, truth: &Volume) -> [i64; 3] {
    let (s, t) = (segmentation.voxel_offset_zyx(), truth.voxel_offset_zyx());
    std::array::from_fn(|d| t[d].saturating_sub(s[d]))
}

/// The region to compare, in voxels of the truth: the one asked for, or the smaller volume if it lies in the larger.
fn compared(segmentation: &Volume, truth: &Volume, asked: Option<RoiSpec>) -> anyhow::Result<Roi> {
    let (s, t) = (segmentation.shape_zyx(), truth.shape_zyx());
    let begin = shift(segmentation, truth).map(i64::saturating_neg);
    let end: [i64; 3] = std::array::from_fn(|d| begin[d].saturating_add_unsigned(s[d]));
    let places = || {
        format!(
            "segmentation {} covers {} of the truth {}, which has {t:?} voxels (z, y, x)",
            segmentation.url(),
            (0..3).map(|d| format!("{}:{}", begin[d], end[d])).collect::<Vec<_>>().join(","),
            truth.url()
        )
    };
    if let Some(spec) = asked {
        let roi = spec.resolve(truth.url(), t)?;
        let covered = (0..3).all(|d| begin[d] <= roi.begin_zyx[d] as i64 && roi.end_zyx[d] as i64 <= end[d]);
        if !covered {
            bail!(
                "{}: region {roi} is not all in the segmentation: choose a region that both have",
                places()
            );
        }
        return Ok(roi);
    }
    let within = (0..3).all(|d| begin[d] >= 0 && end[d] <= t[d] as i64);
    let around = (0..3).all(|d| begin[d] <= 0 && end[d] >= t[d] as i64);
    if within {
        Ok(Roi { begin_zyx: begin.map(|v| v as u64), end_zyx: end.map(|v| v as u64) })
    } else if around {
        Ok(Roi::whole(t))
    } else {
        bail!("{}: they overlap in part or not at all: give --roi, or correct a voxel_offset", places())
    }
}
