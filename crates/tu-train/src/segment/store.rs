//! Fragment labels of finished tiles, read from their records and kept while they are likely to be wanted again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tu_segment::TileGrid;

use super::error::SegmentError;
use super::workspace::Workspace;
use crate::roi::Roi;

/// Labels that are kept in memory at most, in bytes; one tile is always kept.
const CACHE_BYTES: usize = 64 << 20;

/// A tile's index (z y x) and labels.
type CachedTile = ([u64; 3], Arc<Vec<u64>>);

/// Reads fragment labels anywhere in the tiles that are done.
pub struct FragmentStore<'a> {
    grid: &'a TileGrid,
    workspace: &'a Workspace,
    /// Most recently used last.
    cache: Mutex<VecDeque<CachedTile>>,
}

impl<'a> FragmentStore<'a> {
    /// The tiles of `grid` that are done in `workspace`.
    #[must_use]
    pub fn new(grid: &'a TileGrid, workspace: &'a Workspace) -> Self {
        Self { grid, workspace, cache: Mutex::default() }
    }

    /// Fragment ids in a region of the volume, C order.
    ///
    /// # Errors
    /// A tile that the region touches has no readable record.
    pub fn read(&self, roi: &Roi) -> Result<Vec<u64>, SegmentError> {
        let shape = roi.shape_zyx().map(|n| n as usize);
        let mut labels = vec![0u64; shape.iter().product()];
        for index in self.grid.tiles_intersecting(roi.begin_zyx, roi.end_zyx) {
            let tile = self.grid.tile(index)?;
            let end_zyx = std::array::from_fn(|d| tile.origin_zyx[d] + tile.shape_zyx[d] as u64);
            let Some(part) = roi.intersection(&Roi { begin_zyx: tile.origin_zyx, end_zyx }) else { continue };
            let from = self.tile(index)?;
            let (source, target) = (part.relative_to(tile.origin_zyx), part.relative_to(roi.begin_zyx));
            let width = source.shape_zyx[2];
            for z in 0..source.shape_zyx[0] {
                for y in 0..source.shape_zyx[1] {
                    let row = |origin: [u64; 3], shape: [usize; 3]| {
                        ((origin[0] as usize + z) * shape[1] + origin[1] as usize + y) * shape[2]
                            + origin[2] as usize
                    };
                    let (to, at) = (row(target.origin_zyx, shape), row(source.origin_zyx, tile.shape_zyx));
                    labels[to..to + width].copy_from_slice(&from[at..at + width]);
                }
            }
        }
        Ok(labels)
    }

    fn tile(&self, index_zyx: [u64; 3]) -> Result<Arc<Vec<u64>>, SegmentError> {
        // Held while reading, so that threads that want the same tile read it once.
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = cache.iter().position(|(index, _)| *index == index_zyx) {
            let entry = cache.remove(at);
            if let Some(entry) = entry {
                let labels = Arc::clone(&entry.1);
                cache.push_back(entry);
                return Ok(labels);
            }
        }
        let record = self.workspace.read(index_zyx)?;
        if record.index_zyx != index_zyx || record.shape_zyx != self.grid.tile(index_zyx)?.shape_zyx {
            return Err(SegmentError::refused(
                self.workspace.folder().display().to_string(),
                format!("the record of tile {index_zyx:?} is that of another tile"),
                "delete the folder and start anew",
            ));
        }
        let labels = Arc::new(record.labels);
        cache.push_back((index_zyx, Arc::clone(&labels)));
        let mut bytes: usize = cache.iter().map(|(_, labels)| labels.len() * 8).sum();
        while bytes > CACHE_BYTES && cache.len() > 1 {
            bytes -= cache.pop_front().map_or(0, |(_, labels)| labels.len() * 8);
        }
        Ok(labels)
    }
}
