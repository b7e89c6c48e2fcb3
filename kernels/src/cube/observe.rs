//! Every kernel that some work launches, burn's and cubek's included, counted where CubeCL issues them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use cubecl::launched::LaunchedKernels;
use cubecl::logging::{LaunchObservation, LaunchObserver};

/// What some work launched on all devices of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Launched {
    /// Launches of every kernel, by the name of its Rust type.
    pub by_kernel: BTreeMap<&'static str, u64>,
    /// Different pipelines: a kernel counts once for every set of the constants that it is compiled for.
    pub pipelines: usize,
}

impl Launched {
    /// Launches of all kernels.
    pub fn total(&self) -> u64 {
        self.by_kernel.values().sum()
    }

    /// Launches of the kernels whose name contains `part`.
    pub fn of(&self, part: &str) -> u64 {
        self.by_kernel.iter().filter(|(name, _)| name.contains(part)).map(|(_, count)| count).sum()
    }
}

#[derive(Default)]
struct Counts(Mutex<BTreeMap<&'static str, u64>>);

impl LaunchObserver for Counts {
    fn launched(&self, kernel: &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(kernel).or_default() += 1;
    }
}

/// Runs `work` and counts what it launches. Work on other threads meanwhile is counted too; what a replayed graph of
/// launches runs is not.
pub fn observe<R>(work: impl FnOnce() -> R) -> (R, Launched) {
    let counts = Arc::new(Counts::default());
    let kernels = LaunchedKernels::new();
    let watching = LaunchObservation::new(counts.clone());
    let result = work();
    drop(watching);
    let pipelines = kernels.finish().len();
    let by_kernel = std::mem::take(&mut *counts.0.lock().unwrap_or_else(PoisonError::into_inner));
    (result, Launched { by_kernel, pipelines })
}
