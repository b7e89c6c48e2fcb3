//! The weights within a checkpoint, under the names of the published network.
//!
//! Training scripts nest the state_dict under a key beside optimiser and arguments, DataParallel begins every name with
//! `module.`, and profiling with thop leaves `total_ops` and `total_params` behind in every module.

use std::collections::BTreeMap;

use super::error::ImportError;
use super::pickle::{Pickle, Value};
use super::tensor::TensorView;

/// Where a checkpoint may keep its weights.
const WEIGHT_KEYS: [&str; 3] = ["model", "state_dict", "model_state_dict"];
/// Deepest nesting of those keys.
const MAX_NESTING: usize = 4;
/// Begin of the names of the head with which the published autoregressive pretraining predicts tokens (so spelt).
pub(super) const NEXT_TOKEN_HEAD: &str = "preciever.";

/// Tensors by name.
#[derive(Debug, Default)]
pub(super) struct StateDict<'a> {
    /// Keys that lead to the weights, joined by dots; empty when they are at the top.
    pub(super) location: String,
    /// Published name to tensor.
    pub(super) tensors: BTreeMap<String, &'a TensorView>,
    /// Names of the profiler's counters.
    pub(super) counters: Vec<String>,
    /// Names of the next-token head's tensors.
    pub(super) next_token_head: Vec<String>,
}

impl<'a> StateDict<'a> {
    /// Finds the weights.
    ///
    /// # Errors
    /// [`ImportError::Weights`] when there are none, or when two have one name.
    pub(super) fn find(pickle: &'a Pickle) -> Result<Self, ImportError> {
        let Some((location, entries)) = innermost(pickle) else {
            let shown = match pickle.dict(pickle.root()) {
                Some(entries) => {
                    let keys: Vec<String> =
                        entries.keys().take(10).map(|key| format!("`{}`", key.escape_debug())).collect();
                    format!("the checkpoint is a dict of {}", keys.join(", "))
                }
                None if pickle.ignored().is_empty() => "the checkpoint is no dict".to_owned(),
                None => "the checkpoint is a Python object, which is not brought to life".to_owned(),
            };
            return Err(ImportError::Weights(format!("there are no weights: {shown}")));
        };
        let mut state = Self { location, ..Self::default() };
        for (key, value) in entries {
            let Value::Tensor(tensor) = value else { continue };
            let mut name = key;
            while let Some(rest) = name.strip_prefix("module.") {
                name = rest;
            }
            let last = name.rsplit('.').next().unwrap_or(name);
            if matches!(last, "total_ops" | "total_params") {
                state.counters.push(name.to_owned());
            } else if name.starts_with(NEXT_TOKEN_HEAD) {
                state.next_token_head.push(name.to_owned());
            } else if state.tensors.insert(name.to_owned(), tensor).is_some() {
                let name = name.escape_debug();
                return Err(ImportError::Weights(format!(
                    "two tensors are called {name}, one with `module.`"
                )));
            }
        }
        Ok(state)
    }
}

/// The innermost dict of tensors that the weight keys lead to, and those keys.
fn innermost(pickle: &Pickle) -> Option<(String, BTreeMap<&str, &Value>)> {
    let mut path: Vec<&str> = Vec::new();
    let mut entries = pickle.dict(pickle.root())?;
    while path.len() < MAX_NESTING {
        let nested = WEIGHT_KEYS.into_iter().find_map(|key| {
            let inner = pickle.dict(entries.get(key)?)?;
            (!inner.is_empty()).then_some((key, inner))
        });
        let Some((key, inner)) = nested else { break };
        path.push(key);
        entries = inner;
    }
    entries.values().any(|value| matches!(value, Value::Tensor(_))).then(|| (path.join("."), entries))
}
