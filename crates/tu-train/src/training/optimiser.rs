//! AdamW on named parameters (Loshchilov and Hutter, decoupled weight decay), with the norm of all gradients clipped
//! before the step:
//!
//! g ← g · min(1, c/‖g‖);  m ← β₁m + (1−β₁)g;  v ← β₂v + (1−β₂)g²;
//! θ ← (1 − η·λ)θ − η · (m/(1−β₁ᵗ)) / (√(v/(1−β₂ᵗ)) + ε)
//!
//! Decay λ is 0 for biases, 1-D tensors, `A_log*`, `D*` and the time-step bias. Moments live on the device and are
//! stored under the parameters' official names, so that a checkpoint does not depend on ids inside burn.

use std::collections::{BTreeMap, HashMap};

use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Device, Gradients, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tu_kernels::adamw::{AdamwStep, square_sums, weighted_sums};

use super::moments::{MomentPages, Trained};
use super::{NamedModule, OptimiserConfig, TrainError};

/// AdamW with its state.
pub struct AdamW {
    config: OptimiserConfig,
    names: HashMap<ParamId, String>,
    moments: MomentPages,
    steps: u64,
}

/// Gradients of the trained parameters, flattened, in network order.
#[derive(Default)]
pub struct NamedGradients(Vec<(ParamId, Tensor<1>)>);

/// Whether weight decay applies to a parameter.
#[must_use]
pub fn decays(official_name: &str, dimensions: usize) -> bool {
    let last = official_name.rsplit('.').next().unwrap_or_default();
    dimensions > 1
        && last != "bias"
        && !(last.starts_with("A_") && last.ends_with("log"))
        && !last.starts_with('D')
}

impl NamedGradients {
    /// Takes the gradients of `model`'s trained parameters.
    pub fn take<M: NamedModule>(model: &M, gradients: &mut Gradients) -> Self {
        struct Take<'a>(&'a mut Gradients, Vec<(ParamId, Tensor<1>)>);
        impl ModuleVisitor for Take<'_> {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                if !param.is_require_grad() {
                    return;
                }
                if let Some(gradient) = param.val().grad_remove(self.0) {
                    self.1.push((param.id, gradient.flatten(0, D - 1)));
                }
            }
        }
        let mut take = Take(gradients, Vec::new());
        model.visit(&mut take);
        Self(take.1)
    }

    /// Adds other gradients of the same network; a parameter that only one side has keeps its value.
    ///
    /// The order is that of `self`, then of `other`, never that of a hash map: sums over it repeat to the bit.
    pub fn add(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
            return;
        }
        let places: HashMap<ParamId, usize> =
            self.0.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
        let (mut common, mut pairs) = (Vec::new(), Vec::new());
        for (id, gradient) in other.0 {
            match places.get(&id) {
                Some(&place) => {
                    common.push(place);
                    pairs.push((self.0[place].1.clone(), gradient));
                }
                None => self.0.push((id, gradient)),
            }
        }
        for (place, sum) in common.into_iter().zip(weighted_sums(pairs, [1.0, 1.0])) {
            self.0[place].1 = sum;
        }
    }

    /// The gradients on another device.
    #[must_use]
    pub fn on(self, device: &Device) -> Self {
        Self(self.0.into_iter().map(|(id, gradient)| (id, gradient.to_device(device))).collect())
    }

    /// Whether a parameter has a gradient.
    #[must_use]
    pub fn has(&self, id: ParamId) -> bool {
        self.0.iter().any(|(known, _)| *known == id)
    }

    /// Euclidean norm of all gradients together.
    ///
    /// # Errors
    /// The device fails.
    pub fn norm(&self) -> Result<f64, TrainError> {
        let gradients = self.0.iter().map(|(_, gradient)| gradient.clone()).collect();
        let Some(sums) = square_sums(gradients) else { return Ok(0.0) };
        let data = sums
            .try_into_data()
            .map_err(|e| TrainError::Device(format!("reading the gradient norm ({e:?})")))?;
        Ok(data.iter::<f32>().map(f64::from).sum::<f64>().sqrt())
    }
}

impl AdamW {
    /// A fresh optimiser for `model`.
    #[must_use]
    pub fn new<M: NamedModule>(config: &OptimiserConfig, model: &M) -> Self {
        let names = model.parameters().into_iter().map(|(name, _, id)| (id, name)).collect();
        Self { config: config.clone(), names, moments: MomentPages::default(), steps: 0 }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Names of the parameters that have state, sorted.
    #[must_use]
    pub fn state_names(&self) -> Vec<&str> {
        self.moments.names()
    }

    /// One step. `norm` is the gradients' norm as [`NamedGradients::norm`] gave it.
    #[must_use]
    pub fn step<M: NamedModule>(&mut self, model: M, gradients: NamedGradients, norm: f64, lr: f64) -> M {
        self.steps += 1;
        let c = &self.config;
        let step = AdamwStep {
            clip: if c.clip_norm > 0.0 && norm > c.clip_norm { c.clip_norm / norm } else { 1.0 },
            learning_rate: lr,
            betas: [c.beta1, c.beta2],
            epsilon: c.epsilon,
            step: self.steps,
        };
        let mut collect = Collect {
            gradients: gradients.0.into_iter().collect(),
            names: &self.names,
            decay: lr * c.weight_decay,
            ids: Vec::new(),
            trained: Vec::new(),
        };
        model.visit(&mut collect);
        let Collect { ids, trained, .. } = collect;
        let values = self.moments.step(trained, &step);
        model.map(&mut Update(ids.into_iter().zip(values).collect()))
    }

    /// State as safetensors: `first.<name>` and `second.<name>`, f32.
    ///
    /// # Errors
    /// The device fails while a moment is read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let mut encoded: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, moments) in self.moments.read()? {
            for (kind, values) in ["first", "second"].into_iter().zip(moments) {
                let (shape, bytes) = (vec![values.len()], values.into_iter().flat_map(f32::to_le_bytes));
                encoded.push((format!("{kind}.{name}"), shape, bytes.collect()));
            }
        }
        let unwritable = |e: safetensors::SafeTensorError| TrainError::Model {
            input: "optimiser state".into(),
            cause: e.to_string(),
        };
        let views: Result<Vec<(&str, TensorView<'_>)>, _> = encoded
            .iter()
            .map(|(name, shape, bytes)| {
                Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?))
            })
            .collect();
        let header = HashMap::from([("steps".to_string(), self.steps.to_string())]);
        safetensors::serialize(views.map_err(unwritable)?, Some(header)).map_err(unwritable)
    }

    /// Restores what [`Self::to_bytes`] wrote, for the same network.
    ///
    /// # Errors
    /// The bytes are no optimiser state, or belong to another network.
    pub fn load<M: NamedModule>(
        &mut self,
        bytes: &[u8],
        model: &M,
        device: &Device,
    ) -> Result<(), TrainError> {
        let wrong = |cause: String| TrainError::Model { input: "optimiser state".into(), cause };
        let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| wrong(e.to_string()))?;
        let steps = header.metadata().as_ref().and_then(|m| m.get("steps")?.parse().ok());
        self.steps = steps.ok_or_else(|| wrong("the number of steps is missing".into()))?;
        let sizes: HashMap<String, usize> =
            model.parameters().into_iter().map(|(name, shape, _)| (name, shape.iter().product())).collect();
        let mut moments = BTreeMap::new();
        for key in tensors.names() {
            let Some(name) = key.strip_prefix("first.") else { continue };
            let size = *sizes.get(name).ok_or_else(|| wrong(format!("`{name}` is not in this network")))?;
            let read = |kind: &str| -> Result<Vec<f32>, TrainError> {
                let view = tensors.tensor(&format!("{kind}.{name}")).map_err(|e| wrong(e.to_string()))?;
                if view.dtype() != Dtype::F32 || view.data().len() != 4 * size {
                    return Err(wrong(format!("`{kind}.{name}` does not have {size} values")));
                }
                Ok(view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
            };
            moments.insert(name.to_string(), [read("first")?, read("second")?]);
        }
        self.moments = MomentPages::load(moments, &device.clone().without_autodiff());
        Ok(())
    }
}

/// Finds the parameters that have a gradient, in the order of the network.
struct Collect<'a> {
    gradients: HashMap<ParamId, Tensor<1>>,
    names: &'a HashMap<ParamId, String>,
    /// ηλ, where it applies.
    decay: f64,
    ids: Vec<ParamId>,
    trained: Vec<Trained>,
}

impl ModuleVisitor for Collect<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(name) = self.names.get(&param.id) else { return };
        let Some(gradient) = self.gradients.remove(&param.id) else { return };
        let value = param.val().inner().flatten(0, D - 1);
        let decay = if decays(name, D) { self.decay } else { 0.0 };
        self.ids.push(param.id);
        self.trained.push(Trained { name: name.clone(), value, gradient, decay });
    }
}

/// Gives parameters their new values; they stay what is trained.
struct Update(HashMap<ParamId, Tensor<1>>);

impl ModuleMapper for Update {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(value) = self.0.remove(&param.id) else { return param };
        param.map(|tensor| {
            let shape = tensor.dims();
            let association = tensor.into_dispatch().autodiff;
            // A tensor that comes back to autodiff has lost its device's choice of checkpointing.
            let mut value = Tensor::<D>::from_inner(value.reshape(shape)).into_dispatch();
            value.autodiff = association;
            Tensor::from_dispatch(value).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use tu_model::initialiser::Initialiser;
    use tu_model::layers::Linear;

    use super::*;
    use crate::training::module_paths;

    #[derive(Module, Debug)]
    struct Two {
        a: Linear,
        b: Linear,
    }

    impl NamedModule for Two {
        fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
            module_paths(self, "two")
        }
    }

    fn two(device: &Device) -> Two {
        let mut init = Initialiser::new(device, 1);
        Two { a: Linear::new(3, 2, &mut init), b: Linear::new(5, 7, &mut init) }
    }

    fn values(two: &Two) -> [Vec<f32>; 2] {
        [&two.a, &two.b].map(|linear| linear.weight.val().into_data().try_into_vec().unwrap())
    }

    /// Gradients of `a` and, if asked for, of `b`.
    fn gradients(two: &Two, with_b: bool) -> NamedGradients {
        let mut loss = two.a.weight.val().square().sum();
        if with_b {
            loss = loss + (two.b.weight.val() + 1.0).square().sum();
        }
        NamedGradients::take(two, &mut loss.backward())
    }

    fn step(optimiser: &mut AdamW, two: Two, with_b: bool) -> Two {
        let gradients = gradients(&two, with_b);
        let norm = gradients.norm().unwrap();
        optimiser.step(two, gradients, norm, 0.01)
    }

    #[test]
    fn a_parameter_without_a_gradient_stays_as_it_is_and_has_no_state() {
        let device = Device::flex().autodiff();
        let two = two(&device);
        let before = values(&two);
        let mut optimiser = AdamW::new(&OptimiserConfig::default(), &two);
        let after = step(&mut optimiser, two, false);
        assert_ne!(values(&after)[0], before[0]);
        assert_eq!(values(&after)[1], before[1]);
        assert_eq!(optimiser.state_names(), ["two.a.weight"]);
    }

    #[test]
    fn parameters_are_trained_and_checkpointed_as_their_device_says_after_a_step() {
        for device in [Device::flex().autodiff(), Device::flex().autodiff().gradient_checkpointing()] {
            let two = two(&device);
            let mut optimiser = AdamW::new(&OptimiserConfig::default(), &two);
            let after = step(&mut optimiser, two, true);
            let weight = after.b.weight.val();
            assert!(after.b.weight.is_require_grad() && weight.is_require_grad());
            let strategy = weight.device().gradient_checkpointing_strategy();
            assert_eq!(strategy, device.gradient_checkpointing_strategy());
            assert!(gradients(&after, true).has(after.b.weight.id));
        }
    }

    #[test]
    fn a_saved_state_goes_on_bit_by_bit_wherever_its_moments_lay() {
        let device = Device::flex().autodiff();
        let config = OptimiserConfig { clip_norm: 0.5, ..OptimiserConfig::default() };
        // `b` gets its first gradient later than `a`, so that their moments lie apart until they are loaded.
        let mut model = two(&device);
        let mut optimiser = AdamW::new(&config, &model);
        for with_b in [false, true, false] {
            model = step(&mut optimiser, model, with_b);
        }
        let state = optimiser.to_bytes().unwrap();
        let mut resumed = AdamW::new(&config, &model);
        resumed.load(&state, &model, &device).unwrap();
        assert_eq!(resumed.steps(), 3);
        assert_eq!(resumed.state_names(), ["two.a.weight", "two.b.weight"]);
        assert_eq!(resumed.to_bytes().unwrap(), state);
        let mut other = model.clone();
        for with_b in [true, false, true] {
            model = step(&mut optimiser, model, with_b);
            other = step(&mut resumed, other, with_b);
            assert_eq!(values(&model), values(&other));
        }
        assert_eq!(resumed.to_bytes().unwrap(), optimiser.to_bytes().unwrap());
    }

    #[test]
    fn gradients_of_passes_add_up_whoever_has_them() {
        let device = Device::flex().autodiff();
        let two = two(&device);
        let flat = |gradients: &NamedGradients| -> Vec<Vec<f32>> {
            gradients.0.iter().map(|(_, g)| g.clone().into_data().try_into_vec().unwrap()).collect()
        };
        let (both, one) = (gradients(&two, true), gradients(&two, false));
        let [a, b] = <[Vec<f32>; 2]>::try_from(flat(&both)).unwrap();
        let twice: Vec<f32> = a.iter().map(|g| g + g).collect();
        let mut sum = NamedGradients::default();
        sum.add(one);
        sum.add(both);
        assert_eq!(flat(&sum), [twice, b]);
    }

    #[test]
    fn biases_one_dimensional_tensors_and_state_space_parameters_do_not_decay() {
        for (name, dimensions) in [
            ("vit.stages.0.0.mamba.A_log", 2),
            ("vit.stages.0.0.mamba.A_b_log", 2),
            ("vit.stages.0.0.mamba.A_s_log", 2),
            ("vit.stages.0.0.mamba.D", 1),
            ("vit.stages.0.0.mamba.D_s", 1),
            ("vit.stages.0.0.mamba.dt_proj_b.bias", 1),
            ("vit.stages.0.0.norm.weight", 1),
            ("out.conv.conv.bias", 1),
        ] {
            assert!(!decays(name, dimensions), "{name}");
        }
        for (name, dimensions) in [
            ("vit.downsample_layers.0.0.weight", 5),
            ("vit.stages.0.0.mamba.dt_proj.weight", 2),
            ("decoder2.transp_conv.conv.weight", 5),
        ] {
            assert!(decays(name, dimensions), "{name}");
        }
    }
}
