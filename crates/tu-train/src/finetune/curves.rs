//! `curves.png`: loss and validation VOI over steps.

mod glyphs;

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use crate::metrics_log::{MetricsLine, read_lines};

const SIZE: (u32, u32) = (900, 700);
/// Pixels left for numbers at the left and below.
const MARGIN: (u32, u32) = (70, 40);

/// Draws the log at `log` into a PNG: the smoothed loss above, VOI below if there was a validation.
///
/// # Errors
/// The log cannot be read or the picture cannot be written; the message says which.
pub fn draw_curves(log: &Path, picture: &Path) -> Result<(), String> {
    let lines = read_lines(log).map_err(|e| format!("{}: {e}", log.display()))?;
    let mut loss: Vec<(f64, f64)> = Vec::new();
    let mut voi: Vec<(f64, f64)> = Vec::new();
    let mut smooth = None;
    for line in lines {
        match line {
            MetricsLine::Step(step) => {
                let value = smooth.map_or(step.loss, |old| 0.95 * old + 0.05 * step.loss);
                smooth = Some(value);
                loss.push((step.step as f64, value));
            }
            MetricsLine::Validation(validation) => voi.push((validation.step as f64, validation.scores.voi)),
        }
    }
    if loss.is_empty() {
        return Err("the log has no steps yet".into());
    }
    draw(&loss, &voi, picture).map_err(|e| format!("{}: {e}", picture.display()))
}

fn draw(loss: &[(f64, f64)], voi: &[(f64, f64)], picture: &Path) -> Result<(), Box<dyn Error>> {
    let root = BitMapBackend::new(picture, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let last = loss.last().map_or(1.0, |p| p.0.max(1.0));
    if voi.is_empty() {
        panel(&root, "LOSS", loss, last, &BLUE)?;
    } else {
        let halves = root.split_evenly((2, 1));
        panel(&halves[0], "LOSS", loss, last, &BLUE)?;
        panel(&halves[1], "VOI", voi, last, &RED)?;
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
