//! Rows as Markdown, JSON and a picture. With several seeds a cell is the mean and the standard deviation (n − 1) over them.

use std::fmt::Write;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};
use tu_segment::Scores;
use tu_train::checkpoint::write_file;
use tu_train::report::svg::{Bar, bar_chart, document};

use super::row::RowResult;

/// A score by name.
type Column = (&'static str, fn(&Scores) -> f64);

const COLUMNS: [Column; 4] = [
    ("VOI split", |s| s.voi_split),
    ("VOI merge", |s| s.voi_merge),
    ("VOI", |s| s.voi),
    ("ARAND", |s| s.arand),
];

/// Results in groups of one row each, in their order.
fn rows(results: &[RowResult]) -> Vec<(&str, Vec<&RowResult>)> {
    let mut rows: Vec<(&str, Vec<&RowResult>)> = Vec::new();
    for result in results {
        match rows.iter_mut().find(|(name, _)| *name == result.row) {
            Some((_, list)) => list.push(result),
            None => rows.push((&result.row, vec![result])),
        }
    }
    rows
}

/// Mean and standard deviation of a score; 0 for a single seed.
fn statistics(runs: &[&RowResult], score: fn(&Scores) -> f64) -> (f64, f64) {
    let n = runs.len() as f64;
    let mean = runs.iter().map(|run| score(&run.scores)).sum::<f64>() / n;
    let squares: f64 = runs.iter().map(|run| (score(&run.scores) - mean).powi(2)).sum();
    (mean, if runs.len() > 1 { (squares / (n - 1.0)).sqrt() } else { 0.0 })
}

/// The table as Markdown.
pub(super) fn markdown(title: &str, results: &[RowResult]) -> String {
    let mut text = format!("# {title}\n\n| row | seeds |");
    COLUMNS.iter().for_each(|(name, _)| {
        // Writing to a string does not fail.
        let _ = write!(text, " {name} |");
    });
    text.push_str(" trained parameters |\n|---|---|---|---|---|---|---|\n");
    for (name, runs) in rows(results) {
        let _ = write!(text, "| {name} | {} |", runs.len());
        for (_, score) in COLUMNS {
            let (mean, deviation) = statistics(&runs, score);
            let _ = if runs.len() > 1 {
                write!(text, " {mean:.4} ± {deviation:.4} |")
            } else {
                write!(text, " {mean:.4} |")
            };
        }
        let trained = runs.iter().find_map(|run| run.trained_parameters);
        let _ = writeln!(text, " {} |", trained.map_or_else(|| "–".to_owned(), |n| n.to_string()));
    }
    text
}

/// The table as JSON: a list of rows with their runs.
pub(super) fn json(results: &[RowResult]) -> Value {
    let row = |(name, runs): (&str, Vec<&RowResult>)| {
        let of = |pick: fn((f64, f64)) -> f64| -> Value {
            let entry = |(name, score): Column| {
                (name.to_lowercase().replace(' ', "_"), json!(pick(statistics(&runs, score))))
            };
            Value::Object(COLUMNS.into_iter().map(entry).collect())
        };
        json!({"row": name, "mean": of(|s| s.0), "deviation": of(|s| s.1), "runs": runs})
    };
    rows(results).into_iter().map(row).collect()
}

/// Writes `table.md`, `table.json` and `table.svg` into `out`.
pub(super) fn write(out: &Path, title: &str, results: &[RowResult]) -> anyhow::Result<()> {
    let bars: Vec<Bar> = rows(results)
        .into_iter()
        .map(|(name, runs)| {
            let (value, deviation) = statistics(&runs, |s| s.voi);
            Bar { name: name.to_owned(), value, deviation }
        })
        .collect();
    let picture = document(&bar_chart(&format!("{title}: VOI in bits on the validation region"), &bars));
    let data = serde_json::to_string_pretty(&json(results)).context("the table has no JSON form")?;
    for (name, text) in [("table.md", markdown(title, results)), ("table.json", data), ("table.svg", picture)]
    {
        let path = out.join(name);
        write_file(&path, text.as_bytes())
            .with_context(|| format!("{}: cannot be written: check space and permissions", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(row: &str, seed: u64, voi: f64) -> RowResult {
        let scores = json!({
            "voi_split": voi / 4.0, "voi_merge": 0.75 * voi, "voi": voi, "arand": 0.1, "arand_precision": 0.9,
            "arand_recall": 0.9, "voxels": 8, "segments": 2, "neurons": 2,
        });
        RowResult {
            row: row.into(),
            seed,
            inputs: serde_json::Map::new(),
            commands: vec![],
            scores: serde_json::from_value(scores).unwrap(),
            trained_parameters: Some(7),
            pretraining_loss: None,
            seconds: 1.0,
        }
    }

    #[test]
    fn seeds_of_a_row_are_averaged_with_their_deviation_and_one_alone_has_none() {
        let results = [result("mamba", 1, 1.0), result("mamba", 2, 2.0), result("all", 1, 0.5)];
        let text = markdown("Modules", &results);
        assert!(
            text.contains("| mamba | 2 | 0.3750 ± 0.1768 | 1.1250 ± 0.5303 | 1.5000 ± 0.7071 |"),
            "{text}"
        );
        assert!(text.contains("| all | 1 | 0.1250 | 0.3750 | 0.5000 | 0.1000 | 7 |"), "{text}");
        let table = json(&results);
        assert_eq!(table[0]["mean"]["voi"], 1.5);
        assert_eq!(table[0]["runs"].as_array().map(Vec::len), Some(2));
        assert_eq!(table[1]["deviation"]["voi_split"], 0.0);
    }
}
