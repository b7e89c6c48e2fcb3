//! One line of a self-check's table.

use std::fmt;

use serde::Serialize;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// One operation at one size.
    Kernel,
    /// A forward pass.
    Forward,
    /// Training steps.
    Training,
}

/// What one check came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// What it is about.
    pub stage: Stage,
    /// The kernel's name, or what of the network was compared.
    pub check: String,
    /// The result of a kernel that was furthest off, for its limit; empty elsewhere.
    pub result: String,
    /// Size and type.
    pub shape: String,
    /// How far the device is from the CPU; `None` where it gave nothing, or something that is no number.
    pub error: Option<f64>,
    /// The largest error that passes.
    pub limit: f64,
    /// Milliseconds on the device, compilation and copies included.
    pub milliseconds: f64,
    /// Whether it passes.
    pub agrees: bool,
    /// Why the device gave nothing.
    pub failure: Option<String>,
}

impl Row {
    /// A row of an error, which fails if that is no number or beyond the limit.
    pub(super) fn new(
        stage: Stage,
        check: impl Into<String>,
        shape: impl Into<String>,
        (error, limit): (f64, f64),
        milliseconds: f64,
    ) -> Self {
        Self {
            stage,
            check: check.into(),
            result: String::new(),
            shape: shape.into(),
            error: error.is_finite().then_some(error),
            limit,
            milliseconds,
            agrees: error <= limit,
            failure: None,
        }
    }

    /// A row of something that could not be computed.
    pub(super) fn failed(
        stage: Stage,
        check: impl Into<String>,
        shape: impl Into<String>,
        cause: impl Into<String>,
    ) -> Self {
        let row = Self::new(stage, check, shape, (f64::NAN, 0.0), 0.0);
        Self { failure: Some(cause.into()), ..row }
    }
}

/// What is wrong, for a message.
impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.check, self.shape)?;
        if !self.result.is_empty() {
            write!(f, ", {}", self.result)?;
        }
        match (&self.failure, self.error) {
            (Some(cause), _) => write!(f, ": {cause}"),
            (None, Some(error)) => write!(f, ": {error:.1e} where {:.1e} is allowed", self.limit),
            (None, None) => write!(f, ": not a number"),
        }
    }
}
