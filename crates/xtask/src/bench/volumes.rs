//! Real EM: time and peak of memory of `tu-train segment`, and that the latter does not follow the volume; accuracy in half
//! precision; crops for training from disk and over HTTP.

use super::{Benchmark, example};
use crate::server::{Server, Site};
use crate::workspace::Workspace;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Half of the volume and all of it.
const REGIONS: [(&str, [usize; 3]); 2] = [("0:125,:,:", [125, 250, 250]), ("0:250,:,:", [250, 250, 250])];

pub(super) fn benchmarks(workspace: &Workspace) -> Vec<Benchmark<'_>> {
    vec![
        ("volumes/segment".to_owned(), Box::new(move || segment(workspace))),
        ("volumes/precision_accuracy".to_owned(), Box::new(move || precision(workspace))),
        ("volumes/loader_speed".to_owned(), Box::new(move || loader(workspace))),
    ]
}

/// The folder of raw and labels, if both are there; otherwise what to print.
fn labelled(workspace: &Workspace) -> Result<PathBuf, String> {
    let raw = volume(workspace);
    match raw.parent() {
        Some(folder) if raw.is_dir() && folder.join("labels").is_dir() => Ok(folder.to_owned()),
        _ => {
            let text =
                "left out: no fib25_ts2.zarr with raw and labels; set TU_DATA to the folder of real volumes";
            println!("{text}");
            Err(text.to_owned())
        }
    }
}

/// The shipped model on its validation block, in every type.
fn precision(workspace: &Workspace) -> Result<String> {
    let folder = match labelled(workspace) {
        Ok(folder) => folder,
        Err(text) => return Ok(text),
    };
    let of = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let (raw, labels) = (of("raw"), of("labels"));
    example(
        workspace,
        "precision_accuracy",
        &["models/tiny-fib25.safetensors", &raw, &labels, "180:250,0:250,0:250"],
    )
}

/// Crops of the same volume read from the disk and from a server on this machine.
fn loader(workspace: &Workspace) -> Result<String> {
    let folder = match labelled(workspace) {
        Ok(folder) => folder,
        Err(text) => return Ok(text),
    };
    let server = Server::start(Site::new().with_folder("/volume/", &folder)?, 0)?;
    let served = format!("{}/volume", server.url());
    let of = |place: &str, name: &str| [name.to_owned(), format!("{place}/raw"), format!("{place}/labels")];
    let arguments = [of(&folder.to_string_lossy(), "FIB-25, disk"), of(&served, "FIB-25, HTTP")].concat();
    example(workspace, "loader_speed", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The FIB-25 block under `TU_DATA`, by default beside the repository.
fn volume(workspace: &Workspace) -> PathBuf {
    let data = std::env::var_os("TU_DATA").map_or_else(|| workspace.path("../shared/data"), PathBuf::from);
    data.join("fib25_ts2.zarr/raw")
}

fn segment(workspace: &Workspace) -> Result<String> {
    let input = volume(workspace);
    if !input.is_dir() {
        let text = "left out: no fib25_ts2.zarr; set TU_DATA to the folder of real volumes";
        println!("{text}");
        return Ok(text.to_owned());
    }
    let mut table = String::from("tu-train segment, FIB-25, models/tiny-fib25.safetensors, CPU\n");
    table.push_str("region         Mvoxel   seconds  Mvoxel/s  peak MiB\n");
    for (roi, shape_zyx) in REGIONS {
        let output = workspace.target("bench/segmentation.zarr");
        if output.exists() {
            std::fs::remove_dir_all(&output)?;
        }
        let mut command = Command::new(workspace.release_binary("tu-train"));
        command.args(["segment", "--device", "cpu", "--quiet", "--roi", roi, "--input"]).arg(&input);
        command
            .arg("--model")
            .arg(workspace.path("models/tiny-fib25.safetensors"))
            .arg("--output")
            .arg(&output);
        let (seconds, peak) = watched(&mut command)?;
        let mega = shape_zyx.iter().product::<usize>() as f64 / 1e6;
        let _ = writeln!(
            table,
            "{:<13} {mega:>7.1} {seconds:>9.1} {:>9.3} {:>9}",
            shape_zyx.map(|side| side.to_string()).join("×"),
            mega / seconds,
            peak.map_or_else(|| "unknown".to_owned(), |mib| mib.to_string())
        );
    }
    print!("{table}");
    Ok(table)
}

/// Seconds of a program and its largest resident memory in MiB, where the system tells.
fn watched(command: &mut Command) -> Result<(f64, Option<u64>)> {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::null()).spawn().context("tu-train cannot be started")?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = None;
    loop {
        if let Ok(status) = std::fs::read_to_string(&status_file)
            && let Some(kib) = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))
        {
            peak = kib.split_whitespace().next().and_then(|kib| Some(kib.parse::<u64>().ok()? / 1024));
        }
        if let Some(status) = child.try_wait()? {
            if !status.success() {
                bail!("tu-train segment ended with {status}");
            }
            return Ok((started.elapsed().as_secs_f64(), peak));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
