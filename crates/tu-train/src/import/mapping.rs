//! Which tensor of a checkpoint becomes which parameter. Names are the published ones on both sides, so the map is the
//! identity; what is left to say is which tensors are missing, in excess, or unfit.

use tu_model::{EmMambaConfig, published_shapes};

use super::report::{LoneTensor, Mismatch};
use super::state_dict::StateDict;
use super::tensor::{Element, TensorView};

/// Tensors of a checkpoint, sorted by what can be done with them.
pub(super) struct Mapping<'a> {
    /// Name and tensor, in network order.
    pub(super) mapped: Vec<(String, &'a TensorView)>,
    pub(super) missing: Vec<LoneTensor>,
    pub(super) unexpected: Vec<LoneTensor>,
    pub(super) mismatched: Vec<Mismatch>,
}

impl<'a> Mapping<'a> {
    /// Compares a state_dict with what an architecture needs; reads no values.
    pub(super) fn new(config: &EmMambaConfig, state: &StateDict<'a>) -> Self {
        let mut rest = state.tensors.clone();
        let (mut mapped, mut missing, mut mismatched) = (Vec::new(), Vec::new(), Vec::new());
        for (name, shape) in published_shapes(config) {
            match rest.remove(&name) {
                None => missing.push(LoneTensor { name, shape }),
                Some(tensor) => match unfit(tensor, &shape) {
                    Some(cause) => mismatched.push(Mismatch { name, cause }),
                    None => mapped.push((name, tensor)),
                },
            }
        }
        let unexpected = rest
            .into_iter()
            .map(|(name, tensor)| LoneTensor { name, shape: tensor.shape().to_vec() })
            .collect();
        Self { mapped, missing, unexpected, mismatched }
    }

    /// Bytes of all values to be read; `None` if that overflows.
    pub(super) fn bytes(&self) -> Option<u64> {
        self.mapped.iter().try_fold(0u64, |sum, (_, tensor)| {
            sum.checked_add(tensor.storage().element.bytes()?.checked_mul(tensor.count() as u64)?)
        })
    }
}

/// Why a tensor cannot be the parameter of that shape.
fn unfit(tensor: &TensorView, shape: &[usize]) -> Option<String> {
    if tensor.shape() != shape {
        return Some(format!("is {:?} instead of {shape:?}", tensor.shape()));
    }
    if let Element::Other(class) = &tensor.storage().element {
        return Some(format!("is a {}, not f16, bf16, f32 or f64", class.escape_debug()));
    }
    tensor.repeats_elements().then(|| "repeats the elements of a smaller storage".to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::architecture::{infer, preset};
    use super::super::tensor::Storage;
    use super::*;
    use tu_model::Preset;

    /// Names and shapes of the published 28 M network.
    fn published() -> Vec<(String, TensorView)> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/state_dict_28m.tsv");
        let text = std::fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                let mut columns = line.split('\t');
                let name = columns.next().unwrap().to_owned();
                let shape = columns.next().unwrap().split('x').map(|n| n.parse().unwrap()).collect();
                (name, tensor(shape))
            })
            .collect()
    }

    /// A contiguous tensor.
    fn tensor(shape: Vec<usize>) -> TensorView {
        let elements = shape.iter().product::<usize>() as u64;
        let strides = (0..shape.len()).map(|k| shape[k + 1..].iter().product::<usize>() as u64).collect();
        let storage = Storage { key: "0".to_owned(), element: Element::F32, elements };
        TensorView::new(storage, 0, shape, strides).unwrap()
    }

    fn state(tensors: &[(String, TensorView)]) -> StateDict<'_> {
        StateDict { tensors: tensors.iter().map(|(n, t)| (n.clone(), t)).collect(), ..StateDict::default() }
    }

    #[test]
    fn every_one_of_the_291_tensors_of_the_published_network_has_its_place() {
        let tensors = published();
        assert_eq!(tensors.len(), 291);
        let state = state(&tensors);
        let config = infer(&state).unwrap();
        assert_eq!(config, EmMambaConfig::preset(Preset::Base).compat());
        assert_eq!(preset(&config), Some(Preset::Base));
        let mapping = Mapping::new(&config, &state);
        assert_eq!(mapping.mapped.len(), 291);
        assert_eq!(mapping.bytes(), Some(4 * 28_296_131));
        assert_eq!((mapping.missing, mapping.unexpected, mapping.mismatched), (vec![], vec![], vec![]));
    }

    #[test]
    fn the_autoregressive_network_is_told_by_its_depths_and_kernel() {
        let network =
            EmMambaConfig { depths: [3; 4], kernel: 3, out_channels: 1, ..EmMambaConfig::default() };
        let shapes = published_shapes(&network.clone().compat());
        let tensors: Vec<_> = shapes.into_iter().map(|(name, shape)| (name, tensor(shape))).collect();
        let config = infer(&state(&tensors)).unwrap();
        assert_eq!(config, network.compat());
        assert_eq!(preset(&config), None);
    }

    #[test]
    fn each_tensor_that_is_gone_is_named_with_its_shape() {
        for gone in 0..291 {
            let mut tensors = published();
            let (name, view) = tensors.remove(gone);
            let state = state(&tensors);
            let mapping = Mapping::new(&infer(&state).unwrap(), &state);
            assert_eq!(mapping.missing, [LoneTensor { name, shape: view.shape().to_vec() }]);
            assert!(mapping.mismatched.is_empty() && mapping.unexpected.is_empty());
        }
    }

    #[test]
    fn other_shapes_other_types_and_repeated_elements_are_mismatches() {
        let mut tensors = published();
        let storage = |element| Storage { key: "0".to_owned(), element, elements: 64 };
        for (name, view) in &mut tensors {
            match name.as_str() {
                "vit.mlps.0.fc1.bias" => {
                    *view =
                        TensorView::new(storage(Element::Other("LongStorage".into())), 0, vec![64], vec![1])
                            .unwrap();
                }
                "vit.mlps.1.fc1.weight" => {
                    *view = TensorView::new(storage(Element::F32), 0, vec![128, 64, 1, 1, 1], vec![0; 5])
                        .unwrap();
                }
                "encoder2.layer.conv2.conv.weight" => *view = tensor(vec![64, 64, 3, 5, 5]),
                _ => {}
            }
        }
        tensors.push(("vit.norm.weight".to_owned(), tensor(vec![256])));
        let state = state(&tensors);
        let mapping = Mapping::new(&infer(&state).unwrap(), &state);
        let causes: Vec<_> = mapping.mismatched.iter().map(|m| m.cause.as_str()).collect();
        assert_eq!(causes.len(), 3);
        assert!(causes[0].contains("LongStorage"), "{causes:?}");
        assert!(causes[1].contains("repeats"), "{causes:?}");
        assert!(causes[2].contains("[64, 64, 3, 5, 5] instead of [64, 64, 1, 5, 5]"), "{causes:?}");
        assert_eq!(mapping.unexpected, [LoneTensor { name: "vit.norm.weight".into(), shape: vec![256] }]);
    }

    #[test]
    fn tensors_of_another_network_are_refused_by_what_is_missing() {
        let tensors = vec![("conv1.weight".to_owned(), tensor(vec![64, 3, 7, 7]))];
        let error = infer(&state(&tensors)).unwrap_err().to_string();
        assert!(error.contains("vit.downsample_layers.0.0.weight"), "{error}");
    }

    #[test]
    fn architectures_beyond_the_bounds_are_refused_before_they_are_listed() {
        for name in ["vit.stages.2.4000000000.norm.weight", "vit.stages.0.18446744073709551615.norm.weight"] {
            let mut tensors = published();
            tensors.push((name.to_owned(), tensor(vec![8])));
            let error = infer(&state(&tensors)).unwrap_err().to_string();
            assert!(error.contains("depths"), "{error}");
        }
    }
}
