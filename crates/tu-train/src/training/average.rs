//! Moving averages of parameters, θ̄ ← m θ̄ + (1 − m) θ: the weights that a run is judged by (Polyak and Juditsky 1992), and
//! target networks that follow an online one.

use std::collections::HashMap;

use burn::module::{ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use tu_kernels::adamw::weighted_sums;

use super::parameters::{from_safetensors, to_safetensors};
use super::{NamedModule, TrainError};

/// `average` moved towards `of`, a network under training; parameters pair up by name.
///
/// A new value is computed in f32, in the order of the parameters: the same inputs give the same bits.
#[must_use]
pub fn moving_average<M: NamedModule>(average: M, of: &M, momentum: f64) -> M {
    /// Values by name.
    struct Take<'a>(&'a HashMap<ParamId, String>, HashMap<String, Tensor<1>>);
    impl ModuleVisitor for Take<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(name) = self.0.get(&param.id) {
                self.1.insert(name.clone(), param.val().inner().flatten(0, D - 1));
            }
        }
    }
    struct Move(HashMap<ParamId, Tensor<1>>);
    impl ModuleMapper for Move {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let Some(new) = self.0.remove(&param.id) else { return param };
            param.map(|old| new.reshape(old.dims()))
        }
    }
    let take = |module: &M| {
        let names: HashMap<ParamId, String> =
            module.parameters().into_iter().map(|(name, _, id)| (id, name)).collect();
        let mut take = Take(&names, HashMap::new());
        module.visit(&mut take);
        take.1
    };
    let (mut old, mut new) = (take(&average), take(of));
    let (mut ids, mut pairs) = (Vec::new(), Vec::new());
    for (name, _, id) in average.parameters() {
        if let (Some(old), Some(new)) = (old.remove(&name), new.remove(&name)) {
            ids.push(id);
            pairs.push((old, new));
        }
    }
    let moved = weighted_sums(pairs, [momentum, 1.0 - momentum]);
    average.map(&mut Move(ids.into_iter().zip(moved).collect()))
}

/// The average of a network's weights over a run.
///
/// The momentum rises to its set value, m_t = min(m, (1 + t)/(10 + t)) after t steps, so that a short run does not keep
/// its random beginning.
#[derive(Debug)]
pub struct WeightAverage<M> {
    momentum: f64,
    average: M,
}

impl<M: NamedModule> WeightAverage<M> {
    /// An average that begins at the network's weights.
    #[must_use]
    pub fn new(model: &M, momentum: f64) -> Self {
        Self { momentum, average: model.valid() }
    }

    /// Takes the network's weights in after `steps` steps in all.
    #[must_use]
    pub fn follow(self, model: &M, steps: u64) -> Self {
        let rising = (1.0 + steps as f64) / (10.0 + steps as f64);
        let momentum = self.momentum.min(rising);
        Self { average: moving_average(self.average, model, momentum), ..self }
    }

    /// The averaged network, without gradients.
    #[must_use]
    pub fn network(&self) -> &M {
        &self.average
    }

    /// The average as safetensors.
    ///
    /// # Errors
    /// The device fails.
    pub fn to_bytes(&self) -> Result<Vec<u8>, TrainError> {
        to_safetensors(&self.average)
    }

    /// Restores what [`Self::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes belong to another network.
    pub fn load(self, bytes: &[u8]) -> Result<Self, TrainError> {
        Ok(Self {
            average: from_safetensors(self.average, bytes, "averaged weights of the checkpoint")?,
            ..self
        })
    }
}

/// Refuses a momentum that keeps nothing or never moves.
///
/// # Errors
/// It lies outside 0 < m < 1.
pub fn check_momentum(setting: &str, momentum: f64) -> Result<(), TrainError> {
    if momentum > 0.0 && momentum < 1.0 {
        return Ok(());
    }
    Err(TrainError::Config(format!("{setting} is {momentum}; use a momentum between 0 and 1, as 0.999")))
}

/// The momentum of a target network in `step` of `steps`: from `base` to 1 on half a cosine (Grill et al. 2020).
#[must_use]
pub fn target_momentum(base: f64, step: u64, steps: u64) -> f64 {
    let progress = (step as f64 / steps.max(1) as f64).min(1.0);
    1.0 - (1.0 - base) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::module_paths;
    use burn::module::Module;
    use burn::tensor::Device;
    use tu_model::initialiser::Initialiser;
    use tu_model::layers::Linear;

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

    fn two(seed: u64) -> Two {
        let device = Device::flex().autodiff();
        let mut init = Initialiser::new(&device, seed);
        Two { a: Linear::new(3, 2, &mut init), b: Linear::new(2, 3, &mut init) }
    }

    fn values(two: &Two) -> Vec<f32> {
        let one = |linear: &Linear| linear.weight.val().into_data().try_into_vec::<f32>().unwrap();
        [one(&two.a), one(&two.b)].concat()
    }

    #[test]
    fn an_average_moves_by_its_share_towards_a_network_of_other_ids() {
        let (old, new) = (two(1), two(2));
        let moved = moving_average(old.valid(), &new, 0.75);
        for ((old, new), moved) in values(&old).iter().zip(values(&new)).zip(values(&moved)) {
            assert!((0.75 * old + 0.25 * new - moved).abs() < 1e-6);
        }
    }

    #[test]
    fn the_weights_average_forgets_its_beginning_and_survives_being_saved() {
        let (begin, end) = (two(1), two(2));
        let mut average = WeightAverage::new(&begin, 0.999);
        for step in 1..=60 {
            average = average.follow(&end, step);
        }
        let distance: f32 = values(average.network())
            .iter()
            .zip(values(&end))
            .map(|(a, b)| (a - b).abs())
            .fold(0.0, f32::max);
        assert!(distance < 1e-4, "{distance}: 0.999⁶⁰ alone would leave 94 %");
        let loaded = WeightAverage::new(&begin, 0.999).load(&average.to_bytes().unwrap()).unwrap();
        assert_eq!(values(loaded.network()), values(average.network()));
        let (a, b) = (average.follow(&begin, 61), loaded.follow(&begin, 61));
        assert_eq!(values(a.network()), values(b.network()));
    }

    #[test]
    fn the_momentum_of_a_target_rises_from_its_base_to_one() {
        assert!((target_momentum(0.996, 0, 100) - 0.996).abs() < 1e-12);
        assert!((target_momentum(0.996, 50, 100) - 0.998).abs() < 1e-12);
        assert!((target_momentum(0.996, 100, 100) - 1.0).abs() < 1e-12);
        assert!(check_momentum("ema", 1.0).unwrap_err().to_string().contains("ema"));
        assert!(check_momentum("ema", f64::NAN).is_err() && check_momentum("ema", 0.9).is_ok());
    }
}
