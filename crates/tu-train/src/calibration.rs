//! Choosing post-processing settings that hold beyond the block they were chosen on.
//!
//! One wrong merge of two large neurons moves VOI by a quarter of a bit, and it comes and goes with the place of the tiles
//! and with every setting. So each setting is scored on several samples (labelled regions, each under several shifts of the
//! grid of tiles), a setting's score is the mean over samples and over the thresholds next to its own, and the spread is
//! reported beside it. With two regions or more, what the choice is worth is estimated on each region with the setting that
//! the others would have chosen.

use tu_model::Network;
use tu_segment::{FragmentMethod, Scoring};

use crate::finetune::{Validation, ValidationResult};
use crate::segment::Progress;
use crate::training::TrainError;

/// One post-processing setting over all samples.
#[derive(Clone, Debug, PartialEq)]
pub struct CalibrationRow {
    /// How fragments are made.
    pub fragment_method: FragmentMethod,
    /// How edges are scored.
    pub scoring: Scoring,
    /// Where agglomeration stops.
    pub threshold: f32,
    /// Means over samples: VOI split, VOI merge, ARAND.
    pub voi_split: f64,
    /// See [`Self::voi_split`].
    pub voi_merge: f64,
    /// See [`Self::voi_split`].
    pub arand: f64,
    /// Standard deviation of VOI over samples; 0 for one sample.
    pub voi_spread: f64,
    /// Mean of VOI over samples and over this threshold and its neighbours: what settings are ranked by.
    pub robust_voi: f64,
}

impl CalibrationRow {
    /// Mean of VOI over samples.
    pub fn voi(&self) -> f64 {
        self.voi_split + self.voi_merge
    }
}

/// All settings, best first, and what choosing among them is worth.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Best first.
    pub rows: Vec<CalibrationRow>,
    /// Mean VOI over regions, each with the setting chosen on the others; `None` for one region.
    pub cross_fitted_voi: Option<f64>,
    /// Samples scored.
    pub samples: usize,
}

/// Shifts of a grid of tiles: `count` of them, spread evenly over a tile along every axis, in different order.
pub fn grid_shifts(tile_zyx: [usize; 3], count: usize) -> Vec<[usize; 3]> {
    // Steps without a common divisor with the count visit every place once; 1, 2, 3 … that have none.
    let coprime =
        |n: &usize| (1..=*n).rev().find(|d| n.is_multiple_of(*d) && count.is_multiple_of(*d)) == Some(1);
    let steps: Vec<usize> = (1..).filter(coprime).take(3).collect();
    (0..count).map(|i| std::array::from_fn(|axis| i * steps[axis] % count * tile_zyx[axis] / count)).collect()
}

/// Scores every setting of the regions' grids, which have to be the same, under `shifts` shifts of the grid of tiles.
///
/// # Errors
/// The network fails, or tile and region do not go together.
///
/// # Panics
/// Without regions or shifts.
pub fn calibrate(
    network: &Network,
    regions: &[Validation],
    shifts: usize,
    progress: &dyn Progress,
) -> Result<Calibration, TrainError> {
    let mut scored: Vec<Vec<Vec<ValidationResult>>> = Vec::new();
    for region in regions {
        let mut of_region = Vec::new();
        for shift_zyx in grid_shifts(network.metadata.tile_zyx, shifts) {
            progress.note(&format!("{}: grid shifted by {shift_zyx:?} voxels", region.region().name));
            of_region.push(region.run_shifted(network, shift_zyx, progress)?);
        }
        scored.push(of_region);
    }
    Ok(summarise(&scored))
}

/// The ranking, of results by region, shift and setting; all have the same settings in the same order.
pub fn summarise(scored: &[Vec<Vec<ValidationResult>>]) -> Calibration {
    let all: Vec<&Vec<ValidationResult>> = scored.iter().flatten().collect();
    let cross_fitted_voi = (scored.len() > 1).then(|| {
        let of_region = |left_out: usize| {
            let others = scored.iter().enumerate().filter(|(i, _)| *i != left_out);
            let rows = rows_of(&others.flat_map(|(_, samples)| samples).collect::<Vec<_>>());
            let chosen = (0..rows.len()).min_by(|a, b| rows[*a].robust_voi.total_cmp(&rows[*b].robust_voi));
            let voi = |sample: &Vec<ValidationResult>| chosen.map_or(f64::NAN, |i| sample[i].scores.voi);
            scored[left_out].iter().map(voi).sum::<f64>() / scored[left_out].len() as f64
        };
        (0..scored.len()).map(of_region).sum::<f64>() / scored.len() as f64
    });
    let mut rows = rows_of(&all);
    rows.sort_by(|a, b| a.robust_voi.total_cmp(&b.robust_voi));
    Calibration { rows, cross_fitted_voi, samples: all.len() }
}

/// One row per setting, in the order of the samples' results.
fn rows_of(samples: &[&Vec<ValidationResult>]) -> Vec<CalibrationRow> {
    let count = samples.len() as f64;
    let settings = samples.first().map_or(0, |sample| sample.len());
    let mean = |setting: usize, value: &dyn Fn(&ValidationResult) -> f64| {
        samples.iter().map(|sample| value(&sample[setting])).sum::<f64>() / count
    };
    let mut rows: Vec<CalibrationRow> = (0..settings)
        .map(|i| {
            let ValidationResult { fragment_method, scoring, threshold, .. } = samples[0][i];
            let voi = mean(i, &|result| result.scores.voi);
            let variance =
                mean(i, &|result| (result.scores.voi - voi).powi(2)) * count / (count - 1.0).max(1.0);
            CalibrationRow {
                fragment_method,
                scoring,
                threshold,
                voi_split: mean(i, &|result| result.scores.voi_split),
                voi_merge: mean(i, &|result| result.scores.voi_merge),
                arand: mean(i, &|result| result.scores.arand),
                voi_spread: variance.sqrt(),
                robust_voi: voi,
            }
        })
        .collect();
    let plain: Vec<f64> = rows.iter().map(CalibrationRow::voi).collect();
    for i in 0..rows.len() {
        let of_curve = |other: usize| {
            let (a, b) = (&rows[i], rows.get(other)?);
            (a.fragment_method == b.fragment_method && a.scoring == b.scoring).then(|| plain[other])
        };
        let near: Vec<f64> =
            [i.checked_sub(1), Some(i), Some(i + 1)].into_iter().flatten().filter_map(of_curve).collect();
        rows[i].robust_voi = near.iter().sum::<f64>() / near.len() as f64;
    }
    rows
}

#[cfg(test)]
mod tests {
    use tu_segment::{EdgeStatistic, Scores};

    use super::*;

    fn sample(curve: &[f64]) -> Vec<ValidationResult> {
        let result = |(i, voi): (usize, &f64)| ValidationResult {
            fragment_method: FragmentMethod::default(),
            scoring: EdgeStatistic::Mean.into(),
            threshold: i as f32 / 10.0,
            scores: Scores {
                voi_split: *voi,
                voi_merge: 0.0,
                voi: *voi,
                arand: 0.0,
                arand_precision: 1.0,
                arand_recall: 1.0,
                voxels: 1,
            },
        };
        curve.iter().enumerate().map(result).collect()
    }

    #[test]
    fn a_lucky_threshold_between_bad_ones_is_not_chosen() {
        let calibration = summarise(&[vec![sample(&[2.0, 0.9, 2.0, 1.2, 1.0, 1.1, 1.3])]]);
        assert_eq!(calibration.rows[0].threshold, 0.4);
        assert!((calibration.rows[0].robust_voi - 1.1).abs() < 1e-12);
        assert_eq!((calibration.rows[0].voi(), calibration.rows[0].voi_spread), (1.0, 0.0));
        assert_eq!((calibration.cross_fitted_voi, calibration.samples), (None, 1));
    }

    #[test]
    fn the_worth_of_a_choice_is_what_it_gives_where_it_was_not_made() {
        // each region alone would choose its own end
        let regions = [vec![sample(&[1.0, 2.0, 3.0, 4.0])], vec![sample(&[4.0, 3.0, 2.0, 1.0]); 2]];
        let calibration = summarise(&regions);
        assert_eq!(calibration.samples, 3);
        assert_eq!(calibration.cross_fitted_voi, Some(4.0));
        assert!(calibration.rows[0].threshold > 0.15, "two samples outweigh one");
        let spread = calibration.rows.iter().find(|row| row.threshold == 0.0).unwrap().voi_spread;
        assert!((spread - 3f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn shifts_visit_every_part_of_a_tile_and_begin_without_one() {
        assert_eq!(grid_shifts([32, 96, 96], 1), [[0; 3]]);
        for count in 2..9 {
            let shifts = grid_shifts([32, 96, 160], count);
            assert_eq!(shifts[0], [0; 3]);
            for (axis, extent) in [32, 96, 160].into_iter().enumerate() {
                let mut places: Vec<usize> = shifts.iter().map(|shift| shift[axis]).collect();
                places.sort_unstable();
                assert_eq!(places, (0..count).map(|i| i * extent / count).collect::<Vec<_>>());
            }
        }
        assert_eq!(grid_shifts([32, 96, 160], 4), [[0, 0, 0], [8, 72, 40], [16, 48, 80], [24, 24, 120]]);
    }
}
