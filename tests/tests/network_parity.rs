//! The network against an independent implementation: `tests/python/emmamba_reference.py`, which wrote the
//! fixtures in f64, and against the names, shapes and totals of the published network.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "functions shared by tests are not recognised as tests; differences are printed for the log"
)]

use std::path::PathBuf;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::{Dtype, SafeTensors};
use tu_model::names::parameter_names;
use tu_model::{EmMamba, EmMambaConfig, Preset};

/// Largest difference allowed between two affinities.
const AFFINITY_TOLERANCE: f32 = 1e-4;

fn fixture(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What the reference computed for one network.
struct Expected {
    input: Vec<f32>,
    shape: [usize; 5],
    output: Vec<f32>,
    /// Parameter name and gradient of mean(output²).
    gradients: Vec<(String, Vec<f32>)>,
}

impl Expected {
    fn read(name: &str) -> Self {
        let bytes = fixture(name);
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let floats = |name: &str| -> Vec<f32> {
            let view = file.tensor(name).unwrap();
            assert_eq!(view.dtype(), Dtype::F32, "{name}");
            view.data().as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let input = file.tensor("test.input").unwrap();
        assert_eq!(input.dtype(), Dtype::U8);
        let parameters = file.names().into_iter().filter_map(|n| n.strip_prefix("test.grad."));
        let gradients = parameters.map(|p| (p.to_owned(), floats(&format!("test.grad.{p}")))).collect();
        Self {
            input: input.data().iter().map(|&v| f32::from(v) / 255.0).collect(),
            shape: input.shape().try_into().unwrap(),
            output: floats("test.output"),
            gradients,
        }
    }

    fn input_on(&self, device: &Device) -> Tensor<5> {
        Tensor::from_data(TensorData::new(self.input.clone(), self.shape), device)
    }
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn largest(values: impl Iterator<Item = f32>) -> f32 {
    values.fold(0.0, |largest, v| if v.is_nan() { f32::INFINITY } else { largest.max(v.abs()) })
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    largest(a.iter().zip(b).map(|(a, b)| a - b))
}

/// Asks for the gradients of all parameters; a loaded model asks for none.
fn tracked(model: EmMamba) -> EmMamba {
    struct Track;
    impl ModuleMapper for Track {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            param.set_require_grad(true)
        }
    }
    model.map(&mut Track)
}

/// Gradients of all parameters by published name; `None` for a parameter that the loss does not depend on.
fn gradients_by_name(model: &EmMamba, gradients: &Gradients) -> Vec<(String, Option<Vec<f32>>)> {
    struct Collect<'a>(&'a Gradients, Vec<Option<Vec<f32>>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push(param.val().grad(self.0).map(values));
        }
    }
    let mut collected = Collect(gradients, Vec::new());
    model.visit(&mut collected);
    parameter_names(model).into_iter().map(|(name, ..)| name).zip(collected.1).collect()
}

fn affinities_agree(model_file: &str, expected_file: &str) {
    let device = Device::flex();
    let (model, _) = tu_model::load(&fixture(model_file), &device).unwrap();
    let expected = Expected::read(expected_file);
    let difference = largest_difference(&values(model.forward(expected.input_on(&device))), &expected.output);
    println!("{model_file}: largest difference of affinities {difference:.1e}");
    assert!(difference <= AFFINITY_TOLERANCE, "{model_file}: affinities differ by {difference}");
}

/// Compares each gradient with the reference, relative to the largest value of that gradient.
fn gradients_agree(model_file: &str, expected_file: &str, tolerance: f32) {
    let device = Device::flex().autodiff();
    let model = tracked(tu_model::load(&fixture(model_file), &device).unwrap().0);
    let expected = Expected::read(expected_file);
    let loss = model.forward(expected.input_on(&device)).square().mean();
    let found = gradients_by_name(&model, &loss.backward());
    assert!(expected.gradients.len() > 20, "the fixture holds gradients of every kind of parameter");
    let mut worst = (0.0, "");
    for (name, gradient) in &expected.gradients {
        let (_, ours) =
            found.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no parameter {name}"));
        let ours = ours.as_ref().unwrap_or_else(|| panic!("{name} has no gradient"));
        let difference = largest_difference(ours, gradient) / largest(gradient.iter().copied());
        if difference > worst.0 {
            worst = (difference, name.as_str());
        }
    }
    println!("{model_file}: largest relative difference of gradients {:.1e} in {}", worst.0, worst.1);
    assert!(
        worst.0 <= tolerance,
        "{model_file}: the gradient of {} differs by {} of its size",
        worst.1,
        worst.0
    );
}

#[test]
fn affinities_with_z_kept_are_those_of_the_reference() {
    affinities_agree("emmamba_micro.safetensors", "emmamba_micro_io.safetensors");
}

#[test]
fn affinities_of_the_compatible_network_are_those_of_the_reference() {
    affinities_agree("emmamba_micro_compat.safetensors", "emmamba_micro_compat_io.safetensors");
}

#[test]
fn affinities_with_a_plan_for_z_are_those_of_the_reference() {
    affinities_agree("emmamba_micro_planned.safetensors", "emmamba_micro_planned_io.safetensors");
}

#[test]
fn gradients_with_a_plan_for_z_are_those_of_the_reference() {
    gradients_agree("emmamba_micro_planned.safetensors", "emmamba_micro_planned_io.safetensors", 1e-3);
}

#[test]
fn gradients_with_z_kept_are_those_of_the_reference() {
    gradients_agree("emmamba_micro.safetensors", "emmamba_micro_io.safetensors", 1e-3);
}

#[test]
fn gradients_of_the_compatible_network_are_those_of_the_reference() {
    // Without the residual the LayerNorms see small values and rounding grows until single voxels pass the kink
    // of a rectifier, which changes a gradient by a step: the same network in f32 and in f64 differs by up to 1 %.
    gradients_agree("emmamba_micro_compat.safetensors", "emmamba_micro_compat_io.safetensors", 2e-2);
}

#[test]
fn presets_have_the_parameter_totals_of_the_method() {
    // (preset, z kept, compatible); base and 1b in the compatible form are the totals of the published networks.
    let totals = [
        (Preset::Tiny, 1_786_035, 1_829_555),
        (Preset::Small, 3_835_235, 4_009_315),
        (Preset::Base, 27_599_811, 28_296_131),
        (Preset::M100, 109_749_123, 112_534_403),
        (Preset::M200, 201_883_459, 206_577_475),
        (Preset::M500, 483_652_963, 495_394_147),
        (Preset::B1, 983_841_411, 1_008_908_931),
    ];
    for (preset, kept, compatible) in totals {
        let config = EmMambaConfig::preset(preset);
        let name = preset.name();
        assert_eq!(config.parameter_count(), kept, "{name}, z kept");
        assert_eq!(config.compat().parameter_count(), compatible, "{name}, compatible");
    }
}

#[test]
fn counted_parameters_are_those_that_are_built() {
    let device = Device::flex();
    for preset in [Preset::Tiny, Preset::Small] {
        for config in [EmMambaConfig::preset(preset), EmMambaConfig::preset(preset).compat()] {
            let tensors = parameter_names(&config.init(&device));
            let built: usize = tensors.iter().map(|(_, shape, _)| shape.iter().product::<usize>()).sum();
            assert_eq!((tensors.len(), built), (291, config.parameter_count()), "{}", preset.name());
        }
    }
}

#[test]
fn names_and_shapes_are_those_of_the_published_network() {
    let listed = String::from_utf8(fixture("state_dict_28m.tsv")).unwrap();
    let mut listed: Vec<(String, Vec<usize>)> = listed
        .lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let (name, shape) = (fields.next().unwrap(), fields.next().unwrap());
            (name.to_owned(), shape.split('x').map(|n| n.parse().unwrap()).collect())
        })
        .collect();
    let model = EmMambaConfig::preset(Preset::Base).compat().init(&Device::flex());
    let mut ours: Vec<(String, Vec<usize>)> =
        parameter_names(&model).into_iter().map(|(name, shape, _)| (name, shape)).collect();
    listed.sort();
    ours.sort();
    assert_eq!(listed.len(), 291);
    for (ours, listed) in ours.iter().zip(&listed) {
        assert_eq!(ours, listed);
    }
    assert_eq!(ours.len(), listed.len());
}
