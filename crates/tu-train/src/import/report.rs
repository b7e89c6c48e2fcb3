//! What of a checkpoint became what of the model.

use std::fmt;

use serde::Serialize;
use tu_model::EmMambaConfig;

/// Names of each kind that the text lists; the JSON form has all.
const LISTED: usize = 10;

/// What a checkpoint was trained for, told from its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    /// Three output channels: affinities along z, y, x.
    Affinities,
    /// Autoregressive pretraining: there is a head that predicts the next token.
    Autoregressive,
    /// One output channel: reconstruction of masked intensities.
    Reconstruction,
    /// Any other number of output channels.
    Other,
}

impl CheckpointKind {
    /// In words.
    pub fn description(self) -> &'static str {
        match self {
            Self::Affinities => "affinities of three axes",
            Self::Autoregressive => "autoregressive pretraining",
            Self::Reconstruction => "pretraining by reconstruction",
            Self::Other => "other outputs",
        }
    }
}

/// A tensor that one side has and the other has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LoneTensor {
    /// Published name.
    pub name: String,
    /// Shape, PyTorch order.
    pub shape: Vec<usize>,
}

/// A tensor that both sides have, but that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mismatch {
    /// Published name.
    pub name: String,
    /// What is wrong with the checkpoint's.
    pub cause: String,
}

/// What was found in a checkpoint and what became of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImportReport {
    /// What it was trained for.
    pub kind: CheckpointKind,
    /// Keys that lead to the weights, joined by dots; empty when they are at the top.
    pub weights_under: String,
    /// Epoch that the checkpoint states.
    pub epoch: Option<i64>,
    /// Architecture, told from the shapes.
    pub architecture: EmMambaConfig,
    /// Preset whose published form that is.
    pub preset: Option<&'static str>,
    /// Values of the network.
    pub parameters: usize,
    /// Tensors that were taken, in network order.
    pub mapped: Vec<String>,
    /// Tensors that the network needs and the checkpoint lacks.
    pub missing: Vec<LoneTensor>,
    /// Tensors that the network does not know; they are left out.
    pub unexpected: Vec<LoneTensor>,
    /// Tensors of another shape or type than the network's, or that are not finite.
    pub mismatched: Vec<Mismatch>,
    /// Tensors that are left out by rule: a profiler's counters, the next-token head.
    pub ignored: Vec<String>,
    /// Python classes and functions that the pickle names; they were not run.
    pub ignored_objects: Vec<String>,
    /// What the user should know.
    pub warnings: Vec<String>,
}

impl ImportReport {
    /// Whether the network has all its tensors.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.mismatched.is_empty()
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = &self.architecture;
        let under = match self.weights_under.as_str() {
            "" => String::new(),
            keys => format!(", weights under `{keys}`"),
        };
        let epoch = self.epoch.map_or_else(String::new, |epoch| format!(", epoch {epoch}"));
        writeln!(f, "checkpoint     {}{under}{epoch}", self.kind.description())?;
        let preset = self.preset.map_or_else(|| "no preset".to_owned(), |name| format!("{name} preset"));
        writeln!(
            f,
            "architecture   {:?} / {}, {:?} Mamba layers, kernel {}, {} output channels, z stride {} ({preset})",
            a.features, a.hidden, a.depths, a.kernel, a.out_channels, a.z_stride
        )?;
        writeln!(
            f,
            "mapped         {} tensors of a network of {} values",
            self.mapped.len(),
            self.parameters
        )?;
        let shaped = |tensor: &LoneTensor| format!("{} {:?}", tensor.name.escape_debug(), tensor.shape);
        list(f, "missing", &self.missing, shaped)?;
        list(f, "mismatched", &self.mismatched, |m| format!("{} {}", m.name.escape_debug(), m.cause))?;
        list(f, "unexpected", &self.unexpected, shaped)?;
        if !self.ignored.is_empty() {
            writeln!(f, "ignored        {} tensors (counters, next-token head)", self.ignored.len())?;
        }
        if !self.ignored_objects.is_empty() {
            let names: Vec<String> = self
                .ignored_objects
                .iter()
                .take(LISTED)
                .map(|name| name.escape_debug().to_string())
                .collect();
            writeln!(f, "not run        {}", names.join(", "))?;
        }
        self.warnings.iter().try_for_each(|warning| writeln!(f, "warning        {warning}"))
    }
}

/// A line with the count, then the first few, one a line.
fn list<T>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    items: &[T],
    shown: impl Fn(&T) -> String,
) -> fmt::Result {
    writeln!(f, "{title:14} {}", items.len())?;
    for item in items.iter().take(LISTED) {
        writeln!(f, "               {}", shown(item))?;
    }
    match items.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "               and {more} more (--json lists all)"),
    }
}
