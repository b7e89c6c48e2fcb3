//! Parameters under the names of the published checkpoints.
//!
//! A module path such as `vit.stages.0.1.mamba.backward_direction.a_log` becomes
//! `vit.stages.0.1.mamba.A_b_log`; shapes are already the published ones.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

use crate::network::EmMamba;

/// One parameter: its published name, shape, burn id and (f32) values.
#[derive(Clone, Debug)]
pub struct NamedTensor {
    /// Published name.
    pub name: String,
    /// Shape, as in the published checkpoints.
    pub shape: Vec<usize>,
    /// The parameter's id inside burn, for optimiser groups.
    pub id: ParamId,
    /// Values in C order.
    pub values: Vec<f32>,
}

/// Name, shape and id of every parameter, in network order, without reading values back.
pub fn parameter_names(model: &EmMamba) -> Vec<(String, Vec<usize>, ParamId)> {
    struct Names(Vec<String>, Vec<(String, Vec<usize>, ParamId)>);
    impl ModuleVisitor for Names {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1.push((published_name(&self.0), param.val().dims().to_vec(), param.id));
        }
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }
    }
    let mut names = Names(Vec::new(), Vec::new());
    model.visit(&mut names);
    names.1
}

/// Every parameter with its values, in network order.  Reads back from the device: natively only.
pub fn named_tensors(model: &EmMamba) -> Vec<NamedTensor> {
    struct Values(Vec<Vec<f32>>);
    impl ModuleVisitor for Values {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.0.push(param.val().into_data().iter::<f32>().collect());
        }
    }
    let mut values = Values(Vec::new());
    model.visit(&mut values);
    parameter_names(model)
        .into_iter()
        .zip(values.0)
        .map(|((name, shape, id), values)| NamedTensor { name, shape, id, values })
        .collect()
}

/// Replaces parameters by what `value` gives for their published name and shape; `None` keeps a parameter.
pub(crate) fn replace_parameters(
    model: EmMamba,
    value: impl FnMut(&str, &[usize]) -> Option<burn::tensor::TensorData>,
) -> EmMamba {
    struct Replace<F>(Vec<String>, F);
    impl<F: FnMut(&str, &[usize]) -> Option<burn::tensor::TensorData>> ModuleMapper for Replace<F> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let shape = param.val().dims();
            match (self.1)(&published_name(&self.0), &shape) {
                Some(data) => param.map(|old| Tensor::from_data(data, &old.device())),
                None => param,
            }
        }
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.0.push(name.to_owned());
        }
        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.0.pop();
        }
    }
    model.map(&mut Replace(Vec::new(), value))
}

/// The published name of a module path.
fn published_name(path: &[String]) -> String {
    let mut parts: Vec<String> = Vec::with_capacity(path.len() + 3);
    let mut suffix = "";
    let top = path.first().map_or("", String::as_str);
    for (i, part) in path.iter().enumerate() {
        match part.as_str() {
            "forward_direction" => suffix = "",
            "backward_direction" => suffix = "_b",
            "slice_direction" => suffix = "_s",
            "conv1d_weight" => parts.extend([format!("conv1d{suffix}"), "weight".to_owned()]),
            "conv1d_bias" => parts.extend([format!("conv1d{suffix}"), "bias".to_owned()]),
            "x_proj" | "dt_proj" => parts.push(format!("{part}{suffix}")),
            "a_log" => parts.push(format!("A{suffix}_log")),
            "d" => parts.push(format!("D{suffix}")),
            "conv1" | "conv2" | "conv3" => {
                // A block that stands alone is wrapped in `layer`, one of an UpBlock is not.
                if i == 1 {
                    parts.push("layer".to_owned());
                }
                parts.extend([part.clone(), "conv".to_owned()]);
            }
            "transp_conv" => parts.extend([part.clone(), "conv".to_owned()]),
            "out" if i == 0 => parts.extend(["out", "conv", "conv"].map(str::to_owned)),
            _ => {
                parts.push(part.clone());
                if top == "vit" && i == 2 && path[1] == "downsample_layers" {
                    // The stem is the only member of its list; later ones follow a normalisation.
                    parts.push(if part == "0" { "0" } else { "1" }.to_owned());
                }
            }
        }
    }
    parts.join(".")
}
