//! The opcodes that name classes and functions, refer to storages, and call. Here it is decided what means something.

use super::super::error::ImportError;
use super::super::tensor::{Element, Storage, TensorView};
use super::value::{Callable, Value, ValueId};
use super::{Machine, OPAQUE, refused};

/// The longest name of a storage, a number in practice; every tensor keeps a copy.
const MAX_KEY_BYTES: usize = 64;
/// Most names of ignored objects that are kept for the report.
const MAX_IGNORED: usize = 100;

impl Machine<'_> {
    pub(super) fn global(&mut self) -> Result<(), ImportError> {
        let (module, name) = (self.input.line()?, self.input.line()?);
        let callable = match (module, name) {
            ("collections", "OrderedDict") => Callable::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Callable::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Callable::RebuildParameter,
            ("torch", class) if class.ends_with("Storage") => Callable::Storage(Element::of_storage(class)),
            _ => {
                if self.ignored.len() < MAX_IGNORED {
                    self.ignored.insert(format!("{module}.{name}"));
                }
                return self.push_id(OPAQUE);
            }
        };
        self.push(Value::Callable(callable))
    }

    /// `('storage', class, key, device, elements)` names an entry of the archive.
    pub(super) fn persistent(&mut self) -> Result<(), ImportError> {
        let id = self.pop()?;
        let storage = match self.sequence(id).unwrap_or_default() {
            [kind, class, key, _device, elements, ..] => {
                match (self.value(*kind), self.value(*class), self.value(*key), self.value(*elements)) {
                    (
                        Value::Text(kind),
                        Value::Callable(Callable::Storage(element)),
                        Value::Text(key),
                        Value::Int(elements),
                    ) if kind == "storage" && key.len() <= MAX_KEY_BYTES => u64::try_from(*elements)
                        .ok()
                        .map(|elements| Storage { key: key.clone(), element: element.clone(), elements }),
                    _ => None,
                }
            }
            _ => None,
        };
        match storage {
            Some(storage) => self.push(Value::Storage(Box::new(storage))),
            None => Err(refused("a storage is not described as torch.save does")),
        }
    }

    pub(super) fn reduce(&mut self) -> Result<(), ImportError> {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        match self.value(callable) {
            Value::Callable(Callable::OrderedDict) => match self.sequence(arguments) {
                Some([]) => self.push(Value::Dict(Vec::new())),
                _ => self.push_id(OPAQUE),
            },
            Value::Callable(Callable::RebuildTensor) => {
                let tensor = self.tensor(arguments)?;
                self.push(Value::Tensor(Box::new(tensor)))
            }
            Value::Callable(Callable::RebuildParameter) => {
                let data = self.sequence(arguments).and_then(|items| items.first()).copied();
                self.push_id(data.unwrap_or(OPAQUE))
            }
            Value::Opaque => self.push_id(OPAQUE),
            _ => Err(refused("it calls what is no function")),
        }
    }

    pub(super) fn new_object(&mut self) -> Result<(), ImportError> {
        let _arguments = self.pop()?;
        let class = self.pop()?;
        match self.value(class) {
            Value::Callable(Callable::OrderedDict) => self.push(Value::Dict(Vec::new())),
            _ => self.push_id(OPAQUE),
        }
    }

    /// `(storage, offset, shape, strides, …)` of `_rebuild_tensor_v2`.
    fn tensor(&self, arguments: ValueId) -> Result<TensorView, ImportError> {
        let described = || refused("a tensor is not described as torch.save does");
        let Some([storage, offset, shape, strides, ..]) = self.sequence(arguments) else {
            return Err(described());
        };
        let whole = |id: &ValueId| match self.value(*id) {
            Value::Int(value) => u64::try_from(*value).map_err(|_| described()),
            _ => Err(described()),
        };
        let Value::Storage(storage) = self.value(*storage) else { return Err(described()) };
        let list = |id: &ValueId| -> Result<Vec<u64>, ImportError> {
            self.sequence(*id).ok_or_else(described)?.iter().map(whole).collect()
        };
        let shape: Result<Vec<usize>, _> = list(shape)?.into_iter().map(usize::try_from).collect();
        let shape = shape.map_err(|_| described())?;
        TensorView::new((**storage).clone(), whole(offset)?, shape, list(strides)?).map_err(refused)
    }
}
