//! `curves.png`: loss and validation VOI over steps; in pretraining, the loss of each objective.

pub(crate) mod glyphs;

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::metrics_log::{MetricsLine, read_lines};

/// Pixels across.
const WIDTH: u32 = 900;
/// Pixels of one plot from top to bottom, and of a picture with a single one.
const HEIGHT: (u32, u32) = (350, 700);
/// Pixels left for numbers at the left and below.
const MARGIN: (u32, u32) = (70, 40);

/// One line of points (step, value) in a plot of its own.
struct Curve {
    title: &'static str,
    colour: RGBColor,
    points: Vec<(f64, f64)>,
    smooth: Option<f64>,
}

impl Curve {
    fn new(title: &'static str, colour: RGBColor) -> Self {
        Self { title, colour, points: Vec::new(), smooth: None }
    }

    /// Adds a point of an exponential mean.
    fn push_smoothed(&mut self, step: u64, value: f64) {
        let value = self.smooth.map_or(value, |old| 0.95 * old + 0.05 * value);
        self.smooth = Some(value);
        self.points.push((step as f64, value));
    }
}

/// Draws the log at `log` into a PNG: the smoothed loss above, below it VOI if there was a validation, or the objectives'
/// losses if there are several.
///
/// # Errors
/// The log cannot be read or the picture cannot be written; the message says which.
pub fn draw_curves(log: &Path, picture: &Path) -> Result<(), String> {
    let lines = read_lines(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut loss = Curve::new("LOSS", BLUE);
    let mut voi = Curve::new("VOI", RED);
    let grey = RGBColor(90, 90, 90);
    let mut terms = ["RANDOM", "NEXT", "NEXT ALL"].map(|title| Curve::new(title, grey));
    for line in lines {
        match line {
            MetricsLine::Step(step) => {
                loss.push_smoothed(step.step, step.loss);
                let Some(objectives) = &step.objectives else { continue };
                let values = [objectives.random, objectives.next, objectives.next_all];
                for (curve, term) in terms.iter_mut().zip(values) {
                    if let Some(value) = term.loss {
                        curve.push_smoothed(step.step, value);
                    }
                }
            }
            MetricsLine::Validation(validation) => {
                voi.points.push((validation.step as f64, validation.scores.voi));
            }
            MetricsLine::Replacement(_) => {}
        }
    }
    if loss.points.is_empty() {
        return Err("the log has no steps yet".into());
    }
    let curves: Vec<Curve> =
        [loss, voi].into_iter().chain(terms).filter(|curve| !curve.points.is_empty()).collect();
    draw(&curves, picture).map_err(|e| format!("{}: {e}", picture.display()))
}

fn draw(curves: &[Curve], picture: &Path) -> Result<(), Box<dyn Error>> {
    let height = (HEIGHT.0 * u32::try_from(curves.len())?).max(HEIGHT.1);
    let root = BitMapBackend::new(picture, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let steps = curves.iter().filter_map(|curve| curve.points.last());
    let last = steps.map(|point| point.0).fold(1.0, f64::max);
    for (area, curve) in root.split_evenly((curves.len(), 1)).iter().zip(curves) {
        panel(area, curve.title, &curve.points, last, &curve.colour)?;
    }
    root.present()?;
    Ok(())
}

/// One curve with a grid and numbers. The text is drawn from [`glyphs`]: a font of the system may not be there.
fn panel(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    title: &str,
    points: &[(f64, f64)],
    last: f64,
    colour: &RGBColor,
) -> Result<(), Box<dyn Error>> {
    let top = points.iter().map(|p| p.1).fold(f64::MIN_POSITIVE, f64::max) * 1.05;
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(MARGIN.1)
        .y_label_area_size(MARGIN.0)
        .build_cartesian_2d(0.0..last, 0.0..top)?;
    let grey = RGBColor(210, 210, 210);
    for y in ticks(top) {
        chart.draw_series([PathElement::new([(0.0, y), (last, y)], grey)])?;
        let at = chart.backend_coord(&(0.0, y));
        glyphs::write(area, &number(y), local(area, at, (-60, -5)))?;
    }
    for x in ticks(last) {
        chart.draw_series([PathElement::new([(x, 0.0), (x, top)], grey)])?;
        let at = chart.backend_coord(&(x, 0.0));
        glyphs::write(area, &number(x), local(area, at, (-10, 10)))?;
    }
    chart.draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)))?;
    if points.len() < 100 {
        chart.draw_series(points.iter().map(|p| Circle::new(*p, 3, colour.filled())))?;
    }
    let corner = chart.backend_coord(&(0.0, top));
    glyphs::write(area, title, local(area, corner, (20, 10)))?;
    Ok(())
}

/// A pixel of the picture as a pixel of the area, moved by `by`.
fn local(area: &DrawingArea<BitMapBackend<'_>, Shift>, at: (i32, i32), by: (i32, i32)) -> (i32, i32) {
    let (begin_x, begin_y) = area.get_base_pixel();
    (at.0 - begin_x + by.0, at.1 - begin_y + by.1)
}

/// Multiples of 1, 2 or 5 times a power of ten, at most six of them.
fn ticks(top: f64) -> Vec<f64> {
    let decade = 10f64.powf((top / 6.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|s| top / s <= 6.0).unwrap_or(top);
    (0..=6).map(|i| f64::from(i) * step).filter(|t| *t <= top).collect()
}

fn number(value: f64) -> String {
    let text =
        if value.abs() >= 10.0 || value == 0.0 { format!("{value:.0}") } else { format!("{value:.4}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_few_and_round() {
        assert_eq!(ticks(12_000.0), [0.0, 2000.0, 4000.0, 6000.0, 8000.0, 10_000.0, 12_000.0]);
        assert_eq!(
            ticks(1.05).iter().map(|t| number(*t)).collect::<Vec<_>>(),
            ["0", "0.2", "0.4", "0.6", "0.8", "1"]
        );
        for top in [1e-6, 0.37, 3.0, 999.0, 1e9] {
            assert!((2..=7).contains(&ticks(top).len()), "{top}");
        }
    }
}
