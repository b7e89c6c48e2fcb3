//! Fragments as nodes of the region graph.

use serde::{Deserialize, Serialize};

/// A fragment: a node of the region graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fragment {
    /// Its id; 0 is none.
    pub id: u64,
    /// How many voxels it has.
    pub voxels: u64,
}

/// How many voxels of a block have each of the numbers 1 to `count`, in this order; 0 is not counted.
pub(crate) fn voxels_by_number(numbers: &[u32], count: usize) -> Vec<u32> {
    let mut voxels = vec![0; count + 1];
    for run in numbers.chunk_by(|a, b| a == b) {
        // Blocks have fewer than 2³¹ voxels.
        voxels[run[0] as usize] += run.len() as u32;
    }
    voxels.split_off(1)
}
