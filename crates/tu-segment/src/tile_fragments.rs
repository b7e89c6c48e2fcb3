//! The fragments of one tile under ids that hold in the whole volume.
//!
//! They are made from the affinities of the tile and its halo, as far as that lies inside the volume, and cut at the tile's
//! border: seeds and basins near the border are those of the volume rather than of a box.
//!
//! A fragment's id is one plus the raster index (x fastest, whole volume) of its first voxel. So ids are unique over
//! tiles, the same in every session, independent of the order of work, and name the tile they come from.

use crate::affinity::AffinityView;
use crate::fragments::{FragmentMethod, fragments};
use crate::graph::{TileRecord, contacts_of_block, plane, voxels_by_number};
use crate::hash::IntMap;
use crate::tile::{GridError, Tile, TileGrid};
use crate::window::crop;

/// What can be wrong with the input of a tile's fragments.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FragmentsError {
    /// The tile does not exist.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The affinities are not those of the tile.
    #[error(
        "affinities of {shape_zyx:?} voxels were given for tile {index_zyx:?}, which with its halo has {read_shape_zyx:?} in the volume (z, y, x): crop the window to the volume first"
    )]
    AffinityShape {
        /// The tile's index, z y x.
        index_zyx: [u64; 3],
        /// Its shape with the halo, clipped to the volume, z y x.
        read_shape_zyx: [usize; 3],
        /// The shape of the affinities, z y x.
        shape_zyx: [usize; 3],
    },
    /// The labels are not those of the tile.
    #[error(
        "{labels} labels were given for {read_shape_zyx:?} voxels of tile {index_zyx:?} (z, y, x): pass one label per voxel"
    )]
    LabelCount {
        /// The tile's index, z y x.
        index_zyx: [u64; 3],
        /// Its shape with the halo, clipped to the volume, z y x.
        read_shape_zyx: [usize; 3],
        /// How many labels were given.
        labels: usize,
    },
}

/// The fragments of one tile, with their contacts.
#[derive(Clone, Debug)]
pub struct TileFragments {
    grid: TileGrid,
    tile: Tile,
    labels: Vec<u64>,
    record: TileRecord,
}

impl TileFragments {
    /// Makes the fragments of a tile from the affinities of the tile and its halo, clipped to the volume
    /// ([`Tile::read_shape_zyx`]).
    ///
    /// # Errors
    /// If the grid has no such tile or the affinities are not of its shape.
    pub fn compute(
        grid: &TileGrid,
        index_zyx: [u64; 3],
        aff: &AffinityView<'_>,
        method: &FragmentMethod,
    ) -> Result<Self, FragmentsError> {
        let tile = tile_of_affinities(grid, index_zyx, aff)?;
        Ok(Self::cut(grid, tile, fragments(aff, method), aff))
    }

    /// Takes somebody else's fragments: one local label per voxel of the affinities, 0 for none. A label is one fragment
    /// even if its voxels are not connected.
    ///
    /// # Errors
    /// If the grid has no such tile, or labels or affinities are not of its shape.
    pub fn from_labels(
        grid: &TileGrid,
        index_zyx: [u64; 3],
        labels: &[u32],
        aff: &AffinityView<'_>,
    ) -> Result<Self, FragmentsError> {
        let tile = tile_of_affinities(grid, index_zyx, aff)?;
        if labels.len() != aff.voxels() {
            return Err(FragmentsError::LabelCount {
                index_zyx,
                read_shape_zyx: tile.read_shape_zyx,
                labels: labels.len(),
            });
        }
        Ok(Self::cut(grid, tile, labels.to_vec(), aff))
    }

    /// What lies in the tile of labels and affinities of the tile and its halo.
    fn cut(grid: &TileGrid, tile: Tile, labels: Vec<u32>, aff: &AffinityView<'_>) -> Self {
        let (shape, own) = (aff.shape_zyx(), tile.shape_zyx);
        if shape == own {
            return Self::with_local_labels(grid, tile, &labels, aff);
        }
        let begin = tile.begin_in_read_zyx();
        let bins: Vec<u8> = (0..3).flat_map(|axis| crop(aff.channel(axis), 1, shape, begin, own)).collect();
        let labels = crop(&labels, 1, shape, begin, own);
        let aff = AffinityView::new(&bins, own)
            .unwrap_or_else(|e| unreachable!("a part of affinities has their form: {e}"));
        Self::with_local_labels(grid, tile, &labels, &aff)
    }

    fn with_local_labels(grid: &TileGrid, tile: Tile, labels: &[u32], aff: &AffinityView<'_>) -> Self {
        let (numbers, first_voxels) = number_by_first_voxel(labels);
        let [_, height, width] = tile.shape_zyx;
        let fragment_ids: Vec<u64> = first_voxels
            .into_iter()
            .map(|v| {
                let place = [v / width / height, v / width % height, v % width];
                grid.id_of_voxel(std::array::from_fn(|axis| tile.origin_zyx[axis] + place[axis] as u64))
            })
            .collect();
        let edges = contacts_of_block(&numbers, &fragment_ids, aff);
        let counts_zyx = grid.counts_zyx();
        let face = |axis: usize, at: usize, inside: bool| {
            if inside { plane(&numbers, tile.shape_zyx, axis, at) } else { Vec::new() }
        };
        let has_lower: [bool; 3] = std::array::from_fn(|axis| tile.index_zyx[axis] > 0);
        let has_upper: [bool; 3] = std::array::from_fn(|axis| tile.index_zyx[axis] + 1 < counts_zyx[axis]);
        let record = TileRecord {
            edges,
            low_fragments: std::array::from_fn(|axis| face(axis, 0, has_lower[axis])),
            high_fragments: std::array::from_fn(|axis| face(axis, tile.shape_zyx[axis] - 1, has_upper[axis])),
            low_affinities: std::array::from_fn(|axis| {
                if has_lower[axis] { plane(aff.channel(axis), tile.shape_zyx, axis, 0) } else { Vec::new() }
            }),
            fragment_voxels: voxels_by_number(&numbers, fragment_ids.len()),
            fragment_ids,
        };
        let id_of_number = |&number: &u32| match number.checked_sub(1) {
            Some(position) => record.fragment_ids[position as usize],
            None => 0,
        };
        let labels = numbers.iter().map(id_of_number).collect();
        Self { grid: grid.clone(), tile, labels, record }
    }

    /// Fragment id of every voxel of the tile, z y x; 0 for none.
    pub fn labels(&self) -> &[u64] {
        &self.labels
    }

    /// Where the tile lies.
    pub fn tile(&self) -> &Tile {
        &self.tile
    }

    /// The grid of the tile.
    pub fn grid(&self) -> &TileGrid {
        &self.grid
    }

    /// Ids of the tile's fragments, ascending.
    pub fn fragment_ids(&self) -> &[u64] {
        &self.record.fragment_ids
    }

    pub(crate) fn record(&self) -> &TileRecord {
        &self.record
    }
}

/// The tile, if the affinities are those of it and its halo.
fn tile_of_affinities(
    grid: &TileGrid,
    index_zyx: [u64; 3],
    aff: &AffinityView<'_>,
) -> Result<Tile, FragmentsError> {
    let tile = grid.tile(index_zyx)?;
    if aff.shape_zyx() != tile.read_shape_zyx {
        return Err(FragmentsError::AffinityShape {
            index_zyx,
            read_shape_zyx: tile.read_shape_zyx,
            shape_zyx: aff.shape_zyx(),
        });
    }
    Ok(tile)
}

/// Renumbers labels 1, 2, … in raster order of their first voxels, and lists those voxels.
fn number_by_first_voxel(labels: &[u32]) -> (Vec<u32>, Vec<usize>) {
    let largest = labels.iter().copied().max().unwrap_or(0) as usize;
    if largest <= labels.len() {
        let mut number_of = vec![0u32; largest + 1];
        renumber(labels, |label, next| {
            let number = &mut number_of[label as usize];
            *number = if *number == 0 { next } else { *number };
            *number
        })
    } else {
        let mut number_of: IntMap<u32, u32> = IntMap::default();
        renumber(labels, |label, next| *number_of.entry(label).or_insert(next))
    }
}

/// One pass of [`number_by_first_voxel`]; `number_of(label, next)` is the label's number, which is `next` if the
/// label is new.
fn renumber(labels: &[u32], mut number_of: impl FnMut(u32, u32) -> u32) -> (Vec<u32>, Vec<usize>) {
    let mut numbers = Vec::with_capacity(labels.len());
    let mut first_voxels = Vec::new();
    for (v, &label) in labels.iter().enumerate() {
        if label == 0 {
            numbers.push(0);
            continue;
        }
        let next = first_voxels.len() as u32 + 1;
        let number = number_of(label, next);
        if number == next {
            first_voxels.push(v);
        }
        numbers.push(number);
    }
    (numbers, first_voxels)
}
