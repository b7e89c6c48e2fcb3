//! Seconds of repeated work.

use std::time::Instant;

use burn::tensor::{FloatDType, Tensor};
use serde_json::{Value, json};

use super::Failure;

/// Runs that count, and fewer where one takes this many seconds.
const REPEATS: usize = 5;
const LONG_SECONDS: f64 = 10.0;
/// Quick work is repeated until this many seconds have passed, or this often.
const ENOUGH_SECONDS: f64 = 1.0;
const MOST_REPEATS: usize = 50;

/// Seconds of the runs of one item.
pub(crate) struct Seconds {
    /// Of the first run, in which a GPU's kernels are compiled and chosen; it counts for nothing else.
    first: f64,
    /// Of the others, ascending.
    sorted: Vec<f64>,
}

impl Seconds {
    /// Runs `work`, which has to wait for its own results.
    pub(crate) fn of(mut work: impl FnMut() -> Result<(), Failure>) -> Result<Self, Failure> {
        let mut once = || -> Result<f64, Failure> {
            let started = Instant::now();
            work()?;
            Ok(started.elapsed().as_secs_f64())
        };
        let first = once()?;
        let mut sorted = Vec::new();
        while !Self::suffices(&sorted) {
            sorted.push(once()?);
        }
        sorted.sort_by(f64::total_cmp);
        Ok(Self { first, sorted })
    }

    fn suffices(seconds: &[f64]) -> bool {
        let total: f64 = seconds.iter().sum();
        match seconds.len() {
            0 => false,
            count if total >= LONG_SECONDS => count >= 1,
            count => count >= MOST_REPEATS || (count >= REPEATS && total >= ENOUGH_SECONDS),
        }
    }

    pub(crate) fn least(&self) -> f64 {
        self.sorted.first().copied().unwrap_or(f64::NAN)
    }

    fn median(&self) -> f64 {
        self.sorted.get(self.sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "first_seconds": self.first, "seconds": self.least(), "median_seconds": self.median(),
            "runs": self.sorted.len(),
        })
    }
}

/// Reads one number, which waits for the tensor and whatever was asked of the device before it.
pub(crate) fn wait<const D: usize>(tensor: Tensor<D>) -> Result<(), Failure> {
    let count = tensor.shape().num_elements();
    let one = tensor.reshape([count]).narrow(0, 0, 1).cast(FloatDType::F32);
    let data = one.try_into_data().map_err(|error| format!("{error:?}"))?;
    let values = data.try_into_vec::<f32>().map_err(|error| format!("{error:?}"))?;
    std::hint::black_box(values);
    Ok(())
}
