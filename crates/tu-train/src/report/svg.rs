//! Line plots and bars as SVG, to be put into a page or a file of their own.

use std::fmt::Write;

use super::escape;

/// Width of a plot in its own units.
pub const WIDTH: f64 = 760.0;
/// Height of a plot.
pub const HEIGHT: f64 = 260.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 34.0;

/// Colours of successive lines (Okabe and Ito: told apart by most kinds of colour vision).
pub const COLOURS: [&str; 6] = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];

/// A line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// In the legend; empty for none.
    pub name: String,
    /// One of [`COLOURS`], or any other.
    pub colour: &'static str,
    /// Drawn thin and pale, under the others.
    pub pale: bool,
    /// (x, y), x rising.
    pub points: Vec<(f64, f64)>,
}

/// A plot of lines over a common x axis that begins at 0.
#[must_use]
pub fn line_plot(title: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|line| &line.points).filter(|p| p.0.is_finite() && p.1.is_finite());
    let right = points().map(|p| p.0).fold(1.0, f64::max);
    let (low, high) = range(points().map(|p| p.1));
    let x = |v: f64| LEFT + v / right * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| HEIGHT - BOTTOM - (v - low) / (high - low) * (HEIGHT - TOP - BOTTOM);
    let mut out = begin(title, HEIGHT);
    for tick in ticks(low, high) {
        let at = y(tick);
        grid(&mut out, (LEFT, at), (WIDTH - RIGHT, at));
        text(&mut out, (LEFT - 8.0, at + 4.0), "end", &number(tick));
    }
    for tick in ticks(0.0, right) {
        let at = x(tick);
        grid(&mut out, (at, TOP), (at, HEIGHT - BOTTOM));
        text(&mut out, (at, HEIGHT - BOTTOM + 18.0), "middle", &number(tick));
    }
    let mut legend = WIDTH - RIGHT;
    for line in lines.iter().filter(|l| l.pale).chain(lines.iter().filter(|l| !l.pale)) {
        let path: Vec<String> = line
            .points
            .iter()
            .filter(|p| p.0.is_finite() && p.1.is_finite())
            .map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1)))
            .collect();
        let (width, opacity) = if line.pale { (1.0, 0.35) } else { (2.0, 1.0) };
        // Writing to a string does not fail.
        let _ = write!(
            out,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" opacity=\"{opacity}\" points=\"{}\"/>",
            line.colour,
            path.join(" ")
        );
        if let ([point], false) = (&path[..], line.pale) {
            let (cx, cy) = point.split_once(',').unwrap_or(("0", "0"));
            let _ = write!(out, "<circle cx=\"{cx}\" cy=\"{cy}\" r=\"3\" fill=\"{}\"/>", line.colour);
        }
    }
    for line in lines.iter().rev().filter(|line| !line.name.is_empty()) {
        legend -= 7.5 * line.name.chars().count() as f64 + 26.0;
        let _ = write!(
            out,
            "<rect x=\"{legend:.1}\" y=\"12\" width=\"14\" height=\"4\" fill=\"{}\"/>",
            line.colour
        );
        text(&mut out, (legend + 18.0, 19.0), "start", &line.name);
    }
    out.push_str("</svg>");
    out
}

/// A bar of a chart: a name, a value and half the length of its error bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// At its left.
    pub name: String,
    /// Its length; 0 or more.
    pub value: f64,
    /// Standard deviation, 0 for none.
    pub deviation: f64,
}

/// Horizontal bars with their values, on an axis that begins at 0.
#[must_use]
pub fn bar_chart(title: &str, bars: &[Bar]) -> String {
    let (row, left) = (28.0, 170.0);
    let height = TOP + row * bars.len() as f64 + BOTTOM;
    let reach = bars.iter().map(|b| b.value + b.deviation).filter(|v| v.is_finite()).fold(0.0, f64::max);
    let right = if reach > 0.0 { reach * 1.05 } else { 1.0 };
    let x = |v: f64| left + v.max(0.0) / right * (WIDTH - left - 80.0);
    let mut out = begin(title, height);
    for tick in ticks(0.0, right) {
        grid(&mut out, (x(tick), TOP), (x(tick), height - BOTTOM));
        text(&mut out, (x(tick), height - BOTTOM + 18.0), "middle", &number(tick));
    }
    for (i, bar) in bars.iter().enumerate() {
        let top = TOP + row * i as f64;
        text(&mut out, (left - 8.0, top + 19.0), "end", &bar.name);
        if !bar.value.is_finite() {
            continue;
        }
        let _ = write!(
            out,
            "<rect x=\"{left}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" fill=\"{}\"/>",
            top + 5.0,
            x(bar.value) - left,
            row - 10.0,
            COLOURS[0]
        );
        let mut label = number(bar.value);
        if bar.deviation > 0.0 {
            let (a, b) = (x(bar.value - bar.deviation), x(bar.value + bar.deviation));
            let middle = top + row / 2.0;
            let _ = write!(
                out,
                "<path class=\"error\" d=\"M{a:.1} {middle:.1}H{b:.1}\" stroke=\"currentColor\" stroke-width=\"2\"/>"
            );
            label = format!("{label} ± {}", number(bar.deviation));
        }
        text(&mut out, (x(bar.value + bar.deviation) + 6.0, top + 19.0), "start", &label);
    }
    out.push_str("</svg>");
    out
}

/// A plot as a file of its own, black on white.
#[must_use]
pub fn document(plot: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{}\n",
        plot.replacen("<svg ", "<svg style=\"background:#fff;color:#000\" ", 1)
    )
}

fn begin(title: &str, height: f64) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{0}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"12\"><title>{0}</title>",
        escape(title)
    );
    let _ = write!(
        out,
        "<text x=\"{LEFT}\" y=\"20\" font-size=\"14\" font-weight=\"600\" fill=\"currentColor\">{}</text>",
        escape(title)
    );
    out
}

fn grid(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = write!(
        out,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"currentColor\" stroke-width=\"1\" opacity=\"0.15\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, content: &str) {
    let _ = write!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"currentColor\">{}</text>",
        at.0,
        at.1,
        escape(content)
    );
}

/// A range that holds all values, from 0 where that wastes less than half the height.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for value in values {
        (low, high) = (low.min(value), high.max(value));
    }
    if !low.is_finite() {
        return (0.0, 1.0);
    }
    if low >= 0.0 && low < 0.5 * high {
        low = 0.0;
    }
    let margin = ((high - low) * 0.05).max(high.abs() * 1e-3).max(1e-12);
    (if low == 0.0 { 0.0 } else { low - margin }, high + margin)
}

/// Multiples of 1, 2 or 5 times a power of ten within a range, at most eight of them.
#[must_use]
pub fn ticks(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !(span.is_finite() && span > 0.0) {
        return vec![low];
    }
    let decade = 10f64.powf((span / 6.0).log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|s| span / s <= 6.0).unwrap_or(span);
    let first = (low / step).ceil();
    (0..8).map(|i| (first + f64::from(i)) * step).take_while(|t| *t <= high + 1e-9 * span).collect()
}

/// A number in few characters.
#[must_use]
pub fn number(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-3..1e7).contains(&size) {
        return format!("{value:.2e}");
    }
    let decimals = if size >= 1000.0 {
        0
    } else if size >= 10.0 {
        1
    } else {
        4
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(points: Vec<(f64, f64)>) -> Line {
        Line { name: "a<b".into(), colour: COLOURS[0], pale: false, points }
    }

    #[test]
    fn ticks_are_few_round_and_within_the_range() {
        assert_eq!(ticks(0.0, 12_000.0), [0.0, 2e3, 4e3, 6e3, 8e3, 1e4, 1.2e4]);
        assert_eq!(ticks(0.93, 1.07).iter().map(|t| number(*t)).collect::<Vec<_>>(), ["0.95", "1", "1.05"]);
        for (low, high) in [(0.0, 1e-6), (-3.0, 5.0), (1e8, 1e8 + 3.0), (2.0, 2.0)] {
            let found = ticks(low, high);
            assert!((1..=8).contains(&found.len()) && found.iter().all(|t| *t >= low && *t <= high + 1e-3));
        }
    }

    #[test]
    fn numbers_are_short() {
        let shown = [0.0, 1.0, 0.1828, 123.44, 4096.0, 1e-5, 2.5e9].map(number);
        assert_eq!(shown, ["0", "1", "0.1828", "123.4", "4096", "1.00e-5", "2.50e9"]);
    }

    #[test]
    fn every_point_lies_in_the_picture_and_names_are_escaped() {
        let plot = line_plot(
            "loss & more",
            &[line(vec![(1.0, -3.0), (50.0, 7.0), (100.0, f64::NAN), (100.0, 2.0)])],
        );
        assert!(plot.contains("loss &amp; more") && plot.contains("a&lt;b") && !plot.contains("NaN"));
        let points = plot.split("points=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let points: Vec<(f64, f64)> = points
            .split(' ')
            .map(|p| p.split_once(',').map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap())).unwrap())
            .collect();
        assert_eq!(points.len(), 3);
        assert!(points.iter().all(|(x, y)| (0.0..=WIDTH).contains(x) && (0.0..=HEIGHT).contains(y)));
        assert!(points[0].1 > points[1].1, "a larger value is higher up");
    }

    #[test]
    fn the_longest_bar_is_the_largest_value_and_a_value_that_is_no_number_has_none() {
        let bar = |name: &str, value| Bar { name: name.into(), value, deviation: 0.1 };
        let chart = bar_chart("VOI", &[bar("a", 1.0), bar("b", 2.0), bar("c", f64::NAN)]);
        let widths: Vec<f64> = chart
            .split("<rect ")
            .skip(1)
            .map(|rest| rest.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(widths.len(), 2);
        assert!((widths[1] / widths[0] - 2.0).abs() < 0.01, "{widths:?}");
    }
}
