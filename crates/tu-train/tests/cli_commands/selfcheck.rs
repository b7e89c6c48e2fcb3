//! Whether a device agrees with the processor.

use super::*;

const SMALL: &[&str] = &["selfcheck", "--device", "cpu", "--window", "2,32,32"];

#[test]
fn the_processor_agrees_with_other_implementations_and_repeats_itself() {
    let bench = Bench::new();
    for network in [&["--preset", "tiny"], &["--model", "model.safetensors"]] {
        let found = bench.json(&[SMALL, network].concat());
        assert!(found["agrees"] == true && found["wrong"] == 0, "{found}");
        let rows = found["rows"].as_array().unwrap();
        assert_eq!(found["checks"], rows.len());
        for check in
            ["convolution", "selective scan", "gated sum", "affinities, largest difference", "loss of step 3"]
        {
            assert!(rows.iter().any(|row| row["check"] == check), "{check} is missing in {found}");
        }
        // networks and training repeat to the bit, kernels are compared with something else
        for row in rows {
            let error = row["error"].as_f64().unwrap();
            assert!(error <= row["limit"].as_f64().unwrap(), "{row}");
            assert!(row["stage"] == "kernel" || error == 0.0, "{row}");
        }
    }
}

#[test]
fn half_precision_is_compared_with_f32() {
    let bench = Bench::new();
    let model = [SMALL, &["--model", "model.safetensors", "--precision"]].concat();
    let bf16 = bench.json(&[&model[..], &["bf16"]].concat());
    assert!(bf16["rows"].as_array().unwrap().iter().any(|row| row["stage"] == "training"), "{bf16}");
    let f16 = bench.json(&[&model[..], &["f16"]].concat());
    let rows = f16["rows"].as_array().unwrap();
    assert!(rows.iter().all(|row| row["stage"] != "training"), "{f16}");
    // the type rounds, and the row says how much
    let affinities = rows.iter().find(|row| row["check"] == "affinities, largest difference").unwrap();
    assert!(affinities["error"].as_f64().unwrap() > 0.0, "{affinities}");
}

#[test]
fn the_table_has_a_line_per_check_and_a_summary() {
    let bench = Bench::new();
    let text = bench.ok(&[SMALL, &["--model", "model.safetensors"]].concat());
    assert!(
        text.contains("furthest off") && text.contains("selective scan") && !text.contains("WRONG"),
        "{text}"
    );
    assert!(text.trim_end().lines().last().unwrap().contains("checks agree"), "{text}");
}

#[test]
fn what_cannot_be_checked_is_refused() {
    let bench = Bench::new();
    bench.fails(&["selfcheck", "--device", "cpu", "--window", "2,30,32"], &["multiples of 16"]);
    bench.fails(&["selfcheck", "--device", "cpu", "--preset", "huge"], &["tiny, small, base"]);
    bench
        .fails(&["selfcheck", "--device", "cpu", "--model", "nowhere.safetensors"], &["nowhere.safetensors"]);
    bench.fails(&["selfcheck", "--preset", "tiny", "--model", "model.safetensors"], &["cannot be used with"]);
}

/// On a machine with an adapter; the short form runs before every command that uses one.
#[cfg(feature = "wgpu")]
#[test]
fn a_graphics_adapter_agrees_with_the_processor() {
    let bench = Bench::new();
    let arguments = ["selfcheck", "--device", "wgpu", "--window", "2,32,32", "--model", "model.safetensors"];
    let output = bench.run(&arguments);
    let message = String::from_utf8(output.stderr).unwrap();
    if message.contains("does not answer") {
        eprintln!("SKIPPED: no wgpu adapter: {message}");
        return;
    }
    assert!(output.status.success(), "{message}");
    let affinities =
        ["affinities", "--input", "phantom.zarr/raw", "--model", "model.safetensors", "--device", "wgpu"];
    bench.ok(&[&affinities[..], &["--output", "checked.zarr"]].concat());
    bench.ok(&[&affinities[..], &["--output", "unchecked.zarr", "--skip-selfcheck"]].concat());
    assert_eq!(files(&bench.path("checked.zarr")), files(&bench.path("unchecked.zarr")));
}
