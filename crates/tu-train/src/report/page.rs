//! The page as text.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::contents::NamedSeries;
use super::svg::{COLOURS, Line, line_plot, number};
use super::{RunContents, RunKind, Series, escape};

/// Nothing but what is in the page may be used, and nothing in it may run.
const POLICY: &str =
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

const STYLE: &str = "\
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
th { border-bottom: 1px solid; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.wide { overflow-x: auto; } .best { font-weight: 700; } code { overflow-wrap: anywhere; white-space: pre-wrap; }
svg { width: 100%; height: auto; display: block; margin: 1rem 0; } img { max-width: 100%; image-rendering: pixelated; }
summary { cursor: pointer; font-weight: 600; } p.note { opacity: .75; }";

/// The page of a run.
#[must_use]
pub fn page(contents: &RunContents) -> String {
    let what = match contents.kind {
        RunKind::Pretraining => "Pretraining",
        RunKind::FineTuning => "Fine-tuning",
    };
    let title = format!("{what}: {}", contents.run);
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{0}</title>\
         <style>{STYLE}</style></head><body><h1>{0}</h1>\n",
        escape(&title)
    );
    summary(&mut out, contents);
    validations(&mut out, contents);
    out.push_str("<h2>Curves</h2>\n");
    curves(&mut out, contents);
    if let Some((step, picture)) = &contents.panels {
        push(
            &mut out,
            &format!(
                "<h2>Reconstructions after {step} steps</h2>\n<div class=\"wide\"><img alt=\"One section of one crop: target, inputs and what is predicted\" src=\"data:image/png;base64,{}\"></div>\n",
                STANDARD.encode(picture)
            ),
        );
    }
    settings(&mut out, contents);
    out.push_str("</body></html>\n");
    out
}

fn push(out: &mut String, text: &str) {
    out.push_str(text);
}

fn row(out: &mut String, name: &str, value: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "<tr><td>{}</td><td><code>{}</code></td></tr>", escape(name), escape(value));
}

fn summary(out: &mut String, contents: &RunContents) {
    push(out, "<table>\n");
    let planned = contents.planned_steps.map_or_else(String::new, |steps| format!(" of {steps}"));
    row(out, "steps", &format!("{}{planned}", contents.steps));
    if let (Some(last), Some(smooth)) = (contents.loss.last(), contents.loss.last_smoothed()) {
        row(out, "loss", &format!("{} at the last step, {} smoothed", number(last), number(smooth)));
    }
    let all = contents.seconds + contents.data_wait_seconds;
    let share = if all > 0.0 { 100.0 * contents.data_wait_seconds / all } else { 0.0 };
    row(out, "time in steps", &duration(contents.seconds));
    row(
        out,
        "waited for data",
        &format!("{}, {share:.1} % of the time", duration(contents.data_wait_seconds)),
    );
    if contents.replaced_crops > 0 {
        row(out, "crops replaced", &format!("{}; metrics.jsonl tells why", contents.replaced_crops));
    }
    if let Some(speed) = contents.throughput.last_smoothed() {
        row(out, "throughput", &format!("{} {} per second", number(speed), unit(contents)));
    }
    if contents.unreadable_lines > 0 {
        row(out, "log", &format!("{} lines could not be read and are left out", contents.unreadable_lines));
    }
    push(out, "</table>\n");
}

fn unit(contents: &RunContents) -> &'static str {
    match contents.kind {
        RunKind::Pretraining => "tokens",
        RunKind::FineTuning => "voxels",
    }
}

fn duration(seconds: f64) -> String {
    if seconds < 120.0 {
        return format!("{seconds:.1} s");
    }
    let minutes = (seconds / 60.0).round() as u64;
    if minutes < 120 { format!("{minutes} min") } else { format!("{} h {} min", minutes / 60, minutes % 60) }
}

fn validations(out: &mut String, contents: &RunContents) {
    if contents.validations.is_empty() {
        return;
    }
    push(out, "<h2>Validation</h2>\n");
    let lines: Vec<Line> = named(&contents.scores, false);
    push(out, &line_plot("Scores over steps (VOI in bits; 0 is perfect)", &lines));
    let shown = contents.validations.len() as u64;
    if shown < contents.validation_count {
        let _ = writeln!(
            out,
            "<p class=\"note\">The newest {shown} of {} validations.</p>",
            contents.validation_count
        );
    }
    push(
        out,
        "<div class=\"wide\"><table>\n<tr><th class=\"n\">step</th><th class=\"n\">VOI split</th><th class=\"n\">VOI merge</th>\
         <th class=\"n\">VOI</th><th class=\"n\">ARAND</th><th>fragments</th><th>scoring</th><th class=\"n\">threshold</th></tr>\n",
    );
    let best = contents.validations.iter().map(|v| v.scores.voi).fold(f64::INFINITY, f64::min);
    for v in &contents.validations {
        let s = &v.scores;
        let class = if s.voi <= best { " class=\"best\"" } else { "" };
        let _ = writeln!(
            out,
            "<tr{class}><td class=\"n\">{}</td><td class=\"n\">{:.4}</td><td class=\"n\">{:.4}</td><td class=\"n\">{:.4}</td>\
             <td class=\"n\">{:.4}</td><td>{}</td><td>{}</td><td class=\"n\">{:.2}</td></tr>",
            v.step,
            s.voi_split,
            s.voi_merge,
            s.voi,
            s.arand,
            escape(v.fragment_method.name()),
            escape(&v.scoring.to_string()),
            v.threshold
        );
    }
    push(out, "</table></div>\n");
}

fn curves(out: &mut String, contents: &RunContents) {
    push(out, &line_plot("Loss", &both("", COLOURS[0], &contents.loss)));
    if contents.losses.len() > 1 || contents.losses.iter().any(|l| l.series != contents.loss) {
        for (i, objective) in contents.losses.iter().enumerate() {
            let title = format!("Loss of {} before weighting", objective.name);
            push(out, &line_plot(&title, &both("", COLOURS[i % COLOURS.len()], &objective.series)));
        }
    }
    if !contents.weights.is_empty() {
        push(out, &line_plot("Weights of the objectives", &named(&contents.weights, false)));
    }
    if !contents.spread.is_empty() {
        let title = "Spread of the target's token descriptions (0 is collapse)";
        push(out, &line_plot(title, &both("", COLOURS[3], &contents.spread)));
    }
    if !contents.masked_share.is_empty() {
        push(
            out,
            &line_plot(
                "Share of tokens that the policy masks",
                &both("", COLOURS[4], &contents.masked_share),
            ),
        );
    }
    let raw = |series: &Series| {
        vec![Line { name: String::new(), colour: COLOURS[0], pale: false, points: series.raw() }]
    };
    push(out, &line_plot("Learning rate", &raw(&contents.learning_rate)));
    push(out, &line_plot("Gradient norm before clipping", &both("", COLOURS[1], &contents.gradient_norm)));
    let title = format!("Throughput in {} per second", unit(contents));
    push(out, &line_plot(&title, &both("", COLOURS[2], &contents.throughput)));
}

/// The raw values, pale, and their smoothed curve.
fn both(name: &str, colour: &'static str, series: &Series) -> Vec<Line> {
    vec![
        Line { name: String::new(), colour, pale: true, points: series.raw() },
        Line { name: name.to_owned(), colour, pale: false, points: series.smoothed() },
    ]
}

fn named(list: &[NamedSeries], pale: bool) -> Vec<Line> {
    let line = |(i, known): (usize, &NamedSeries)| Line {
        name: known.name.to_owned(),
        colour: COLOURS[i % COLOURS.len()],
        pale,
        points: known.series.raw(),
    };
    list.iter().enumerate().map(line).collect()
}

fn settings(out: &mut String, contents: &RunContents) {
    if contents.settings.is_empty() {
        return;
    }
    push(out, "<h2>Settings</h2>\n<details open><summary>config.toml</summary><table>\n");
    contents.settings.iter().for_each(|(name, value)| row(out, name, value));
    push(out, "</table></details>\n");
}
