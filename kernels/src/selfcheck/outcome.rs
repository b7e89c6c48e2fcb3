//! What a check found.

use core::fmt;

use burn::tensor::FloatDType;

use super::tolerance::Kernel;

/// Values of an operation and its gradients, in the order of its inputs; no gradients where only values were asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Results {
    /// The result.
    pub values: Vec<f32>,
    /// For every input, in f32 whatever the type of the tensors.
    pub gradients: Vec<Vec<f32>>,
}

/// How far one result is from what was expected.
#[derive(Clone, Debug, PartialEq)]
pub struct Agreement {
    /// `values`, or `gradient of` an input.
    pub result: String,
    /// Largest difference over the largest magnitude expected; NaN where the device's result is not a number.
    pub error: f64,
    /// The largest error that passes.
    pub limit: f64,
}

impl Agreement {
    /// Whether it passes.
    pub fn agrees(&self) -> bool {
        self.error <= self.limit
    }

    /// The error as a multiple of what passes; what is not a number counts as more than all.
    fn share(&self) -> f64 {
        if self.error.is_nan() { f64::INFINITY } else { self.error / self.limit }
    }
}

/// What a check found, all of its results.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The operation.
    pub kernel: Kernel,
    /// Its size.
    pub shape: String,
    /// The type of its tensors.
    pub dtype: FloatDType,
    /// One entry per result; never empty.
    pub agreements: Vec<Agreement>,
}

impl Verdict {
    /// Whether all results pass.
    pub fn agrees(&self) -> bool {
        self.agreements.iter().all(Agreement::agrees)
    }

    /// The result that is closest to its limit, or furthest beyond it.
    pub fn worst(&self) -> Option<&Agreement> {
        self.agreements.iter().max_by(|a, b| a.share().total_cmp(&b.share()))
    }
}

/// The name of a type in messages.
fn type_name(dtype: FloatDType) -> &'static str {
    match dtype {
        FloatDType::F16 => "f16",
        FloatDType::BF16 => "bf16",
        _ => "f32",
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {})", self.kernel, self.shape, type_name(self.dtype))?;
        if let Some(Agreement { result, error, limit }) = self.worst() {
            write!(f, ": {result} off by {error:.1e} of the magnitude, {limit:.1e} allowed")?;
        }
        Ok(())
    }
}

/// A device failed a check.
#[derive(Clone, Debug, PartialEq)]
pub enum SelfCheckError {
    /// A kernel gives wrong numbers.
    Wrong(Verdict),
    /// A kernel gives no numbers.
    Unreadable {
        /// The operation.
        kernel: Kernel,
        /// Its size.
        shape: String,
        /// What the device said.
        cause: String,
    },
}

impl fmt::Display for SelfCheckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(verdict) => write!(f, "the device computes a kernel wrongly: {verdict}"),
            Self::Unreadable { kernel, shape, cause } => {
                write!(f, "the device gives no result for a kernel: {kernel} ({shape}): {cause}")
            }
        }
    }
}

impl core::error::Error for SelfCheckError {}
