//! The fixed grid of tiles on which a volume is worked through.
//!
//! The grid is anchored at the volume's origin: tile `i` begins at voxel `i · tile` on every axis and the last
//! one is clipped. A tile's **window** is the tile (unclipped) with a halo on all six sides; it always has
//! the same size, because the network's normalisation sees the whole window. Where a window leaves the volume it
//! is filled by reflection, see [`pad_reflect`](crate::pad_reflect).

use crate::affinity::MAX_VOXELS;

/// What can be wrong with a grid, or with a question put to one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GridError {
    /// An extent that must be positive is zero.
    #[error("{what} {zyx:?} (z, y, x) has a zero: give every axis at least one voxel")]
    Zero {
        /// Which extent.
        what: &'static str,
        /// Its value, z y x.
        zyx: [u64; 3],
    },
    /// Fragment ids, which are raster indices plus one, would not fit 64 bits.
    #[error(
        "a volume of {volume_zyx:?} (z, y, x) voxels has more voxels than 64-bit ids can name: work on a region of it"
    )]
    TooManyVoxels {
        /// The volume's shape, z y x.
        volume_zyx: [u64; 3],
    },
    /// A window cannot be held in memory.
    #[error(
        "a tile of {tile_zyx:?} with a halo of {halo_zyx:?} (z, y, x) makes a window of more than {MAX_VOXELS} voxels: use smaller tiles"
    )]
    WindowTooLarge {
        /// The tile's shape, z y x.
        tile_zyx: [usize; 3],
        /// The halo, z y x.
        halo_zyx: [usize; 3],
    },
    /// A tile outside the grid was asked for.
    #[error("there is no tile {index_zyx:?}: the grid has {counts_zyx:?} tiles (z, y, x)")]
    NoSuchTile {
        /// The index that was asked for, z y x.
        index_zyx: [u64; 3],
        /// The number of tiles along each axis, z y x.
        counts_zyx: [u64; 3],
    },
}

/// A fixed grid of tiles anchored at the origin of a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileGrid {
    volume_zyx: [u64; 3],
    tile_zyx: [usize; 3],
    halo_zyx: [usize; 3],
}

/// One tile of a [`TileGrid`]: where it lies and what has to be read to work on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tile {
    /// Position in the grid, z y x.
    pub index_zyx: [u64; 3],
    /// First voxel in the volume, z y x.
    pub origin_zyx: [u64; 3],
    /// Shape in voxels, clipped to the volume, z y x.
    pub shape_zyx: [usize; 3],
    /// Shape of the network's window, always tile + 2 · halo, z y x.
    pub window_shape_zyx: [usize; 3],
    /// First voxel of the part of the window that lies inside the volume, z y x.
    pub read_origin_zyx: [u64; 3],
    /// Shape of the part of the window that lies inside the volume, z y x.
    pub read_shape_zyx: [usize; 3],
    /// Voxels of the window that lie before the volume's first one, z y x.
    pub pad_before_zyx: [usize; 3],
}

impl TileGrid {
    /// A grid over a volume of `volume_zyx` voxels with tiles of `tile_zyx` and a halo of `halo_zyx` voxels.
    ///
    /// # Errors
    /// If a volume or tile extent is zero, if the number of voxels does not leave room for ids in 64 bits, or if
    /// a window would exceed [`MAX_VOXELS`].
    pub fn new(
        volume_zyx: [u64; 3],
        tile_zyx: [usize; 3],
        halo_zyx: [usize; 3],
    ) -> Result<TileGrid, GridError> {
        if volume_zyx.contains(&0) {
            return Err(GridError::Zero { what: "the volume's shape", zyx: volume_zyx });
        }
        if tile_zyx.contains(&0) {
            return Err(GridError::Zero { what: "the tile's shape", zyx: tile_zyx.map(|n| n as u64) });
        }
        let voxels = volume_zyx.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        if voxels.is_none_or(|n| n == u64::MAX) {
            return Err(GridError::TooManyVoxels { volume_zyx });
        }
        let window = (0..3).try_fold(1usize, |product, axis| {
            let extent = halo_zyx[axis].checked_mul(2)?.checked_add(tile_zyx[axis])?;
            product.checked_mul(extent)
        });
        if window.is_none_or(|n| n > MAX_VOXELS) {
            return Err(GridError::WindowTooLarge { tile_zyx, halo_zyx });
        }
        Ok(TileGrid { volume_zyx, tile_zyx, halo_zyx })
    }

    /// Shape of the volume in voxels, z y x.
    pub fn volume_zyx(&self) -> [u64; 3] {
        self.volume_zyx
    }

    /// Shape of an unclipped tile in voxels, z y x.
    pub fn tile_zyx(&self) -> [usize; 3] {
        self.tile_zyx
    }

    /// Halo around a tile in voxels, z y x.
    pub fn halo_zyx(&self) -> [usize; 3] {
        self.halo_zyx
    }

    /// Number of tiles along each axis, z y x.
    pub fn counts_zyx(&self) -> [u64; 3] {
        std::array::from_fn(|axis| self.volume_zyx[axis].div_ceil(self.tile_zyx[axis] as u64))
    }

    /// The tile at `index_zyx`.
    ///
    /// # Errors
    /// If the grid has no such tile.
    pub fn tile(&self, index_zyx: [u64; 3]) -> Result<Tile, GridError> {
        let counts_zyx = self.counts_zyx();
        if (0..3).any(|axis| index_zyx[axis] >= counts_zyx[axis]) {
            return Err(GridError::NoSuchTile { index_zyx, counts_zyx });
        }
        let mut tile = Tile {
            index_zyx,
            origin_zyx: [0; 3],
            shape_zyx: [0; 3],
            window_shape_zyx: [0; 3],
            read_origin_zyx: [0; 3],
            read_shape_zyx: [0; 3],
            pad_before_zyx: [0; 3],
        };
        for (axis, index) in index_zyx.into_iter().enumerate() {
            let (volume, extent, halo) =
                (self.volume_zyx[axis], self.tile_zyx[axis] as u64, self.halo_zyx[axis] as u64);
            let origin = index * extent;
            let read_origin = origin.saturating_sub(halo);
            let read_end = origin.saturating_add(extent + halo).min(volume);
            tile.origin_zyx[axis] = origin;
            tile.shape_zyx[axis] = extent.min(volume - origin) as usize;
            tile.window_shape_zyx[axis] = (extent + 2 * halo) as usize;
            tile.read_origin_zyx[axis] = read_origin;
            tile.read_shape_zyx[axis] = (read_end - read_origin) as usize;
            tile.pad_before_zyx[axis] = (halo - (origin - read_origin)) as usize;
        }
        Ok(tile)
    }

    /// Indices (z y x) of the tiles that share a voxel with the half-open box `begin_zyx..end_zyx`, in raster
    /// order. What lies outside the volume is ignored.
    pub fn tiles_intersecting(&self, begin_zyx: [u64; 3], end_zyx: [u64; 3]) -> Vec<[u64; 3]> {
        let end_zyx: [u64; 3] = std::array::from_fn(|axis| end_zyx[axis].min(self.volume_zyx[axis]));
        if (0..3).any(|axis| begin_zyx[axis] >= end_zyx[axis]) {
            return Vec::new();
        }
        let range = |axis: usize| {
            let extent = self.tile_zyx[axis] as u64;
            begin_zyx[axis] / extent..end_zyx[axis].div_ceil(extent)
        };
        let mut indices = Vec::new();
        for z in range(0) {
            for y in range(1) {
                indices.extend(range(2).map(|x| [z, y, x]));
            }
        }
        indices
    }

    /// The tile (z y x) in which the fragment with this id was made; `None` for 0 and for ids beyond the volume.
    pub fn tile_of_id(&self, id: u64) -> Option<[u64; 3]> {
        let raster = id.checked_sub(1)?;
        let [_, height, width] = self.volume_zyx;
        let voxel_zyx = [raster / width / height, raster / width % height, raster % width];
        if voxel_zyx[0] >= self.volume_zyx[0] {
            return None;
        }
        Some(std::array::from_fn(|axis| voxel_zyx[axis] / self.tile_zyx[axis] as u64))
    }

    /// The id of the fragment whose first voxel is `voxel_zyx`: one plus its raster index in the volume.
    pub(crate) fn id_of_voxel(&self, voxel_zyx: [u64; 3]) -> u64 {
        let [_, height, width] = self.volume_zyx;
        1 + (voxel_zyx[0] * height + voxel_zyx[1]) * width + voxel_zyx[2]
    }
}

impl Tile {
    /// Voxels in the tile.
    pub fn voxels(&self) -> usize {
        self.shape_zyx.iter().product()
    }

    /// Where the tile begins in the part of its window that lies inside the volume, z y x.
    pub fn begin_in_read_zyx(&self) -> [usize; 3] {
        std::array::from_fn(|axis| (self.origin_zyx[axis] - self.read_origin_zyx[axis]) as usize)
    }
}

#[cfg(test)]
mod tests;
