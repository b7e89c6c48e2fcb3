//! BYOL (Grill et al., NeurIPS 2020): an online network predicts what a target network, its own moving average, makes of
//! another view of the same crop.
//!
//! ```text
//! y = f(v)  decoder features, mean over each token          z = g(y)  projection          q(z)  prediction
//! L = ½ Σ over both orders of (1/K) Σ_t [2 − 2 cos(q(g(f(v)))_t, g̅(f̅(v'))_t)]
//! f̅, g̅ ← m f̅, g̅ + (1 − m) f, g after every step,  m rises from 0.996 to 1
//! ```
//! Two deliberate differences from the paper. Vectors are compared token by token and not one per image: instance
//! normalisation takes a crop's mean away, and segmentation needs places told apart. And the maps g and q normalise over
//! channels (LayerNorm), since a batch holds few crops (Richemond et al. 2020 do without batch statistics as well).

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};
use tu_kernels::gelu;
use tu_model::EmMamba;
use tu_model::initialiser::Initialiser;
use tu_model::layers::Linear;
use tu_model::layers::norm::LayerNorm;
use tu_model::names::parameter_names;

use super::{PretrainingNetwork, TokenGrid, ViewPair};
use crate::training::{
    NamedModule, TrainError, check_momentum, from_safetensors, module_paths, moving_average, to_safetensors,
};

/// Sizes and momentum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ByolConfig {
    /// m at the start of the run. Default: 0.996.
    pub momentum: f64,
    /// Inner width of projection and prediction. Default: 1024.
    pub hidden: usize,
    /// Width of what is compared. Default: 256.
    pub width: usize,
}

impl Default for ByolConfig {
    fn default() -> Self {
        Self { momentum: 0.996, hidden: 1024, width: 256 }
    }
}

impl ByolConfig {
    /// Checks every value against its range.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        check_momentum("byol.momentum", self.momentum)?;
        if (1..=16_384).contains(&self.hidden) && (2..=8192).contains(&self.width) {
            return Ok(());
        }
        Err(TrainError::Config("byol: hidden must lie in 1..16384, width in 2..8192".into()))
    }
}

/// Two linear maps with a normalisation and a GELU in between.
#[derive(Module, Debug)]
pub struct Projection {
    /// To the inner width.
    pub expand: Linear,
    /// Over the inner width.
    pub norm: LayerNorm,
    /// To the width that is compared.
    pub contract: Linear,
}

impl Projection {
    fn new(input: usize, config: &ByolConfig, init: &mut Initialiser) -> Self {
        Self {
            expand: Linear::new(input, config.hidden, init),
            norm: LayerNorm::new(config.hidden, init),
            contract: Linear::new(config.hidden, config.width, init),
        }
    }

    /// `[B, K, in]` to `[B, K, W]`.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.contract.forward(gelu(self.norm.forward(self.expand.forward(x))))
    }
}

impl NamedModule for Projection {
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        module_paths(self, "projector")
    }
}

/// What the online network has beside EMmamba.
#[derive(Module, Debug)]
pub struct ByolHeads {
    /// g.
    pub projector: Projection,
    /// q.
    pub predictor: Projection,
}

impl ByolHeads {
    /// Heads for `features` channels with random weights.
    pub fn new(config: &ByolConfig, features: usize, init: &mut Initialiser) -> Self {
        Self {
            projector: Projection::new(features, config, init),
            predictor: Projection::new(config.width, config, init),
        }
    }
}

impl NamedModule for ByolHeads {
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        module_paths(self, "byol")
    }
}

/// The target network: f̅ and g̅, without gradients.
#[derive(Module, Debug)]
pub struct ByolTarget {
    network: EmMamba,
    projector: Projection,
}

impl NamedModule for ByolTarget {
    /// The network's published names behind `target.`, then the projector.
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        let mut parameters = parameter_names(&self.network);
        parameters.iter_mut().for_each(|(name, ..)| name.insert_str(0, "target."));
        parameters.extend(self.projector.parameters());
        parameters
    }
}

impl ByolTarget {
    /// A target that equals the online network; none for a network without the heads.
    #[must_use]
    pub fn of(model: &PretrainingNetwork) -> Option<Self> {
        let projector = model.byol.as_ref()?.projector.valid();
        Some(Self { network: model.network.valid(), projector }.map(&mut Freeze))
    }

    /// The target after it has moved towards the online network.
    #[must_use]
    pub fn follow(self, model: &PretrainingNetwork, momentum: f64) -> Self {
        let Some(heads) = &model.byol else { return self };
        Self {
            network: moving_average(self.network, &model.network, momentum),
            projector: moving_average(self.projector, &heads.projector, momentum),
        }
    }

    /// As safetensors, f32.
    ///
    /// # Errors
    /// The device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        to_safetensors(self)
    }

    /// What [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes belong to another network.
    pub fn load(self, bytes: &[u8]) -> Result<Self, TrainError> {
        from_safetensors(self, bytes, "target network of the checkpoint")
    }
}

struct Freeze;

impl ModuleMapper for Freeze {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.set_require_grad(false)
    }
}

/// The loss of a pair of views and how far the target's descriptions of tokens lie apart (0: all alike), each `[1]`;
/// `device` is the one with gradients.
///
/// A loss near 0 with a spread near 0 is collapse: every token is described by the same direction.
pub fn loss(
    grid: &TokenGrid,
    model: &PretrainingNetwork,
    heads: &ByolHeads,
    target: &ByolTarget,
    views: &ViewPair,
    device: &Device,
) -> (Tensor<1>, Tensor<1>) {
    let [d, h, w] = grid.crop_zyx();
    let samples = views.inputs[0].len() / (d * h * w);
    let input = |index: usize, device: &Device| {
        let data = TensorData::new(views.inputs[index].clone(), [samples, 1, d, h, w]);
        Tensor::<5>::from_data(data, device)
    };
    let plain = device.clone().without_autodiff();
    let online = [0, 1].map(|view| {
        let features = grid.pool_tensor(model.network.forward_features(input(view, device)));
        heads.predictor.forward(heads.projector.forward(features))
    });
    let wanted = [0, 1].map(|view| {
        let features = grid.pool_tensor(target.network.forward_features(input(view, &plain)));
        target.projector.forward(features)
    });
    let places: Vec<i64> = views.places.iter().map(|place| *place as i64).collect();
    let places = Tensor::<1, Int>::from_data(TensorData::new(places, [views.places.len()]), device);
    // In the order of the second view's tokens.
    let [first, second] = online;
    let [wanted_first, wanted_second] = wanted;
    let spread = spread(wanted_second.clone().inner());
    let one = disagreement(first.select(1, places.clone()), wanted_second);
    let other = disagreement(second, wanted_first.select(1, places));
    ((one + other).mul_scalar(0.5), spread)
}

/// Vectors of `[B, K, W]` at length 1.
fn unit(x: Tensor<3>) -> Tensor<3> {
    x.clone() / x.square().sum_dim(2).add_scalar(1e-12).sqrt()
}

/// 1 − ‖mean over all tokens of z/‖z‖‖², for `[B, K, W]`.
fn spread(z: Tensor<3>) -> Tensor<1> {
    let [b, k, w] = z.dims();
    let mean = unit(z).reshape([b * k, w]).mean_dim(0);
    mean.square().sum().mul_scalar(-1.0).add_scalar(1.0)
}

/// Mean over tokens of 2 − 2 cos(a, b), for `[B, K, W]`.
fn disagreement(a: Tensor<3>, b: Tensor<3>) -> Tensor<1> {
    (unit(a) * unit(b)).sum_dim(2).mul_scalar(-2.0).add_scalar(2.0).mean()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disagreement_is_zero_for_the_same_direction_two_across_and_four_for_the_opposite() {
        let tensor = |values: [f32; 6]| {
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), [1, 3, 2]), &Device::flex())
        };
        let a = tensor([1.0, 0.0, 0.0, 2.0, 3.0, 0.0]);
        let b = tensor([5.0, 0.0, 7.0, 0.0, -1.0, 0.0]);
        // Tokens: 0, 2 and 4.
        assert!((disagreement(a.clone(), b).into_scalar::<f32>() - 2.0).abs() < 1e-5);
        assert!(disagreement(a.clone(), a.mul_scalar(3.0)).into_scalar::<f32>().abs() < 1e-5);
    }

    #[test]
    fn the_spread_is_zero_for_one_direction_and_one_for_opposite_ones() {
        let tensor = |values: [f32; 8]| {
            Tensor::<3>::from_data(TensorData::new(values.to_vec(), [2, 2, 2]), &Device::flex())
        };
        let of = |values| spread(tensor(values)).into_scalar::<f32>();
        assert!(of([1.0, 2.0, 2.0, 4.0, 0.5, 1.0, 3.0, 6.0]).abs() < 1e-5);
        assert!((of([1.0, 0.0, -2.0, 0.0, 0.0, 3.0, 0.0, -1.0]) - 1.0).abs() < 1e-5);
        assert!((of([1.0, 0.0, 1.0, 0.0, 0.0, 3.0, 0.0, 1.0]) - 0.5).abs() < 1e-5);
    }
}
