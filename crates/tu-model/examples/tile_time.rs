//! How long the network takes for one tile with its halo, on random weights of each preset.
//!
//! ```text
//! cargo run --release -p tu-model --example tile_time -- [tiny,base] [16,64,64] [4,16,16] [folder to save the models to]
//! ```

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::time::Instant;

use burn::tensor::Device;
use tu_model::{EmMambaConfig, ModelMetadata, Network, Preset, StoredFloat, save};

/// Each tile is computed this often; the quickest counts.
const REPEATS: usize = 3;

fn triple(text: &str) -> Result<[usize; 3], Box<dyn std::error::Error>> {
    let sides = text.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    sides.try_into().map_err(|_| format!("{text}: three sizes are needed, z,y,x").into())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let presets = arguments.next().unwrap_or_else(|| "tiny,base".into());
    let tile_zyx = triple(&arguments.next().unwrap_or_else(|| "16,64,64".into()))?;
    let halo_zyx = triple(&arguments.next().unwrap_or_else(|| "4,16,16".into()))?;
    let folder = arguments.next();
    let device = Device::flex();
    println!("CPU, {} threads, f32", std::thread::available_parallelism()?);
    println!("preset  parameters   tile         window       s per tile  kvoxel/s of the tile");
    for name in presets.split(',') {
        let preset: Preset = name.parse()?;
        let architecture = EmMambaConfig::preset(preset);
        let model = architecture.init_seeded(&device, 1);
        let mut metadata = ModelMetadata::for_affinities(architecture, [10.0; 3]);
        (metadata.tile_zyx, metadata.halo_zyx) = (tile_zyx, halo_zyx);
        metadata.preset = Some(name.to_owned());
        if let Some(folder) = &folder {
            let path = std::path::Path::new(folder).join(format!("{name}.safetensors"));
            std::fs::write(path, save(&model, &metadata, StoredFloat::F32)?)?;
        }
        let window_zyx = metadata.window_zyx();
        let parameters = metadata.architecture.parameter_count();
        let network = Network::new(model, metadata, &device);
        let values: Vec<f32> =
            (0..window_zyx.iter().product()).map(|i: usize| ((i * 61) % 127) as f32 / 127.0).collect();
        let mut best = f64::MAX;
        for _ in 0..REPEATS {
            let started = Instant::now();
            network.affinities_blocking(values.clone(), window_zyx)?;
            best = best.min(started.elapsed().as_secs_f64());
        }
        let voxels = tile_zyx.iter().product::<usize>() as f64;
        let show = |zyx: [usize; 3]| zyx.map(|s| s.to_string()).join("×");
        println!(
            "{name:<7} {parameters:>10}   {:<12} {:<12} {best:>10.3}  {:>8.0}",
            show(tile_zyx),
            show(window_zyx),
            voxels / best / 1e3
        );
    }
    Ok(())
}
