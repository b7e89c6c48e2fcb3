//! Accumulated errors over generated tokens, both axes logarithmic, as a PNG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Method, MethodReport, PowerLaw, RolloutReport};
use crate::training::glyphs;

const SIZE: (u32, u32) = (900, 900);
const COLOURS: [RGBColor; 2] = [RGBColor(213, 94, 0), RGBColor(0, 114, 178)];

/// Draws A(m) above and B(m) below, each with its fitted line and exponent.
///
/// # Errors
/// The picture cannot be written; the message says which.
pub fn draw_rollout(report: &RolloutReport, picture: &Path) -> Result<(), String> {
    draw(report, picture).map_err(|e| format!("{}: {e}", picture.display()))
}

fn draw(report: &RolloutReport, picture: &Path) -> Result<(), Box<dyn Error>> {
    let root = BitMapBackend::new(picture, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let areas = root.split_evenly((2, 1));
    let absolute = |m: &MethodReport| (m.absolute.clone(), m.absolute_fit);
    let vector = |m: &MethodReport| (m.vector.clone(), m.vector_fit);
    panel(&areas[0], "SUM OF ABSOLUTE ERRORS OVER TOKENS", report, &absolute)?;
    panel(&areas[1], "NORM OF THE SUMMED ERRORS OVER TOKENS", report, &vector)?;
    root.present()?;
    Ok(())
}

fn panel(
    area: &DrawingArea<BitMapBackend<'_>, Shift>,
    title: &str,
    report: &RolloutReport,
    of: &dyn Fn(&MethodReport) -> (Vec<f64>, PowerLaw),
) -> Result<(), Box<dyn Error>> {
    let right = (report.generated.max(2) as f64).log10();
    let curves: Vec<(Vec<f64>, PowerLaw)> = report.methods.iter().map(of).collect();
    let positive = || curves.iter().flat_map(|c| &c.0).copied().filter(|y| *y > 0.0 && y.is_finite());
    let low = positive().fold(f64::INFINITY, f64::min);
    let high = positive().fold(f64::NEG_INFINITY, f64::max);
    let (low, high) = if low.is_finite() { (low.log10() - 0.1, high.log10() + 0.3) } else { (0.0, 1.0) };
    let mut chart = ChartBuilder::on(area)
        .margin(16)
        .x_label_area_size(40)
        .y_label_area_size(80)
        .build_cartesian_2d(0.0..right, low..high)?;
    let grey = RGBColor(210, 210, 210);
    let (base_x, base_y) = area.get_base_pixel();
    let local = |at: (i32, i32), by: (i32, i32)| (at.0 - base_x + by.0, at.1 - base_y + by.1);
    for x in ticks(0.0, right) {
        chart.draw_series([PathElement::new([(x, low), (x, high)], grey)])?;
        glyphs::write(area, &label(x), local(chart.backend_coord(&(x, low)), (-8, 10)))?;
    }
    for y in ticks(low, high) {
        chart.draw_series([PathElement::new([(0.0, y), (right, y)], grey)])?;
        glyphs::write(area, &label(y), local(chart.backend_coord(&(0.0, y)), (-62, -5)))?;
    }
    glyphs::write(area, title, local(chart.backend_coord(&(0.0, high)), (20, 6)))?;
    for (i, ((y, fit), method)) in (0i32..).zip(curves.iter().zip(&report.methods)) {
        let colour = COLOURS[usize::from(method.method == Method::NextAll)];
        let points = (1..).zip(y).filter(|(_, y)| **y > 0.0 && y.is_finite());
        let points: Vec<(f64, f64)> =
            points.map(|(m, y): (i32, &f64)| (f64::from(m).log10(), y.log10())).collect();
        // The first is wide, so that it shows behind the second where they coincide.
        let width = if i == 0 { 6 } else { 2 };
        chart.draw_series(LineSeries::new(points, colour.stroke_width(width)))?;
        let line = [0.0, right].map(|x| (x, fit.factor.log10() + fit.exponent * x));
        chart.draw_series([PathElement::new(line, colour.mix(0.4))])?;
        let corner = local(chart.backend_coord(&(0.0, high)), (20, 28 + 18 * i));
        area.draw(&Rectangle::new([corner, (corner.0 + 12, corner.1 + 10)], colour.filled()))?;
        let text = format!("{} EXPONENT {:.2}", method.method.name().to_uppercase(), fit.exponent);
        glyphs::write(area, &text, (corner.0 + 20, corner.1))?;
    }
    Ok(())
}

/// 1, 2 and 5 times the powers of ten within a range of logarithms; whole powers alone where there would be many.
fn ticks(low: f64, high: f64) -> Vec<f64> {
    let factors: &[f64] = if high - low > 3.0 { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = low.floor() as i32..=high.ceil() as i32;
    let all = decades.flat_map(|d| factors.iter().map(move |f| f.log10() + f64::from(d)));
    all.filter(|t| (low..=high).contains(t)).collect()
}

/// The number behind a logarithm.
fn label(log: f64) -> String {
    let value = 10f64.powf(log);
    let text = if value >= 0.9995 { format!("{value:.0}") } else { format!("{value:.5}") };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_one_two_and_five_times_powers_of_ten() {
        let shown: Vec<String> = ticks(-1.0, 2.0).into_iter().map(label).collect();
        assert_eq!(shown, ["0.1", "0.2", "0.5", "1", "2", "5", "10", "20", "50", "100"]);
        assert_eq!(
            ticks(-2.0, 3.0).into_iter().map(label).collect::<Vec<_>>(),
            ["0.01", "0.1", "1", "10", "100", "1000"]
        );
    }
}
