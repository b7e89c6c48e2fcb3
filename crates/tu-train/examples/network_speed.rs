//! Times whole networks on random weights: a forward pass as `segment` runs it, and a training step.
//!
//! ```text
//! cargo run --release -p tu-train --example network_speed -- [--device cpu] [--json] [forward|step|checkpointed:PRESET:Z,Y,X[:TYPE] …]
//! ```
//!
//! Seconds are the least of five runs, two where one takes ten seconds. FLOP are counted from the architecture
//! (`tu_model::ForwardCost`), a step as three forward passes; `checkpointed` is a step with activation checkpointing. Every item
//! runs in a process of its own, whose peak of memory is printed: the processor's, not a GPU's.

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::process::Command;
use std::str::FromStr;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use tu_model::{EmMambaConfig, ForwardCost, ModelMetadata, Network, Precision, Preset};
use tu_train::data::{
    AugmentationConfig, Batch, Sampler, TargetConfig, TrainingVolume, VolumeEntry, VoxelMemory,
};
use tu_train::device::DeviceChoice;
use tu_train::finetune::{
    AdamW, BatchTensors, LossKind, Modules, NamedGradients, OptimiserConfig, loss_of_logits, select_modules,
};
use tu_train::phantom::PhantomConfig;

type Failure = Box<dyn std::error::Error>;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Runs of an item, and fewer where one takes this many seconds.
const REPEATS: usize = 5;
const LONG_SECONDS: f64 = 10.0;

/// What is timed unless the command names something.
const ITEMS: [&str; 11] = [
    "forward:tiny:16,160,160",
    "step:tiny:16,96,96",
    "checkpointed:tiny:16,96,96",
    "forward:small:16,160,160",
    "step:small:16,96,96",
    "checkpointed:small:16,96,96",
    "forward:base:16,160,160",
    "forward:base:16,160,160:f16",
    "step:base:16,96,96",
    "checkpointed:base:16,96,96",
    "step:base:16,96,96:bf16",
];

/// What is timed.
struct Item {
    what: String,
    preset: Preset,
    window_zyx: [usize; 3],
    precision: Precision,
}

impl FromStr for Item {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self, Failure> {
        let mut parts: Vec<&str> = text.split(':').collect();
        let precision =
            if parts.len() == 4 { parts.pop().unwrap_or_default().parse()? } else { Precision::F32 };
        let &[what @ ("forward" | "step" | "checkpointed"), preset, window] = parts.as_slice() else {
            return Err(format!("{text}: write forward, step or checkpointed:PRESET:Z,Y,X[:TYPE]").into());
        };
        let sides = window.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let window_zyx = sides.try_into().map_err(|_| format!("{text}: a window has three sides, z,y,x"))?;
        Ok(Self { what: what.to_owned(), preset: preset.parse()?, window_zyx, precision })
    }
}

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
    if let [item] = arguments.as_slice() {
        return measure(item, choice, json);
    }
    if arguments.is_empty() {
        arguments = ITEMS.map(str::to_owned).to_vec();
    }
    if !json {
        println!("{} threads, batch 1", rayon::current_num_threads());
        println!(
            "what          preset  window         type   seconds    GFLOP   GFLOP/s  Mvoxel/s  peak MiB"
        );
    }
    for item in &arguments {
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

/// Measures one item in this process.
fn measure(text: &str, choice: DeviceChoice, json: bool) -> Result<(), Failure> {
    let item: Item = text.parse()?;
    let (device, _) = choice.open()?;
    let config = EmMambaConfig::preset(item.preset);
    let (seconds, passes) = if item.what == "forward" {
        (forward(&item, config.clone(), &device)?, 1)
    } else {
        (step(&item, &config, &device)?, 3)
    };
    let flop = passes * ForwardCost::of(&config, item.window_zyx).total();
    let voxels = item.window_zyx.iter().product::<usize>() as f64;
    if json {
        println!(
            "{}",
            serde_json::json!({ "item": text, "seconds": seconds, "flop": flop, "peak_mib": peak_mib() })
        );
        return Ok(());
    }
    println!(
        "{:<13} {:<7} {:<14} {:<5} {seconds:>8.3} {:>8.1} {:>9.1} {:>9.2} {:>9}",
        item.what,
        item.preset.name(),
        item.window_zyx.map(|side| side.to_string()).join("×"),
        item.precision.to_string(),
        flop as f64 / 1e9,
        flop as f64 / 1e9 / seconds,
        voxels / 1e6 / seconds,
        peak_mib().map_or_else(|| "unknown".to_owned(), |mib| mib.to_string())
    );
    Ok(())
}

/// Seconds of the quickest of some runs.
fn least(mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut seconds: Vec<f64> = Vec::new();
    while seconds.len() < 2 || (seconds.len() < REPEATS && seconds.iter().all(|s| *s < LONG_SECONDS)) {
        let started = Instant::now();
        work()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    Ok(seconds.into_iter().fold(f64::MAX, f64::min))
}

fn forward(item: &Item, config: EmMambaConfig, device: &Device) -> Result<f64, Failure> {
    let window_zyx = item.window_zyx;
    let model = config.init_seeded(device, 1);
    let mut metadata = ModelMetadata::for_affinities(config, [10.0; 3]);
    (metadata.tile_zyx, metadata.halo_zyx) = (window_zyx, [0; 3]);
    let network = Network::new(model, metadata, device).in_precision(item.precision)?;
    let values: Vec<f32> =
        (0..window_zyx.iter().product()).map(|i: usize| ((i * 61) % 127) as f32 / 127.0).collect();
    least(|| {
        network.affinities_blocking(values.clone(), window_zyx)?;
        Ok(())
    })
}

/// Loss, gradients and update on one crop of a synthetic volume.
fn step(item: &Item, config: &EmMambaConfig, device: &Device) -> Result<f64, Failure> {
    let crop_zyx = item.window_zyx;
    let mut device = device.clone().autodiff();
    if item.what == "checkpointed" {
        device = device.gradient_checkpointing();
    }
    let shape_zyx = crop_zyx.map(|side| (2 * side).max(32));
    let phantom = PhantomConfig { shape_zyx, ..PhantomConfig::default() };
    let entry = VolumeEntry { phantom: Some(phantom), ..VolumeEntry::default() };
    let volume = TrainingVolume::open(&entry, &VoxelMemory::new(u64::MAX), true)?;
    let rule = tu_model::IntensityRule::FullRange;
    let sampler = Sampler::new(vec![volume], crop_zyx, AugmentationConfig::default(), rule, 1)?;
    let target = TargetConfig { loss: LossKind::WeightedMse, ignore_unlabelled: false, widen_borders: false };
    let batch = Batch::draw(&sampler, 0, 1, target)?;
    let (model, _) = select_modules(config.init_seeded(&device, 1), Modules::All)?;
    let mut model = model.with_precision(item.precision);
    let mut optimiser = AdamW::new(&OptimiserConfig::default(), &model);
    least(|| {
        let t = BatchTensors::new(batch.clone(), &device);
        let logits = model.forward_logits(t.input);
        let loss: Tensor<1> =
            loss_of_logits(LossKind::WeightedMse, logits, t.affinities, t.weights, t.normaliser);
        let mut gradients = loss.backward();
        let named = NamedGradients::take(&model, &mut gradients);
        let norm = named.norm()?;
        model = optimiser.step(model.clone(), named, norm, 1e-4);
        Ok(())
    })
}

/// Largest resident memory of this process, where the system tells.
fn peak_mib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? / 1024)
}
