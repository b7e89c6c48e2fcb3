//! Times what feeds a training run: crops drawn alone, and how long steps of a network wait for them.
//!
//! ```text
//! cargo run --release -p tu-train --example loader_speed -- [--memory-mib N] [NAME RAW LABELS …]
//! ```
//!
//! Each volume is a name for the table and two volume URLs; without one, a synthetic volume is written to a temporary
//! folder. `decoded` counts the bytes of the chunks that were read, `reused` the share of chunks that were still in
//! memory, `waits` the share of the time in which a `tiny` training step had no batch.

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::{Device, Tensor};
use tu_model::{EmMambaConfig, IntensityRule, Preset};
use tu_train::data::{
    AugmentationConfig, Batch, Prefetcher, Sampler, TargetConfig, TrainingVolume, VolumeEntry, VoxelMemory,
};
use tu_train::finetune::{
    AdamW, BatchTensors, LossKind, Modules, NamedGradients, OptimiserConfig, loss_of_logits, select_modules,
};
use tu_train::phantom::{PhantomConfig, phantom};
use tu_volume::{DataType, NewVolume, Region, VolumeWriter};

type Failure = Box<dyn std::error::Error>;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CROP_ZYX: [usize; 3] = [16, 96, 96];
const CROPS: u64 = 96;
const STEPS: u64 = 12;
const TARGET: TargetConfig =
    TargetConfig { loss: LossKind::WeightedMse, ignore_unlabelled: true, widen_borders: true };

fn main() -> Result<(), Failure> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut memory_mib = 8;
    if let Some(at) = arguments.iter().position(|a| a == "--memory-mib") {
        let value = arguments.get(at + 1).ok_or("--memory-mib needs a number")?;
        memory_mib = value.parse::<u64>()?;
        arguments.drain(at..at + 2);
    }
    let folder = tempfile::tempdir()?;
    if arguments.is_empty() {
        arguments = synthetic(folder.path())?;
    }
    println!(
        "crops of {} voxels with labels, all augmentation, {memory_mib} MiB of memory, {} threads",
        CROP_ZYX.map(|side| side.to_string()).join("×"),
        rayon::current_num_threads()
    );
    println!("volume               crops/s  Mvoxel/s  decoded MB/s  reused   step s  waits");
    let mut volumes = arguments.chunks_exact(3);
    for volume in volumes.by_ref() {
        let [name, raw, labels] = volume else { continue };
        let entry = VolumeEntry::labelled(raw, labels);
        let alone = alone(&entry, memory_mib)?;
        let (step, waits) = with_steps(&entry, memory_mib)?;
        println!(
            "{name:<18} {:>9.1} {:>9.2} {:>13.1} {:>6.0}% {step:>8.3} {:>5.1}%",
            alone.crops_per_second,
            alone.crops_per_second * CROP_ZYX.iter().product::<usize>() as f64 / 1e6,
            alone.decoded_mb_per_second,
            100.0 * alone.reused,
            100.0 * waits
        );
    }
    match volumes.remainder() {
        [] => Ok(()),
        rest => Err(format!("{}: write NAME RAW LABELS for each volume", rest.join(" ")).into()),
    }
}

fn sampler(entry: &VolumeEntry, memory: &Arc<VoxelMemory>) -> Result<Sampler, Failure> {
    let volume = TrainingVolume::open(entry, memory, true)?;
    Ok(Sampler::new(vec![volume], CROP_ZYX, AugmentationConfig::default(), IntensityRule::FullRange, 1)?)
}

struct Alone {
    crops_per_second: f64,
    decoded_mb_per_second: f64,
    reused: f64,
}

/// Batches of one crop, one after another, as the thread that prepares them draws them.
fn alone(entry: &VolumeEntry, memory_mib: u64) -> Result<Alone, Failure> {
    let memory = VoxelMemory::new(memory_mib << 20);
    let sampler = sampler(entry, &memory)?;
    let started = Instant::now();
    for step in 0..CROPS {
        Batch::draw(&sampler, step, 1, TARGET)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let counts = memory.counts();
    Ok(Alone {
        crops_per_second: CROPS as f64 / seconds,
        decoded_mb_per_second: counts.read_bytes as f64 / 1e6 / seconds,
        reused: counts.reused as f64 / (counts.read + counts.reused).max(1) as f64,
    })
}

/// Seconds of a training step of `tiny`, and the share of the time in which it waited for its batch.
fn with_steps(entry: &VolumeEntry, memory_mib: u64) -> Result<(f64, f64), Failure> {
    let device = Device::flex().autodiff();
    let sampler = Arc::new(sampler(entry, &VoxelMemory::new(memory_mib << 20))?);
    let batches = Prefetcher::of(0..STEPS, 2, move |step| Batch::draw(&sampler, step, 1, TARGET))?;
    let config = EmMambaConfig::preset(Preset::Tiny);
    let (mut model, _) = select_modules(config.init_seeded(&device, 1), Modules::All)?;
    let mut optimiser = AdamW::new(&OptimiserConfig::default(), &model);
    let (mut waited, mut worked) = (0.0, 0.0);
    for step in 0..STEPS {
        let asked = Instant::now();
        let batch = batches.next_batch()?;
        let begun = Instant::now();
        let t = BatchTensors::new(batch, &device);
        let logits = model.forward_logits(t.input);
        let loss: Tensor<1> = loss_of_logits(TARGET.loss, logits, t.affinities, t.weights, t.normaliser);
        let mut gradients = loss.backward();
        let named = NamedGradients::take(&model, &mut gradients);
        let norm = named.norm()?;
        model = optimiser.step(model.clone(), named, norm, 1e-4);
        // The first batch has nothing to hide behind.
        if step > 0 {
            waited += (begun - asked).as_secs_f64();
            worked += begun.elapsed().as_secs_f64();
        }
    }
    Ok((worked / (STEPS - 1) as f64, waited / (waited + worked)))
}

/// Writes a synthetic volume and returns its name and URLs.
fn synthetic(folder: &Path) -> Result<Vec<String>, Failure> {
    let config = PhantomConfig { shape_zyx: [64, 256, 256], ..PhantomConfig::default() };
    let made = phantom(&config)?;
    let whole = Region { origin_zyx: [0; 3], shape_zyx: config.shape_zyx };
    let mut named = vec!["synthetic, disk".to_owned()];
    for (name, data_type) in [("raw", DataType::U8), ("labels", DataType::U64)] {
        let url = folder.join(format!("{name}.zarr")).display().to_string();
        let spec = NewVolume {
            shape_zyx: config.shape_zyx.map(|side| side as u64),
            channels: None,
            data_type,
            chunk_zyx: [32, 64, 64],
            voxel_nm_zyx: None,
            voxel_offset_zyx: [0; 3],
            attributes: serde_json::Map::new(),
        };
        let writer = VolumeWriter::create(&url, &spec)?;
        match data_type {
            DataType::U8 => writer.write_u8(&whole, &made.raw)?,
            _ => writer.write_u64(&whole, &made.labels)?,
        }
        writer.finish()?;
        named.push(url);
    }
    Ok(named)
}
