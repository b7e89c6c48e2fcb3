//! Training a part of the network: which parameters the optimiser sees.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::Tensor;
use tu_model::EmMamba;
use tu_model::names::parameter_names;

use super::config::Modules;
use crate::training::TrainError;

/// Marks the chosen groups (and the head) as trained and freezes the rest.
///
/// # Errors
/// A chosen group has no parameters.
pub fn select_modules(model: EmMamba, modules: Modules) -> Result<(EmMamba, usize), TrainError> {
    struct Select<'a>(&'a HashMap<ParamId, String>, Modules);
    impl ModuleMapper for Select<'_> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let trained = self.0.get(&param.id).is_some_and(|name| self.1.trains(name));
            param.set_require_grad(trained)
        }
    }
    let parameters = parameter_names(&model);
    let trained: usize = parameters
        .iter()
        .filter(|(name, _, _)| modules.trains(name))
        .map(|(_, shape, _)| shape.iter().product::<usize>())
        .sum();
    let beyond_head = parameters.iter().any(|(name, _, _)| modules.trains(name) && !name.starts_with("out."));
    if !beyond_head {
        return Err(TrainError::Config(format!(
            "modules = {modules:?} matches no parameter of this network"
        )));
    }
    let names = parameters.into_iter().map(|(name, _, id)| (id, name)).collect();
    Ok((model.map(&mut Select(&names, modules)), trained))
}
