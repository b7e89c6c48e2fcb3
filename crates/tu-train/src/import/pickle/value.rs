//! What a pickle describes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::tensor::{Element, Storage, TensorView};

/// Index of a value in its pickle.
pub(in super::super) type ValueId = u32;

/// One value; what it contains are indices.
#[derive(Debug)]
pub(in super::super) enum Value {
    Int(i64),
    Text(String),
    /// A list or tuple.
    Sequence(Vec<ValueId>),
    /// Keys and values in the order in which they were set; a later key replaces an earlier one.
    Dict(Vec<(ValueId, ValueId)>),
    Callable(Callable),
    Storage(Box<Storage>),
    Tensor(Box<TensorView>),
    /// Anything else.
    Opaque,
}

/// The names that mean something.
#[derive(Debug)]
pub(in super::super) enum Callable {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Element),
}

/// A pickle that has been run.
#[derive(Debug)]
pub(in super::super) struct Pickle {
    values: Vec<Value>,
    root: ValueId,
    ignored: BTreeSet<String>,
}

impl Pickle {
    pub(super) fn new(values: Vec<Value>, root: ValueId, ignored: BTreeSet<String>) -> Self {
        Self { values, root, ignored }
    }

    /// The object that was saved.
    pub(in super::super) fn root(&self) -> &Value {
        self.get(self.root)
    }

    /// A value by index.
    pub(in super::super) fn get(&self, id: ValueId) -> &Value {
        self.values.get(id as usize).unwrap_or(&Value::Opaque)
    }

    /// Names of classes and functions that were not looked up.
    pub(in super::super) fn ignored(&self) -> &BTreeSet<String> {
        &self.ignored
    }

    /// The entries of a dict whose keys are texts; `None` for anything else.
    pub(in super::super) fn dict(&self, value: &Value) -> Option<BTreeMap<&str, &Value>> {
        let Value::Dict(entries) = value else { return None };
        let text = |id: ValueId| match self.get(id) {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        };
        Some(entries.iter().filter_map(|&(key, value)| Some((text(key)?, self.get(value)))).collect())
    }
}
