//! Contacts between fragments: what every edge of the region graph knows.
//!
//! For every voxel `v` and axis `c` whose fragments differ and are both positive, the affinity `a_c[v]` belongs to
//! the edge between the two. An edge keeps the largest bin, the sum of bins and their number: enough for every
//! scoring, and additive.

use serde::{Deserialize, Serialize};

use super::fragment::{Fragment, voxels_by_number};
use crate::affinity::{AffinityView, strides};
use crate::hash::IntMap;

/// All affinities between two fragments, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// The largest bin.
    pub max: u8,
    /// The sum of bins.
    pub sum: u64,
    /// The number of affinities.
    pub count: u64,
}

impl Contact {
    /// Adds one affinity.
    pub fn add(&mut self, bin: u8) {
        self.max = self.max.max(bin);
        self.sum += u64::from(bin);
        self.count += 1;
    }

    /// Adds all affinities of another contact.
    pub fn merge(&mut self, other: &Contact) {
        self.max = self.max.max(other.max);
        self.sum += other.sum;
        self.count += other.count;
    }
}

/// Two fragments in contact, `a < b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edge {
    /// The smaller fragment id.
    pub a: u64,
    /// The larger fragment id.
    pub b: u64,
    /// Their affinities.
    pub contact: Contact,
}

/// Collects contacts by a pair of 32-bit numbers.
#[derive(Default)]
pub(super) struct ContactTable {
    slots: IntMap<u64, u32>,
    contacts: Vec<(u64, Contact)>,
}

impl ContactTable {
    /// Adds an affinity to the pair `(first, second)`. `recent` is a caller's memory of the pair it met last: along
    /// a face the same pair comes many times in a row.
    pub(super) fn add(&mut self, recent: &mut Option<(u64, u32)>, first: u32, second: u32, bin: u8) {
        let key = u64::from(first) << 32 | u64::from(second);
        let slot = match *recent {
            Some((recent_key, slot)) if recent_key == key => slot,
            _ => {
                let next = self.contacts.len() as u32;
                let slot = *self.slots.entry(key).or_insert(next);
                if slot == next {
                    self.contacts.push((key, Contact::default()));
                }
                *recent = Some((key, slot));
                slot
            }
        };
        self.contacts[slot as usize].1.add(bin);
    }

    /// All contacts as edges, ascending; `ids` turns each number of a pair into an id.
    pub(super) fn into_edges(self, ids: impl Fn(u32, u32) -> (u64, u64)) -> Vec<Edge> {
        let mut edges: Vec<Edge> = self
            .contacts
            .into_iter()
            .map(|(key, contact)| {
                let (first, second) = ids((key >> 32) as u32, key as u32);
                Edge { a: first.min(second), b: first.max(second), contact }
            })
            .collect();
        edges.sort_unstable_by_key(|edge| (edge.a, edge.b));
        edges
    }
}

/// Contacts inside a block. `labels` index `fragment_ids` (ascending) from 1; 0 is no fragment.
pub(crate) fn contacts_of_block(labels: &[u32], fragment_ids: &[u64], aff: &AffinityView<'_>) -> Vec<Edge> {
    let [_, height, width] = aff.shape_zyx();
    let strides = strides(aff.shape_zyx());
    let channels = [aff.channel(0), aff.channel(1), aff.channel(2)];
    let mut table = ContactTable::default();
    let mut recent = [None; 3];
    if labels.is_empty() {
        return Vec::new();
    }
    for (row, row_labels) in labels.chunks_exact(width).enumerate() {
        let has_predecessor = [row >= height, !row.is_multiple_of(height)];
        for (x, &label) in row_labels.iter().enumerate() {
            let v = row * width + x;
            if label == 0 {
                continue;
            }
            for axis in 0..3 {
                let inside = if axis == 2 { x > 0 } else { has_predecessor[axis] };
                if !inside {
                    continue;
                }
                let other = labels[v - strides[axis]];
                if other != label && other != 0 {
                    let (first, second) = (label.min(other), label.max(other));
                    table.add(&mut recent[axis], first, second, channels[axis][v]);
                }
            }
        }
    }
    table.into_edges(|first, second| (fragment_ids[first as usize - 1], fragment_ids[second as usize - 1]))
}

/// The fragments (ascending by id, without 0) and contacts of a volume that is held whole, whatever its labels are.
///
/// # Panics
/// If `labels` does not have the voxels of `aff`.
pub fn contacts_of_volume(labels: &[u64], aff: &AffinityView<'_>) -> (Vec<Fragment>, Vec<Edge>) {
    assert_eq!(labels.len(), aff.voxels(), "labels and affinities must have the same voxels");
    let mut numbers: IntMap<u64, u32> = IntMap::default();
    for run in labels.chunk_by(|a, b| a == b) {
        numbers.insert(run[0], 0);
    }
    numbers.remove(&0);
    let mut ids: Vec<u64> = numbers.keys().copied().collect();
    ids.sort_unstable();
    for (&id, number) in ids.iter().zip(1..) {
        numbers.insert(id, number);
    }
    let mut compact = Vec::with_capacity(labels.len());
    for run in labels.chunk_by(|a, b| a == b) {
        let number = numbers.get(&run[0]).copied().unwrap_or(0);
        compact.resize(compact.len() + run.len(), number);
    }
    let edges = contacts_of_block(&compact, &ids, aff);
    let voxels = voxels_by_number(&compact, ids.len());
    let fragments = ids.into_iter().zip(voxels).map(|(id, voxels)| Fragment { id, voxels: voxels.into() });
    (fragments.collect(), edges)
}
