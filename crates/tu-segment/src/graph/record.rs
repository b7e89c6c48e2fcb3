//! What the graph keeps of one tile.

use super::contacts::{ContactTable, Edge};
use super::fragment::Fragment;

/// A tile's fragments, their contacts, and what its neighbours need to find the contacts across the faces.
///
/// Planes are in raster order of their two remaining axes. Fragments in planes are given by their position in
/// `fragment_ids` plus one, 0 for none. A plane on the volume's border is left empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TileRecord {
    /// Ascending.
    pub(crate) fragment_ids: Vec<u64>,
    /// Voxels of each fragment, in the order of `fragment_ids`.
    pub(crate) fragment_voxels: Vec<u32>,
    /// Contacts inside the tile, ascending by (a, b).
    pub(crate) edges: Vec<Edge>,
    /// Fragments of the first plane along each axis.
    pub(crate) low_fragments: [Vec<u32>; 3],
    /// Fragments of the last plane along each axis.
    pub(crate) high_fragments: [Vec<u32>; 3],
    /// Affinities of the first plane along each axis with its predecessor, which lies in the neighbouring tile.
    pub(crate) low_affinities: [Vec<u8>; 3],
}

impl TileRecord {
    /// The tile's fragments, ascending by id.
    pub(super) fn fragments(&self) -> impl Iterator<Item = Fragment> {
        let voxels = self.fragment_voxels.iter().map(|&voxels| u64::from(voxels));
        self.fragment_ids.iter().zip(voxels).map(|(&id, voxels)| Fragment { id, voxels })
    }

    /// Contacts with the tile before this one along `axis`, ascending.
    pub(super) fn contacts_with_predecessor(&self, low: &TileRecord, axis: usize) -> Vec<Edge> {
        let mut table = ContactTable::default();
        let mut recent = None;
        let pairs = low.high_fragments[axis].iter().zip(&self.low_fragments[axis]);
        for ((&before, &after), &bin) in pairs.zip(&self.low_affinities[axis]) {
            if before != 0 && after != 0 {
                table.add(&mut recent, before, after, bin);
            }
        }
        table.into_edges(|before, after| {
            (low.fragment_ids[before as usize - 1], self.fragment_ids[after as usize - 1])
        })
    }
}

/// The plane at position `at` along `axis` of a block of `shape_zyx` voxels.
pub(crate) fn plane<T: Copy>(values: &[T], shape_zyx: [usize; 3], axis: usize, at: usize) -> Vec<T> {
    let mut begin = [0; 3];
    let mut end = shape_zyx;
    begin[axis] = at;
    end[axis] = at + 1;
    let mut plane = Vec::with_capacity((0..3).map(|i| end[i] - begin[i]).product());
    for z in begin[0]..end[0] {
        for y in begin[1]..end[1] {
            let row = (z * shape_zyx[1] + y) * shape_zyx[2];
            plane.extend_from_slice(&values[row + begin[2]..row + end[2]]);
        }
    }
    plane
}
