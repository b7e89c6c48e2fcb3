//! Bounded memory for voxels: volumes that fit are held whole, and the room that they leave keeps the decoded chunks of
//! the others that were used last.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tu_volume::{DataType, Region, Volume, VolumeError};

/// Chunks of one read that are fetched at the same time: enough to hide a server's latency.
const FETCHES: usize = 8;

/// What of the voxels came from where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkCounts {
    /// Chunks read from storage and decoded.
    pub read: u64,
    /// Bytes of those, decoded.
    pub read_bytes: u64,
    /// Chunks that were still in memory.
    pub reused: u64,
}

/// Memory that the volumes of a run share.
pub struct VoxelMemory {
    state: Mutex<State>,
    arrays: AtomicU64,
}

struct State {
    /// Bytes that no whole volume has taken.
    room: u64,
    /// Bytes of the chunks kept.
    kept: u64,
    chunks: LruCache<ChunkKey, Arc<Voxels>>,
    counts: ChunkCounts,
}

/// Which array, and which of its chunks.
type ChunkKey = (u64, [u64; 3]);

impl VoxelMemory {
    /// Memory of `bytes`, empty.
    #[must_use]
    pub fn new(bytes: u64) -> Arc<Self> {
        let state =
            State { room: bytes, kept: 0, chunks: LruCache::unbounded(), counts: ChunkCounts::default() };
        Arc::new(Self { state: Mutex::new(state), arrays: AtomicU64::new(0) })
    }

    /// Takes `bytes` for a whole volume, if they are free.
    pub(super) fn reserve(&self, bytes: u64) -> bool {
        let mut state = self.state();
        let Some(room) = state.room.checked_sub(bytes) else { return false };
        state.room = room;
        state.shrink();
        true
    }

    /// Chunks read and reused so far.
    #[must_use]
    pub fn counts(&self) -> ChunkCounts {
        self.state().counts
    }

    /// Bytes of the chunks that are kept.
    #[must_use]
    pub fn kept_bytes(&self) -> u64 {
        self.state().kept
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: &ChunkKey) -> Option<Arc<Voxels>> {
        let mut state = self.state();
        let found = state.chunks.get(key).cloned();
        state.counts.reused += u64::from(found.is_some());
        found
    }

    fn keep(&self, key: ChunkKey, voxels: &Arc<Voxels>) {
        let mut state = self.state();
        let bytes = voxels.bytes();
        state.counts.read += 1;
        state.counts.read_bytes += bytes;
        state.kept += bytes;
        if let Some(old) = state.chunks.put(key, Arc::clone(voxels)) {
            state.kept -= old.bytes();
        }
        state.shrink();
    }
}

impl State {
    fn shrink(&mut self) {
        while self.kept > self.room {
            let Some((_, oldest)) = self.chunks.pop_lru() else { return };
            self.kept -= oldest.bytes();
        }
    }
}

/// Voxels of one chunk, C order zyx.
enum Voxels {
    U8(Vec<u8>),
    F32(Vec<f32>),
    Labels(Vec<u64>),
}

impl Voxels {
    fn bytes(&self) -> u64 {
        let bytes = match self {
            Self::U8(v) => v.len(),
            Self::F32(v) => 4 * v.len(),
            Self::Labels(v) => 8 * v.len(),
        };
        bytes as u64
    }
}

/// What a chunk is read as.
#[derive(Clone, Copy)]
enum Content {
    Raw,
    Labels,
}

/// An array of a volume, read chunk by chunk through the memory.
pub(super) struct ChunkedArray {
    volume: Volume,
    content: Content,
    id: u64,
    memory: Arc<VoxelMemory>,
}

impl ChunkedArray {
    pub(super) fn raw(volume: Volume, memory: &Arc<VoxelMemory>) -> Self {
        Self::new(volume, Content::Raw, memory)
    }

    pub(super) fn labels(volume: Volume, memory: &Arc<VoxelMemory>) -> Self {
        Self::new(volume, Content::Labels, memory)
    }

    fn new(volume: Volume, content: Content, memory: &Arc<VoxelMemory>) -> Self {
        let id = memory.arrays.fetch_add(1, Ordering::Relaxed);
        Self { volume, content, id, memory: Arc::clone(memory) }
    }

    /// A box of intensities, of an array opened as [`raw`](Self::raw), C order zyx.
    pub(super) fn read_raw(&self, region: &Region) -> Result<Vec<f32>, VolumeError> {
        self.gather(region, 0.0, |chunk, row, out| match chunk {
            Voxels::U8(v) => out.iter_mut().zip(&v[row]).for_each(|(to, &from)| *to = f32::from(from)),
            Voxels::F32(v) => out.copy_from_slice(&v[row]),
            Voxels::Labels(_) => {}
        })
    }

    /// A box of labels, of an array opened as [`labels`](Self::labels), C order zyx.
    pub(super) fn read_labels(&self, region: &Region) -> Result<Vec<u64>, VolumeError> {
        self.gather(region, 0, |chunk, row, out| {
            if let Voxels::Labels(v) = chunk {
                out.copy_from_slice(&v[row]);
            }
        })
    }

    /// Copies the rows of the chunks under a box that lies inside the volume.
    fn gather<T: Copy>(
        &self,
        region: &Region,
        empty: T,
        copy_row: impl Fn(&Voxels, Range<usize>, &mut [T]),
    ) -> Result<Vec<T>, VolumeError> {
        let mut out = vec![empty; region.shape_zyx.iter().product()];
        let indices = self.indices(region);
        for (index, chunk) in indices.iter().zip(self.chunks(&indices)?) {
            let block = self.block(*index);
            let end = region.end_zyx();
            let low: [u64; 3] = std::array::from_fn(|d| block.origin_zyx[d].max(region.origin_zyx[d]));
            let high: [u64; 3] = std::array::from_fn(|d| block.end_zyx()[d].min(end[d]));
            let row = (high[2] - low[2]) as usize;
            for z in low[0]..high[0] {
                for y in low[1]..high[1] {
                    let from = offset(&block, [z, y, low[2]]);
                    let to = offset(region, [z, y, low[2]]);
                    copy_row(&chunk, from..from + row, &mut out[to..to + row]);
                }
            }
        }
        Ok(out)
    }

    /// Chunks under a box, in C order.
    fn indices(&self, region: &Region) -> Vec<[u64; 3]> {
        let chunk = self.volume.chunk_zyx().map(|side| NonZeroU64::new(side).unwrap_or(NonZeroU64::MIN));
        let end = region.end_zyx();
        let span = |d: usize| region.origin_zyx[d] / chunk[d]..end[d].div_ceil(chunk[d].get());
        span(0).flat_map(|z| span(1).flat_map(move |y| span(2).map(move |x| [z, y, x]))).collect()
    }

    /// Voxels of a chunk, cut off at the volume's border.
    fn block(&self, index: [u64; 3]) -> Region {
        let (chunk, shape) = (self.volume.chunk_zyx(), self.volume.shape_zyx());
        let origin_zyx: [u64; 3] = std::array::from_fn(|d| index[d] * chunk[d]);
        Region {
            origin_zyx,
            shape_zyx: std::array::from_fn(|d| chunk[d].min(shape[d] - origin_zyx[d]) as usize),
        }
    }

    /// The chunks; those that are not kept are read side by side. Of several failures the first in C order is returned.
    fn chunks(&self, indices: &[[u64; 3]]) -> Result<Vec<Arc<Voxels>>, VolumeError> {
        let mut chunks: Vec<Option<Arc<Voxels>>> =
            indices.iter().map(|index| self.memory.find(&(self.id, *index))).collect();
        let missing: Vec<usize> = (0..chunks.len()).filter(|&i| chunks[i].is_none()).collect();
        let next = AtomicUsize::new(0);
        let fetched = Mutex::new(Vec::with_capacity(missing.len()));
        std::thread::scope(|scope| {
            for _ in 0..missing.len().min(FETCHES) {
                scope.spawn(|| {
                    while let Some(&i) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let read = self.fetch(indices[i]);
                        fetched.lock().unwrap_or_else(PoisonError::into_inner).push((i, read));
                    }
                });
            }
        });
        let mut fetched = fetched.into_inner().unwrap_or_else(PoisonError::into_inner);
        fetched.sort_by_key(|(i, _)| *i);
        for (i, read) in fetched {
            let voxels = Arc::new(read?);
            self.memory.keep((self.id, indices[i]), &voxels);
            chunks[i] = Some(voxels);
        }
        Ok(chunks.into_iter().flatten().collect())
    }

    fn fetch(&self, index: [u64; 3]) -> Result<Voxels, VolumeError> {
        let block = self.block(index);
        Ok(match self.content {
            Content::Labels => Voxels::Labels(self.volume.read_u64(&block)?),
            Content::Raw if self.volume.data_type() == DataType::U8 => {
                Voxels::U8(self.volume.read_u8(&block)?)
            }
            Content::Raw => Voxels::F32(self.volume.read_f32(&block)?),
        })
    }
}

/// Place of a voxel in a box, C order zyx.
fn offset(region: &Region, voxel_zyx: [u64; 3]) -> usize {
    let at: [usize; 3] = std::array::from_fn(|d| (voxel_zyx[d] - region.origin_zyx[d]) as usize);
    (at[0] * region.shape_zyx[1] + at[1]) * region.shape_zyx[2] + at[2]
}

#[cfg(test)]
mod tests;
