//! Where the time of one training step goes: batch, forward by part, backward, optimiser.
//!
//! `cargo run --release -p tu-train --example step_time -- tiny 16,96,96`

#![allow(clippy::print_stdout, reason = "a measurement talks to the person who runs it")]

use std::time::Instant;

use burn::tensor::{Device, Gradients, Tensor};
use tu_model::{EmMamba, EmMambaConfig, Preset};
use tu_train::data::{
    AugmentationConfig, Batch, Sampler, TargetConfig, TrainingVolume, VolumeEntry, VoxelMemory,
};
use tu_train::finetune::{
    AdamW, BatchTensors, LossKind, Modules, NamedGradients, OptimiserConfig, loss_of_logits, select_modules,
};
use tu_train::phantom::PhantomConfig;

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REPEATS: u32 = 3;

/// Seconds of the quickest of some runs.
fn seconds<T>(mut work: impl FnMut() -> T) -> (f64, T) {
    let mut best = f64::MAX;
    let mut result = None;
    for _ in 0..REPEATS {
        drop(result.take());
        let started = Instant::now();
        result = Some(work());
        best = best.min(started.elapsed().as_secs_f64());
    }
    (best, result.unwrap_or_else(|| unreachable!("there is at least one run")))
}

/// Seconds ahead and back of the quickest of some passes, and the gradients of the last. Every pass goes both ways: the memory
/// of a graph that is not walked back is released late, and the next pass would have to take fresh memory.
fn both_ways(pass: impl Fn() -> Tensor<1>) -> ([f64; 2], Gradients) {
    let mut best = [f64::MAX; 2];
    let mut result = None;
    for _ in 0..REPEATS {
        drop(result.take());
        let started = Instant::now();
        let loss = pass();
        let turned = Instant::now();
        result = Some(loss.backward());
        let found = [turned - started, turned.elapsed()].map(|passed| passed.as_secs_f64());
        best = [0, 1].map(|way| f64::min(best[way], found[way]));
    }
    (best, result.unwrap_or_else(|| unreachable!("there is at least one run")))
}

/// Forward and backward seconds of one part of the network on an input that needs a gradient itself.
fn part(name: &str, input: &Tensor<5>, forward: impl Fn(Tensor<5>) -> Tensor<5>) {
    let ([ahead, back], _) = both_ways(|| forward(input.clone().detach().require_grad()).sum());
    println!("  {name:<28} forward {ahead:7.3} s   backward {back:7.3} s");
}

fn parts(model: &EmMamba, input: &Tensor<5>) {
    // detached: a part's backward pass must not run into the parts before it
    let o: Vec<_> = model.vit.forward(input.clone()).into_iter().map(Tensor::detach).collect();
    let e1 = model.encoder1.forward(input.clone()).detach();
    let e2 = model.encoder2.forward(o[0].clone()).detach();
    let e3 = model.encoder3.forward(o[1].clone()).detach();
    let e4 = model.encoder4.forward(o[2].clone()).detach();
    let e5 = model.encoder5.forward(o[3].clone()).detach();
    part("vit (Mamba encoder)", input, |x| {
        model
            .vit
            .forward(x)
            .into_iter()
            .map(|o| o.sum().reshape([1, 1, 1, 1, 1]))
            .reduce(|a, b| a + b)
            .unwrap_or_else(|| unreachable!("four outputs"))
    });
    let stem = model.vit.downsample_layers[0].forward(input.clone()).detach();
    part("  stem", input, |x| model.vit.downsample_layers[0].forward(x));
    part("  stage 0 GSC", &stem, |x| model.vit.gscs[0].forward(x));
    part("  stage 0 one Mamba layer", &stem, |x| model.vit.stages[0][0].forward(x));
    part("  stage 0 MLP", &stem, |x| model.vit.mlps[0].forward(x));
    part("encoder1", input, |x| model.encoder1.forward(x));
    part("encoder2", &o[0], |x| model.encoder2.forward(x));
    part("encoder3", &o[1], |x| model.encoder3.forward(x));
    part("encoder4", &o[2], |x| model.encoder4.forward(x));
    part("encoder5", &o[3], |x| model.encoder5.forward(x));
    part("decoder5", &e5, |x| model.decoder5.forward(x, e4.clone()));
    let d5 = model.decoder5.forward(e5.clone(), e4.clone()).detach();
    part("decoder4", &d5, |x| model.decoder4.forward(x, e3.clone()));
    let d4 = model.decoder4.forward(d5, e3).detach();
    part("decoder3", &d4, |x| model.decoder3.forward(x, e2.clone()));
    let d3 = model.decoder3.forward(d4, e2).detach();
    part("decoder2", &d3, |x| model.decoder2.forward(x, e1.clone()));
    let d2 = model.decoder2.forward(d3, e1).detach();
    part("decoder1", &d2, |x| model.decoder1.forward(x));
    part("out", &d2, |x| model.out.forward(x));
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let preset: Preset = arguments.next().unwrap_or_else(|| "tiny".into()).parse()?;
    let crop = arguments.next().unwrap_or_else(|| "16,96,96".into());
    let sides = crop.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let shape: [usize; 3] = sides.try_into().map_err(|_| "a crop has three sides: z,y,x")?;
    let device = Device::flex().autodiff();

    let phantom = PhantomConfig { shape_zyx: [32, 192, 192], ..PhantomConfig::default() };
    let entry = VolumeEntry { phantom: Some(phantom), ..VolumeEntry::default() };
    let (making, volume) = seconds(|| TrainingVolume::open(&entry, &VoxelMemory::new(u64::MAX), true));
    println!("phantom 32×192×192              {making:7.3} s");
    let sampler = Sampler::new(
        vec![volume?],
        shape,
        AugmentationConfig::default(),
        tu_model::IntensityRule::FullRange,
        1,
    )?;
    let target = TargetConfig { loss: LossKind::WeightedMse, ignore_unlabelled: false, widen_borders: false };
    let mut step = 0;
    let started = Instant::now();
    let mut batch = Batch::draw(&sampler, step, 1, target)?;
    while step < 19 {
        step += 1;
        batch = Batch::draw(&sampler, step, 1, target)?;
    }
    println!("batch of one crop, mean of 20   {:7.3} s", started.elapsed().as_secs_f64() / 20.0);

    let config = EmMambaConfig::preset(preset);
    let (model, trained) = select_modules(config.init_seeded(&device, 1), Modules::All)?;
    println!("{} parameters, crop {shape:?}", trained);
    let mut optimiser = AdamW::new(&OptimiserConfig::default(), &model);
    let tensors = BatchTensors::new(batch.clone(), &device);
    let loss = || {
        let t = BatchTensors::new(batch.clone(), &device);
        let logits = model.forward_logits(t.input);
        loss_of_logits(LossKind::WeightedMse, logits, t.affinities, t.weights, t.normaliser)
    };
    let plain = burn::module::Module::valid(&model);
    let input = tensors.input.clone().inner();
    let (inference, _) = seconds(|| plain.forward_logits(input.clone()).sum().into_data());
    println!("inference                       {inference:7.3} s");
    let ([ahead, back], mut gradients) = both_ways(loss);
    println!("forward and loss                {ahead:7.3} s");
    println!("backward                        {back:7.3} s");
    let started = Instant::now();
    let named = NamedGradients::take(&model, &mut gradients);
    let norm = named.norm()?;
    let updated = optimiser.step(model.clone(), named, norm, 1e-4);
    println!("norm and AdamW                  {:7.3} s", started.elapsed().as_secs_f64());
    drop(updated);
    parts(&model, &tensors.input);
    Ok(())
}
