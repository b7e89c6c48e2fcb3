//! The region graph of a whole volume, grown tile by tile.
//!
//! Nodes are fragments with their voxels, edges are contacts. A tile contributes the contacts between its own
//! fragments; two tiles that share a face contribute the contacts across it, taken from the affinities of the tile
//! with the higher index along that axis, whose first plane holds them. No contribution overlaps another, so the
//! graph is the union over the tiles that are in, whatever the order in which they came or went.
//!
//! A tile can be written to bytes and read back ([`RegionGraph::tile_to_bytes`]), so that work can be resumed.

mod bytes;
mod contacts;
mod fragment;
mod record;

use std::collections::BTreeMap;

pub use bytes::BytesError;
pub use contacts::{Contact, Edge, contacts_of_volume};
pub use fragment::Fragment;

pub(crate) use contacts::contacts_of_block;
pub(crate) use fragment::voxels_by_number;
pub(crate) use record::{TileRecord, plane};

use crate::agglomeration::{Agglomeration, Scoring, agglomerate};
use crate::tile::TileGrid;
use crate::tile_fragments::TileFragments;

/// The region graph of the tiles of a volume that have been inserted.
#[derive(Clone, Debug)]
pub struct RegionGraph {
    grid: TileGrid,
    tiles: BTreeMap<[u64; 3], TileRecord>,
    /// Contacts across the face between a tile and its predecessor along an axis, by (tile, axis).
    crossings: BTreeMap<([u64; 3], usize), Vec<Edge>>,
}

impl RegionGraph {
    /// A graph without any tile.
    pub fn new(grid: TileGrid) -> Self {
        Self { grid, tiles: BTreeMap::new(), crossings: BTreeMap::new() }
    }

    /// The grid of the tiles.
    pub fn grid(&self) -> &TileGrid {
        &self.grid
    }

    /// Adds a tile; replaces it if it is already in.
    ///
    /// # Panics
    /// If the tile was made on another grid.
    pub fn insert(&mut self, tile: &TileFragments) {
        assert!(*tile.grid() == self.grid, "a tile can only be inserted into a graph of its own grid");
        self.insert_record(tile.tile().index_zyx, tile.record().clone());
    }

    /// Takes a tile out again, with all its contacts. False if it was not in.
    pub fn remove(&mut self, index_zyx: [u64; 3]) -> bool {
        if self.tiles.remove(&index_zyx).is_none() {
            return false;
        }
        for axis in 0..3 {
            self.crossings.remove(&(index_zyx, axis));
            self.crossings.remove(&(successor(index_zyx, axis), axis));
        }
        true
    }

    /// Whether a tile is in.
    pub fn contains(&self, index_zyx: [u64; 3]) -> bool {
        self.tiles.contains_key(&index_zyx)
    }

    /// Indices (z y x) of the tiles that are in, in raster order.
    pub fn tiles(&self) -> impl Iterator<Item = [u64; 3]> {
        self.tiles.keys().copied()
    }

    /// All fragments, ascending by id.
    pub fn fragments(&self) -> Vec<Fragment> {
        let mut fragments: Vec<Fragment> = self.tiles.values().flat_map(TileRecord::fragments).collect();
        fragments.sort_unstable_by_key(|fragment| fragment.id);
        fragments
    }

    /// All contacts, ascending by (a, b).
    pub fn edges(&self) -> Vec<Edge> {
        let inner = self.tiles.values().map(|tile| &tile.edges);
        let mut edges: Vec<Edge> = inner.chain(self.crossings.values()).flatten().copied().collect();
        // Stable, because that sort makes use of the runs that are in order already.
        edges.sort_by_key(|edge| (edge.a, edge.b));
        edges
    }

    /// Segments of the fragments that are in, see [`agglomerate`](crate::agglomerate).
    pub fn agglomerate(&self, scoring: Scoring, threshold: f32) -> Agglomeration {
        agglomerate(&self.fragments(), &self.edges(), scoring, threshold)
    }

    /// A tile of the graph as bytes; `None` if it is not in. Equal tiles give equal bytes.
    pub fn tile_to_bytes(&self, index_zyx: [u64; 3]) -> Option<Vec<u8>> {
        self.tiles.get(&index_zyx).map(|record| bytes::encode(&self.grid, index_zyx, record))
    }

    /// Adds a tile from what [`tile_to_bytes`](Self::tile_to_bytes) wrote, and says which. Everything is checked.
    ///
    /// # Errors
    /// If the bytes are not a tile of this grid in every detail; the graph is then unchanged.
    pub fn insert_bytes(&mut self, bytes: &[u8]) -> Result<[u64; 3], BytesError> {
        let (index_zyx, record) = bytes::decode(&self.grid, bytes)?;
        self.insert_record(index_zyx, record);
        Ok(index_zyx)
    }

    fn insert_record(&mut self, index_zyx: [u64; 3], record: TileRecord) {
        self.remove(index_zyx);
        self.tiles.insert(index_zyx, record);
        for axis in 0..3 {
            self.cross(index_zyx, axis);
            self.cross(successor(index_zyx, axis), axis);
        }
    }

    /// Finds the contacts between the tile `high` and its predecessor along `axis`, if both are in.
    fn cross(&mut self, high: [u64; 3], axis: usize) {
        let mut low = high;
        let Some(before) = high[axis].checked_sub(1) else { return };
        low[axis] = before;
        if let (Some(low), Some(record)) = (self.tiles.get(&low), self.tiles.get(&high)) {
            let edges = record.contacts_with_predecessor(low, axis);
            self.crossings.insert((high, axis), edges);
        }
    }
}

/// The next tile along an axis. Indices are far below the end of their range, since a volume's voxels fit 64 bits.
fn successor(mut index_zyx: [u64; 3], axis: usize) -> [u64; 3] {
    index_zyx[axis] = index_zyx[axis].saturating_add(1);
    index_zyx
}

#[cfg(test)]
mod tests;
