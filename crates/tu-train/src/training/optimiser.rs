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
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{NamedModule, OptimiserConfig, TrainError};

struct Moments {
    first: Tensor<1>,
    second: Tensor<1>,
}

/// AdamW with its state.
pub struct AdamW {
    config: OptimiserConfig,
    names: HashMap<ParamId, String>,
    moments: BTreeMap<String, Moments>,
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
        let places: HashMap<ParamId, usize> =
            self.0.iter().enumerate().map(|(i, (id, _))| (*id, i)).collect();
        for (id, gradient) in other.0 {
            match places.get(&id) {
                Some(&place) => self.0[place].1 = self.0[place].1.clone() + gradient,
                None => self.0.push((id, gradient)),
            }
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
        if self.0.is_empty() {
            return Ok(0.0);
        }
        let squares = self.0.iter().map(|(_, g)| g.clone().square().sum()).collect();
        let data = Tensor::<1>::cat(squares, 0)
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
        Self { config: config.clone(), names, moments: BTreeMap::new(), steps: 0 }
    }

    /// Steps taken.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Names of the parameters that have state, sorted.
    #[must_use]
    pub fn state_names(&self) -> Vec<&str> {
        self.moments.keys().map(String::as_str).collect()
    }

    /// One step. `norm` is the gradients' norm as [`NamedGradients::norm`] gave it.
    #[must_use]
    pub fn step<M: NamedModule>(&mut self, model: M, gradients: NamedGradients, norm: f64, lr: f64) -> M {
        self.steps += 1;
        let c = &self.config;
        let scale = if c.clip_norm > 0.0 && norm > c.clip_norm { c.clip_norm / norm } else { 1.0 };
        let t = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let mut update = Update {
            gradients: gradients.0.into_iter().collect(),
            names: &self.names,
            moments: &mut self.moments,
            scale,
            lr,
            config: c,
            first_correction: 1.0 - c.beta1.powi(t),
            second_correction: 1.0 - c.beta2.powi(t),
        };
        model.map(&mut update)
    }

    /// State as safetensors: `first.<name>` and `second.<name>`, f32.
    ///
    /// # Errors
    /// The device fails while a moment is read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        let mut encoded: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
        for (name, moments) in &self.moments {
            for (kind, tensor) in [("first", &moments.first), ("second", &moments.second)] {
                let data = tensor
                    .clone()
                    .try_into_data()
                    .map_err(|e| TrainError::Device(format!("reading the optimiser's state ({e:?})")))?;
                let bytes = data.iter::<f32>().flat_map(f32::to_le_bytes).collect();
                encoded.push((format!("{kind}.{name}"), tensor.dims().to_vec(), bytes));
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
        self.moments.clear();
        let plain = device.clone().without_autodiff();
        for key in tensors.names() {
            let Some(name) = key.strip_prefix("first.") else { continue };
            let size = *sizes.get(name).ok_or_else(|| wrong(format!("`{name}` is not in this network")))?;
            let read = |kind: &str| -> Result<Tensor<1>, TrainError> {
                let view = tensors.tensor(&format!("{kind}.{name}")).map_err(|e| wrong(e.to_string()))?;
                if view.dtype() != Dtype::F32 || view.data().len() != 4 * size {
                    return Err(wrong(format!("`{kind}.{name}` does not have {size} values")));
                }
                let values: Vec<f32> = view
                    .data()
                    .chunks_exact(4)
                    .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
                    .collect();
                Ok(Tensor::from_data(TensorData::new(values, [size]), &plain))
            };
            let moments = Moments { first: read("first")?, second: read("second")? };
            self.moments.insert(name.to_string(), moments);
        }
        Ok(())
    }
}

struct Update<'a> {
    gradients: HashMap<ParamId, Tensor<1>>,
    names: &'a HashMap<ParamId, String>,
    moments: &'a mut BTreeMap<String, Moments>,
    scale: f64,
    lr: f64,
    config: &'a OptimiserConfig,
    first_correction: f64,
    second_correction: f64,
}

impl ModuleMapper for Update<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.remove(&param.id) else { return param };
        let Some(name) = self.names.get(&param.id) else { return param };
        let c = self.config;
        let gradient = if self.scale == 1.0 { gradient } else { gradient.mul_scalar(self.scale) };
        let (old_first, old_second) = match self.moments.remove(name) {
            Some(moments) => (moments.first, moments.second),
            None => (gradient.zeros_like(), gradient.zeros_like()),
        };
        let first = old_first.mul_scalar(c.beta1) + gradient.clone().mul_scalar(1.0 - c.beta1);
        let second = old_second.mul_scalar(c.beta2) + gradient.square().mul_scalar(1.0 - c.beta2);
        let root = second.clone().div_scalar(self.second_correction).sqrt().add_scalar(c.epsilon);
        let direction = first.clone().mul_scalar(self.lr / self.first_correction) / root;
        let decay = if decays(name, D) { self.lr * c.weight_decay } else { 0.0 };
        self.moments.insert(name.clone(), Moments { first, second });
        param.map(|tensor| {
            let shape = tensor.dims();
            let association = tensor.clone().into_dispatch().autodiff;
            let value = tensor.inner().mul_scalar(1.0 - decay) - direction.reshape(shape);
            // A tensor that comes back to autodiff has lost its device's choice of checkpointing.
            let mut value = Tensor::<D>::from_inner(value).into_dispatch();
            value.autodiff = association;
            Tensor::from_dispatch(value).require_grad()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
