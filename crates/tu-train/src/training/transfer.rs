//! Weights of one network as the start of another: every tensor whose name and shape agree is taken over, and a report
//! says what was and what was not.

use std::collections::HashMap;
use std::fmt;

use burn::module::Module;
use burn::tensor::TensorData;
use tu_model::{EmMamba, NamedTensor, named_tensors};

use super::TrainError;
use super::parameters::{NamedModule, Replace};

/// What became of the tensors of a network that another starts from, by their published names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Taken over.
    pub loaded: Vec<String>,
    /// Left fresh on purpose (the head).
    pub fresh: Vec<String>,
    /// Left fresh because the source has no such tensor.
    pub missing: Vec<String>,
    /// Left fresh because the source's shape differs.
    pub mismatched: Vec<String>,
    /// In the source, and of no use here.
    pub unused: Vec<String>,
}

impl LoadReport {
    /// Refuses a source that has nothing in common with the network.
    ///
    /// # Errors
    /// No tensor was taken over.
    pub fn check(&self, input: &str) -> Result<(), TrainError> {
        if !self.loaded.is_empty() {
            return Ok(());
        }
        Err(TrainError::Model {
            input: input.into(),
            cause: format!("no tensor fits this network ({self}); use its own preset, or start without it"),
        })
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tensors loaded", self.loaded.len())?;
        for (what, names) in [
            ("fresh", &self.fresh),
            ("missing", &self.missing),
            ("of another shape", &self.mismatched),
            ("unused", &self.unused),
        ] {
            if let Some(first) = names.first() {
                let more = if names.len() > 1 { ", …" } else { "" };
                write!(f, ", {} {what} ({first}{more})", names.len())?;
            }
        }
        Ok(())
    }
}

/// Copies every tensor of `from` into `to` for which `wanted` holds and whose name and shape agree.
pub fn transfer(from: &EmMamba, to: EmMamba, wanted: impl Fn(&str) -> bool) -> (EmMamba, LoadReport) {
    let mut source: HashMap<String, NamedTensor> =
        named_tensors(from).into_iter().map(|t| (t.name.clone(), t)).collect();
    let mut report = LoadReport::default();
    let mut values = HashMap::new();
    for (name, shape, id) in to.parameters() {
        let found = source.remove(&name);
        let list = match found {
            _ if !wanted(&name) => &mut report.fresh,
            None => &mut report.missing,
            Some(tensor) if tensor.shape != shape => &mut report.mismatched,
            Some(tensor) => {
                values.insert(id, TensorData::new(tensor.values, tensor.shape));
                &mut report.loaded
            }
        };
        list.push(name);
    }
    report.unused = source.into_keys().collect();
    report.unused.sort_unstable();
    (to.map(&mut Replace(values)), report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;
    use tu_model::EmMambaConfig;

    fn architecture(out_channels: usize) -> EmMambaConfig {
        EmMambaConfig {
            features: [4, 4, 8, 8],
            hidden: 8,
            depths: [1; 4],
            out_channels,
            ..EmMambaConfig::preset(tu_model::Preset::Tiny)
        }
    }

    #[test]
    fn all_tensors_but_the_head_are_taken_over() {
        let device = Device::flex();
        let from = architecture(1).init_seeded(&device, 1);
        let fresh = architecture(3).init_seeded(&device, 2);
        let untouched = named_tensors(&fresh);
        let (to, report) = transfer(&from, fresh, |name| !name.starts_with("out."));
        let (source, made) = (named_tensors(&from), named_tensors(&to));
        assert_eq!(report.loaded.len(), made.len() - 2);
        assert_eq!(report.fresh, ["out.conv.conv.weight", "out.conv.conv.bias"]);
        for ((made, source), untouched) in made.iter().zip(&source).zip(&untouched) {
            let expected = if made.name.starts_with("out.") { untouched } else { source };
            assert_eq!(made.values, expected.values, "{}", made.name);
        }
        assert!(report.check("m").is_ok());
        assert!(report.to_string().contains("2 fresh (out.conv.conv.weight, …)"), "{report}");
    }

    #[test]
    fn a_network_with_nothing_in_common_is_refused_and_what_differs_is_listed() {
        let device = Device::flex();
        let wide = EmMambaConfig { features: [6, 10, 12, 14], hidden: 16, depths: [2; 4], ..architecture(3) };
        let from = wide.init_seeded(&device, 1);
        let (_, report) = transfer(&from, architecture(3).init_seeded(&device, 2), |_| true);
        assert!(report.mismatched.iter().any(|n| n == "vit.gscs.0.proj.weight"));
        assert!(report.unused.iter().any(|n| n.starts_with("vit.stages.0.1.")));
        assert_eq!(report.missing, Vec::<String>::new());
        let nothing = LoadReport { mismatched: vec!["out.conv.conv.weight".into()], ..LoadReport::default() };
        let message = nothing.check("other.safetensors").unwrap_err().to_string();
        assert!(message.contains("other.safetensors") && message.contains("no tensor fits"), "{message}");
    }
}
