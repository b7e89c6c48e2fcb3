//! Times whole networks on random weights: a forward pass as `segment` runs it, and a training step.
//!
//! ```text
//! cargo run --release -p tu-train --example network_speed -- [--device cpu] [--json] [forward|step:PRESET:Z,Y,X …]
//! ```
//!
//! Seconds are the least of five runs. FLOP are counted from the architecture (`tu_model::ForwardCost`), a step as three forward
//! passes. The peak of memory is that of the process up to there, so order items by size.

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::time::Instant;

use burn::tensor::{Device, Tensor};
use tu_model::{EmMambaConfig, ForwardCost, ModelMetadata, Network, Preset};
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

const REPEATS: u32 = 5;

/// What is timed unless the command names something.
const ITEMS: [&str; 5] = [
    "forward:tiny:16,160,160",
    "step:tiny:16,96,96",
    "forward:small:16,160,160",
    "step:small:16,96,96",
    "forward:base:16,160,160",
];

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let json = arguments.iter().position(|a| a == "--json").map(|at| arguments.remove(at)).is_some();
    let device = match arguments.iter().position(|a| a == "--device") {
        Some(at) if at + 1 < arguments.len() => {
            arguments.remove(at);
            arguments.remove(at).parse::<DeviceChoice>()?
        }
        _ => DeviceChoice::Cpu,
    };
    let (device, _) = device.open()?;
    if arguments.is_empty() {
        arguments = ITEMS.map(str::to_owned).to_vec();
    }
    if !json {
        println!("{} threads, f32, batch 1", rayon::current_num_threads());
        println!("what      preset  window          seconds    GFLOP   GFLOP/s  Mvoxel/s  peak MiB");
    }
    for item in &arguments {
        let parts: Vec<&str> = item.split(':').collect();
        let &[what, preset, window] = parts.as_slice() else {
            return Err(format!("{item}: write forward:PRESET:Z,Y,X or step:PRESET:Z,Y,X").into());
        };
        let sides = window.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
        let window_zyx: [usize; 3] =
            sides.try_into().map_err(|_| format!("{item}: a window has three sides, z,y,x"))?;
        let config = EmMambaConfig::preset(preset.parse::<Preset>()?);
        let (seconds, passes) = match what {
            "forward" => (forward(config.clone(), window_zyx, &device)?, 1),
            "step" => (step(&config, window_zyx, &device)?, 3),
            _ => return Err(format!("{item}: '{what}' is neither forward nor step").into()),
        };
        let flop = passes * ForwardCost::of(&config, window_zyx).total();
        let voxels = window_zyx.iter().product::<usize>() as f64;
        if json {
            println!("{}", serde_json::json!({ "item": item, "seconds": seconds, "flop": flop }));
        } else {
            println!(
                "{what:<9} {preset:<7} {:<14} {seconds:>8.3} {:>8.1} {:>9.1} {:>9.2} {:>9}",
                window.replace(',', "×"),
                flop as f64 / 1e9,
                flop as f64 / 1e9 / seconds,
                voxels / 1e6 / seconds,
                peak_mib().map_or_else(|| "unknown".to_owned(), |mib| mib.to_string())
            );
        }
    }
    Ok(())
}

/// Seconds of the quickest of some runs.
fn least(mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut best = f64::MAX;
    for _ in 0..REPEATS {
        let started = Instant::now();
        work()?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(best)
}

fn forward(config: EmMambaConfig, window_zyx: [usize; 3], device: &Device) -> Result<f64, Failure> {
    let model = config.init_seeded(device, 1);
    let mut metadata = ModelMetadata::for_affinities(config, [10.0; 3]);
    (metadata.tile_zyx, metadata.halo_zyx) = (window_zyx, [0; 3]);
    let network = Network::new(model, metadata, device);
    let values: Vec<f32> =
        (0..window_zyx.iter().product()).map(|i: usize| ((i * 61) % 127) as f32 / 127.0).collect();
    least(|| {
        network.affinities_blocking(values.clone(), window_zyx)?;
        Ok(())
    })
}

/// Loss, gradients and update on one crop of a synthetic volume.
fn step(config: &EmMambaConfig, crop_zyx: [usize; 3], device: &Device) -> Result<f64, Failure> {
    let device = device.clone().autodiff();
    let shape_zyx = crop_zyx.map(|side| (2 * side).max(32));
    let phantom = PhantomConfig { shape_zyx, ..PhantomConfig::default() };
    let entry = VolumeEntry { phantom: Some(phantom), ..VolumeEntry::default() };
    let volume = TrainingVolume::open(&entry, &VoxelMemory::new(u64::MAX), true)?;
    let rule = tu_model::IntensityRule::FullRange;
    let sampler = Sampler::new(vec![volume], crop_zyx, AugmentationConfig::default(), rule, 1)?;
    let target = TargetConfig { loss: LossKind::WeightedMse, ignore_unlabelled: false, widen_borders: false };
    let batch = Batch::draw(&sampler, 0, 1, target)?;
    let (mut model, _) = select_modules(config.init_seeded(&device, 1), Modules::All)?;
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
