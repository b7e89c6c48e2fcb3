//! The work that is timed: whole networks on random weights.

use burn::tensor::{Device, Tensor, TensorData};
use tu_model::{ModelMetadata, Network};
use tu_train::data::{
    AugmentationConfig, Batch, Sampler, TargetConfig, TrainingVolume, VolumeEntry, VoxelMemory,
};
use tu_train::finetune::{
    AdamW, BatchTensors, LossKind, Modules, NamedGradients, OptimiserConfig, loss_of_logits, select_modules,
};
use tu_train::phantom::PhantomConfig;

use super::Failure;
use super::item::Item;
use super::timing::{Seconds, wait};

fn window(item: &Item) -> Vec<f32> {
    (0..item.voxels()).map(|i| ((i * 61) % 127) as f32 / 127.0).collect()
}

/// As `segment` runs it: the window comes from this process's memory, and every affinity goes back there.
pub(crate) fn forward(item: &Item, device: &Device) -> Result<Seconds, Failure> {
    let config = item.config();
    let model = config.init_seeded(device, 1);
    let mut metadata = ModelMetadata::for_affinities(config, [10.0; 3]);
    (metadata.tile_zyx, metadata.halo_zyx) = (item.window_zyx, [0; 3]);
    let network = Network::new(model, metadata, device).in_precision(item.precision)?;
    let values = window(item);
    Seconds::of(|| {
        network.affinities_blocking(values.clone(), item.window_zyx)?;
        Ok(())
    })
}

/// The network alone: the window is on the device already, and of the affinities one number is read.
pub(crate) fn resident(item: &Item, device: &Device) -> Result<Seconds, Failure> {
    let model = item.config().init_seeded(device, 1).with_precision(item.precision);
    let [d, h, w] = item.window_zyx;
    let input = Tensor::<5>::from_data(TensorData::new(window(item), [1, 1, d, h, w]), device);
    Seconds::of(|| wait(model.forward(input.clone())))
}

/// Loss, gradients and update on one crop of a synthetic volume.
pub(crate) fn step(item: &Item, device: &Device) -> Result<Seconds, Failure> {
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
    let (model, _) = select_modules(item.config().init_seeded(&device, 1), Modules::All)?;
    let mut model = model.with_precision(item.precision);
    let mut optimiser = AdamW::new(&OptimiserConfig::default(), &model);
    Seconds::of(|| {
        let t = BatchTensors::new(batch.clone(), &device);
        let logits = model.forward_logits(t.input);
        let loss: Tensor<1> =
            loss_of_logits(LossKind::WeightedMse, logits, t.affinities, t.weights, t.normaliser);
        let mut gradients = loss.backward();
        let named = NamedGradients::take(&model, &mut gradients);
        let norm = named.norm()?;
        model = optimiser.step(model.clone(), named, norm, 1e-4);
        // The update was asked for last: what is read behind it waits for it.
        wait(loss.inner() * 1.0)
    })
}
