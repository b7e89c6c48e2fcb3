//! Times whole networks on random weights: a forward pass as `segment` runs it, and a training step.
//!
//! ```text
//! cargo run --release -p tu-train --example network_speed -- [--device cpu] [--json] [forward|step|checkpointed:PRESET:Z,Y,X[:TYPE] …]
//! ```
//!
//! Seconds are the least of five runs or more, fewer where one takes ten seconds; a first run, in which a GPU's kernels are compiled and
//! chosen, does not count. FLOP are counted from the architecture (`tu_model::ForwardCost`), a step as three forward passes;
//! `checkpointed` is a step with activation checkpointing. On the processor every item runs in a process of its own, whose peak of
//! memory is printed. On a GPU all run in one, so that kernels which items share are compiled and chosen once; an item that
//! fails there is named, the others are measured, and the program ends with an error.
//!
//! With `--json` each item is a line with its runs: `seconds` (the least), `median_seconds`, `first_seconds`; a forward pass has
//! `resident_seconds` too: without the transfer of its window and affinities, as other frameworks time it.

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

mod item;
mod passes;
mod timing;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use burn::tensor::Device;
use serde_json::{Value, json};
use tu_train::device::DeviceChoice;

use item::{ITEMS, Item};

type Failure = Box<dyn std::error::Error>;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().position(|a| a == "--json").map(|at| arguments.remove(at)).is_some();
    let choice = match arguments.iter().position(|a| a == "--device") {
        Some(at) if at + 1 < arguments.len() => {
            arguments.remove(at);
            arguments.remove(at).parse::<DeviceChoice>()?
        }
        _ => DeviceChoice::Cpu,
    };
    let items = if arguments.is_empty() { ITEMS.map(str::to_owned).to_vec() } else { arguments };
    let one_process = choice != DeviceChoice::Cpu || items.len() == 1;
    if !json && items.len() > 1 {
        println!("{choice}, {} threads, batch 1", rayon::current_num_threads());
        println!(
            "what          preset  window         type    seconds    GFLOP   GFLOP/s  Mvoxel/s  peak MiB"
        );
    }
    if one_process { measure_all(&items, choice, json) } else { measure_apart(&items, choice, json) }
}

/// Every item in a process of its own.
fn measure_apart(items: &[String], choice: DeviceChoice, json: bool) -> Result<(), Failure> {
    for item in items {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--device", &choice.to_string()]).arg(item);
        if json {
            command.arg("--json");
        }
        if !command.status()?.success() {
            return Err(format!("{item} failed").into());
        }
    }
    Ok(())
}

/// All items in this process.
fn measure_all(items: &[String], choice: DeviceChoice, json: bool) -> Result<(), Failure> {
    let (device, choice) = choice.open()?;
    let mut failed = Vec::new();
    for text in items {
        // The tensor library panics where a driver refuses, for want of memory for instance.
        let outcome = catch_unwind(AssertUnwindSafe(|| measure(text, &device, choice)))
            .unwrap_or_else(|_| Err("the device failed: see above".into()));
        device.memory_cleanup();
        match outcome {
            Ok((item, found)) => print(&item, &found, json),
            Err(error) => {
                eprintln!("{text}: {error}");
                if json {
                    println!("{}", json!({ "item": text, "error": error.to_string() }));
                }
                failed.push(text.as_str());
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("failed: {}", failed.join(", ")).into()) }
}

fn measure(text: &str, device: &Device, choice: DeviceChoice) -> Result<(Item, Value), Failure> {
    let item: Item = text.parse()?;
    let seconds =
        if item.what == "forward" { passes::forward(&item, device)? } else { passes::step(&item, device)? };
    let mut found = seconds.to_json();
    if let Some(object) = found.as_object_mut() {
        object.insert("item".to_owned(), json!(text));
        object.insert("device".to_owned(), json!(choice.to_string()));
        object.insert("flop".to_owned(), json!(item.flop()));
        object.insert("voxels".to_owned(), json!(item.voxels()));
        if choice == DeviceChoice::Cpu {
            object.insert("peak_mib".to_owned(), json!(peak_mib()));
        } else if item.what == "forward" {
            let resident = passes::resident(&item, device)?.least();
            object.insert("resident_seconds".to_owned(), json!(resident));
        }
    }
    Ok((item, found))
}

fn print(item: &Item, found: &Value, json: bool) {
    if json {
        println!("{found}");
        return;
    }
    let seconds = found["seconds"].as_f64().unwrap_or(f64::NAN);
    let gflop = item.flop() as f64 / 1e9;
    println!(
        "{:<13} {:<7} {:<14} {:<5} {seconds:>9.4} {gflop:>8.1} {:>9.1} {:>9.2} {:>9}",
        item.what,
        item.preset.name(),
        item.window_zyx.map(|side| side.to_string()).join("×"),
        item.precision.to_string(),
        gflop / seconds,
        item.voxels() as f64 / 1e6 / seconds,
        found["peak_mib"].as_u64().map_or_else(|| "–".to_owned(), |mib| mib.to_string())
    );
}

/// Largest resident memory of this process, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
