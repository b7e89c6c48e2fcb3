//! Crops that stood on a damaged chunk, or on one that a server did not give, and were drawn anew elsewhere.

use std::sync::{Mutex, PoisonError};

/// One crop that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Step whose batch it was meant for, counted from 0.
    pub step: u64,
    /// What was wrong with the voxels.
    pub cause: String,
}

/// Replacements that nobody has been told of.
#[derive(Debug, Default)]
pub(super) struct Replacements(Mutex<Vec<Replacement>>);

impl Replacements {
    pub(super) fn add(&self, replacement: Replacement) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(replacement);
    }

    /// Takes those of the steps before `step`; batches are drawn ahead, so there may be later ones.
    pub(super) fn take_before(&self, step: u64) -> Vec<Replacement> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (due, later) = all.drain(..).partition(|replacement| replacement.step < step);
        *all = later;
        due
    }
}
