//! The table of speeds: ours, PyTorch's and Vulkan's on the same card.

use super::super::state::Step;
use super::page;
use serde_json::Value;

/// What was measured of an item.
#[derive(Default)]
struct Times {
    /// Milliseconds as `segment` or a training step takes them, least and median.
    whole: Option<(f64, f64)>,
    /// Of a forward pass whose window is on the device.
    resident: Option<f64>,
    flop: f64,
    voxels: f64,
    first_seconds: f64,
    /// PyTorch's best without any scan and with the reference scan, and how it was had.
    torch: Option<(f64, String)>,
    torch_reference: Option<f64>,
    vulkan: Option<f64>,
}

/// A row for each item that was timed on the device itself, in the order of measurement.
pub(super) fn table(steps: &[Step]) -> Option<String> {
    let mut items: Vec<(String, Times)> = Vec::new();
    for step in steps {
        for found in step.results() {
            let Some(name) = found["item"].as_str() else { continue };
            let at = items.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                items.push((name.to_owned(), Times::default()));
                items.len() - 1
            });
            note(&mut items[at].1, &step.name, &found);
        }
    }
    let rows: Vec<Vec<String>> = items.iter().filter_map(|(name, times)| row(name, times)).collect();
    page::table(
        &[
            "what",
            "network",
            "window",
            "type",
            "ms",
            "median ms",
            "ms without transfers",
            "TFLOP/s",
            "Mvoxel/s",
            "first run s",
            "PyTorch without scan, ms",
            "ratio",
            "PyTorch, reference scan, ms",
            "Vulkan ms",
        ],
        &rows,
    )
}

fn note(times: &mut Times, step: &str, found: &Value) {
    let Some(seconds) = found["seconds"].as_f64() else { return };
    let ms = 1e3 * seconds;
    match (step, found["scan"].as_str()) {
        ("speed-vulkan", _) => times.vulkan = Some(ms),
        (_, Some("none")) if times.torch.as_ref().is_none_or(|(best, _)| ms < *best) => {
            times.torch = Some((ms, found["variant"].as_str().unwrap_or_default().to_owned()));
        }
        (_, Some("reference")) => {
            times.torch_reference = Some(times.torch_reference.map_or(ms, |best| best.min(ms)));
        }
        (_, Some(_)) => {}
        (_, None) => {
            times.whole = Some((ms, 1e3 * found["median_seconds"].as_f64().unwrap_or(f64::NAN)));
            times.resident = found["resident_seconds"].as_f64().map(|seconds| 1e3 * seconds);
            times.flop = found["flop"].as_f64().unwrap_or(f64::NAN);
            times.voxels = found["voxels"].as_f64().unwrap_or(f64::NAN);
            times.first_seconds = found["first_seconds"].as_f64().unwrap_or(f64::NAN);
        }
    }
}

fn row(name: &str, times: &Times) -> Option<Vec<String>> {
    let (ms, median) = times.whole?;
    let mut parts = name.split(':');
    let mut next = || parts.next().unwrap_or("f32").replace(',', "×");
    let (what, network, window, precision) = (next(), next(), next(), next());
    let show = |ms: Option<f64>| ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.2}"));
    // As the other side is timed: without transfers where that was measured.
    let own = times.resident.unwrap_or(ms);
    let (torch, ratio) = match &times.torch {
        Some((theirs, variant)) => (format!("{theirs:.2} ({variant})"), format!("{:.2}", own / theirs)),
        None => ("–".to_owned(), "–".to_owned()),
    };
    Some(vec![
        what,
        network,
        window,
        precision,
        show(Some(ms)),
        show(Some(median)),
        show(times.resident),
        format!("{:.1}", times.flop / own / 1e9),
        format!("{:.1}", times.voxels / ms / 1e3),
        format!("{:.1}", times.first_seconds),
        torch,
        ratio,
        show(times.torch_reference),
        show(times.vulkan),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, log: &str) -> Step {
        let text = String::from;
        Step { stage: text("B"), name: text(name), outcome: text("passed"), seconds: 1, log: text(log) }
    }

    #[test]
    fn pytorch_is_compared_with_the_time_without_transfers() {
        let item = "forward:base:16,160,160:bf16";
        let ours = format!(
            "{{\"item\":\"{item}\",\"seconds\":0.02,\"median_seconds\":0.021,\"resident_seconds\":0.015,\"flop\":6e11,\
             \"voxels\":409600,\"first_seconds\":31.5}}"
        );
        let theirs = format!(
            "{{\"item\":\"{item}\",\"scan\":\"none\",\"variant\":\"eager\",\"seconds\":0.012}}\n\
             {{\"item\":\"{item}\",\"scan\":\"none\",\"variant\":\"compiled\",\"seconds\":0.010}}\n\
             {{\"item\":\"{item}\",\"scan\":\"reference\",\"variant\":\"eager\",\"seconds\":0.5}}\n\
             {{\"item\":\"{item}\",\"scan\":\"reference\",\"variant\":\"channels last\",\"error\":\"no memory\"}}\n\
             {{\"item\":\"only:theirs:1,1,1\",\"scan\":\"none\",\"variant\":\"eager\",\"seconds\":0.01}}"
        );
        let vulkan = format!("{{\"item\":\"{item}\",\"seconds\":0.05}}");
        let steps = [step("speed-half", &ours), step("pytorch", &theirs), step("speed-vulkan", &vulkan)];
        let table = table(&steps).unwrap();
        let row = "| forward | base | 16×160×160 | bf16 | 20.00 | 21.00 | 15.00 | 40.0 | 20.5 | 31.5 | 10.00 (compiled) | 1.50 | 500.00 | 50.00 |";
        assert!(table.contains(row), "{table}");
        assert!(!table.contains("theirs"));
    }

    #[test]
    fn nothing_measured_makes_no_table() {
        assert!(
            table(&[step("speed-f32", "{\"item\":\"step:tiny:2,32,32\",\"error\":\"no memory\"}")]).is_none()
        );
    }
}
