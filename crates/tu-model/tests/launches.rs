//! How many kernels a pass through the network launches, burn's included: on a large GPU small networks take as long as their
//! launches do.
#![cfg(all(feature = "wgpu", feature = "flex", feature = "autodiff", not(target_arch = "wasm32")))]

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use burn::tensor::{Device, Tensor, TensorData};
use tu_kernels::cube::{Launched, observe};
use tu_model::{EmMamba, EmMambaConfig, ModelMetadata, Network, Preset};

/// Most launches of a forward pass of `tiny`. The 8 Mamba layers take 10 each, the rest are convolutions with their
/// normalisation, and what burn needs to rearrange volumes.
const FORWARD: u64 = 293;
/// Most launches of a forward and a backward pass of `tiny` in training, without the optimiser.
const TRAINING: u64 = 1_171;

const WINDOW_ZYX: [usize; 3] = [4, 64, 64];

/// The adapter, one test at a time, so that the launches counted are its own; `None` without an adapter.
fn adapter() -> Option<(Device, MutexGuard<'static, ()>)> {
    static ONE: Mutex<()> = Mutex::new(());
    static OPENED: OnceLock<Result<Device, String>> = OnceLock::new();
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let opened = OPENED.get_or_init(|| Device::wgpu_options().init().map_err(|error| format!("{error:?}")));
    match opened {
        Ok(device) => Some((device.clone(), guard)),
        Err(error) => {
            eprintln!(
                "SKIPPED: no wgpu adapter ({error}); install a Vulkan driver such as mesa-vulkan-drivers"
            );
            None
        }
    }
}

fn window([d, h, w]: [usize; 3]) -> Vec<f32> {
    (0..d * h * w).map(|i| ((i * 61) % 127) as f32 / 127.0).collect()
}

fn tiny(device: &Device) -> EmMamba {
    EmMambaConfig::preset(Preset::Tiny).init_seeded(device, 1)
}

/// For the log: what a change made of the launches.
fn print(name: &str, launched: &Launched) {
    eprintln!("{name}: {} launches, {} pipelines", launched.total(), launched.pipelines);
    for (kernel, count) in &launched.by_kernel {
        eprintln!("{count:6} {kernel}");
    }
}

#[test]
fn a_forward_pass_of_tiny_takes_few_launches() {
    let Some((device, _guard)) = adapter() else { return };
    let config = EmMambaConfig::preset(Preset::Tiny);
    let network = Network::new(tiny(&device), ModelMetadata::for_affinities(config, [10.0; 3]), &device);
    let pass = || network.affinities_blocking(window(WINDOW_ZYX), WINDOW_ZYX).unwrap();
    pass();
    let (_, launched) = observe(pass);
    print("a forward pass of tiny", &launched);
    assert!(launched.total() <= FORWARD, "{}", launched.total());
}

/// What a network computes once does not depend on the size of a window.
#[test]
fn a_second_window_size_packs_nothing_and_gives_what_an_unprepared_network_gives() {
    let Some((device, _guard)) = adapter() else { return };
    let config = EmMambaConfig::preset(Preset::Tiny);
    let metadata = ModelMetadata::for_affinities(config, [10.0; 3]);
    let network = Network::new(tiny(&device), metadata, &device);
    for shape_zyx in [WINDOW_ZYX, [3, 32, 48]] {
        let (found, launched) =
            observe(|| network.affinities_blocking(window(shape_zyx), shape_zyx).unwrap());
        assert_eq!(launched.of("pack_weights"), 0);
        let [d, h, w] = shape_zyx;
        let expected = |device: &Device| {
            let input = TensorData::new(window(shape_zyx), [1, 1, d, h, w]);
            let output = tiny(device).forward(Tensor::from_data(input, device));
            output.into_data().try_into_vec::<f32>().unwrap()
        };
        for (name, expected, limit) in
            [("unprepared", expected(&device), 1e-5), ("CPU", expected(&Device::flex()), 1e-4)]
        {
            assert_eq!(found.len(), expected.len());
            let difference = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(difference < limit, "{name}, {shape_zyx:?}: {difference:e}");
        }
    }
}

#[test]
fn a_training_step_of_tiny_takes_few_launches() {
    let Some((device, _guard)) = adapter() else { return };
    let device = device.autodiff();
    let network = burn::module::Module::train(tiny(&device));
    let [d, h, w] = WINDOW_ZYX;
    let input: Tensor<5> = Tensor::from_data(TensorData::new(window(WINDOW_ZYX), [1, 1, d, h, w]), &device);
    let pass = || {
        let gradients = network.forward_logits(input.clone()).square().mean().backward();
        let found = network.encoder1.conv1.weight.grad(&gradients).unwrap();
        assert!(found.into_data().iter::<f32>().all(f32::is_finite));
    };
    pass();
    let ((), launched) = observe(pass);
    print("a forward and a backward pass of tiny", &launched);
    assert!(launched.total() <= TRAINING, "{}", launched.total());
}
