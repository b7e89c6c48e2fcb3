//! Parameters under names that outlive the process: burn's own ids differ from run to run.

use std::collections::HashMap;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::{Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use tu_model::EmMamba;
use tu_model::names::parameter_names;

use super::TrainError;

/// A module whose parameters have names.
pub trait NamedModule: Module {
    /// Name, shape and id of every parameter, in the module's own order.
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)>;
}

/// The names of the published checkpoints.
impl NamedModule for EmMamba {
    fn parameters(&self) -> Vec<(String, Vec<usize>, ParamId)> {
        parameter_names(self)
    }
}

/// Name, shape and id of every parameter of a module, named by `prefix` and the path of its fields.
pub(crate) fn module_paths<M: Module>(module: &M, prefix: &str) -> Vec<(String, Vec<usize>, ParamId)> {
    struct Paths(Vec<String>, Vec<(String, Vec<usize>, ParamId)>);
    impl ModuleVisitor for Paths {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((self.0.join("."), param.val().dims().to_vec(), param.id));
        }
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }
    }
    let mut paths = Paths(vec![prefix.to_owned()], Vec::new());
    module.visit(&mut paths);
    paths.1
}

/// A module's parameters as safetensors, f32.
///
/// # Errors
/// The device fails while a parameter is read.
pub(crate) fn to_safetensors<M: NamedModule>(module: &M) -> Result<Vec<u8>, TrainError> {
    struct Values(HashMap<ParamId, Result<Vec<u8>, String>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let data = param.val().try_into_data().map_err(|e| format!("{e:?}"));
            let bytes = data.map(|data| data.iter::<f32>().flat_map(f32::to_le_bytes).collect());
            self.0.insert(param.id, bytes);
        }
    }
    let mut values = Values(HashMap::new());
    module.visit(&mut values);
    let mut encoded = Vec::new();
    for (name, shape, id) in module.parameters() {
        let Some(bytes) = values.0.remove(&id) else { continue };
        let bytes = bytes.map_err(|e| TrainError::Device(format!("reading the parameters ({e})")))?;
        encoded.push((name, shape, bytes));
    }
    let unwritable = |e: safetensors::SafeTensorError| TrainError::Model {
        input: "parameters of a checkpoint".into(),
        cause: e.to_string(),
    };
    let views: Result<Vec<(&str, TensorView<'_>)>, _> = encoded
        .iter()
        .map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    safetensors::serialize(views.map_err(unwritable)?, None).map_err(unwritable)
}

/// The module with the values that [`to_safetensors`] wrote.
///
/// # Errors
/// A parameter is missing, or has another shape.
pub(crate) fn from_safetensors<M: NamedModule>(
    module: M,
    bytes: &[u8],
    input: &str,
) -> Result<M, TrainError> {
    let wrong = |cause: String| TrainError::Model { input: input.into(), cause };
    let tensors = SafeTensors::deserialize(bytes).map_err(|e| wrong(e.to_string()))?;
    let mut values = HashMap::new();
    for (name, shape, id) in module.parameters() {
        let view = tensors.tensor(&name).map_err(|_| wrong(format!("`{name}` is missing")))?;
        if view.dtype() != Dtype::F32 || view.shape() != shape {
            return Err(wrong(format!("`{name}` is {:?} instead of {shape:?}", view.shape())));
        }
        let floats: Vec<f32> =
            view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        values.insert(id, TensorData::new(floats, shape));
    }
    Ok(module.map(&mut Replace(values)))
}

/// Gives the parameters with these ids new values; what is trained stays trained.
pub(super) struct Replace(pub(super) HashMap<ParamId, TensorData>);

impl ModuleMapper for Replace {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.remove(&param.id) {
            Some(data) => {
                let trained = param.is_require_grad();
                param.map(|old| Tensor::from_data(data, &old.device())).set_require_grad(trained)
            }
            None => param,
        }
    }
}
