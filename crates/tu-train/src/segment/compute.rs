//! The first half of a run: affinities of every tile, handed to workers while the next one is read.
//!
//! ```text
//! one thread   reads   the windows of tiles
//! this thread  has the device compute tile n+1, then waits for tile n
//! workers      make fragments
//! ```
//! Only a GPU has a tile to compute while this thread waits for another; a processor computes when it is asked to.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Device;
use tu_model::Network;
use tu_segment::{Tile, TileGrid, crop, quantise_affinity};
use tu_volume::{DataType, NewVolume, Region, Volume, VolumeWriter};

use super::error::{SegmentError, TileFailure};
use super::job::TileInput;
use super::pipeline::{Computing, Pipeline};
use super::progress::Progress;
use super::source::RawSource;
use crate::roi::Roi;

/// Tiles that a GPU may still be computing while another is enqueued: with it, two are under way.
const AHEAD: usize = 1;
/// So many failures without a success in between are not the fault of single tiles.
const HOPELESS: usize = 8;

/// Affinities of one tile and its halo, as far as they lie inside the volume, channels z, y, x.
pub(super) struct ComputedTile {
    pub(super) tile: Tile,
    /// `[3, tile.read_shape_zyx]` in 256 bins.
    pub(super) bins: Vec<u8>,
    /// The same as the network gave them, where asked for.
    pub(super) exact: Option<Vec<f32>>,
    /// Somebody else's fragments, numbered within the tile.
    pub(super) fragments: Option<Vec<u32>>,
}

/// What was read for a tile.
enum Loaded {
    /// The tile's window, normalised and padded.
    Window(Vec<f32>),
    /// Affinities, and fragments if they were given.
    Affinities(Vec<u8>, Option<Vec<u32>>),
}

fn read_window(raw: &dyn RawSource, network: &Network, tile: &Tile) -> Result<Vec<f32>, SegmentError> {
    let region = Region { origin_zyx: tile.read_origin_zyx, shape_zyx: tile.read_shape_zyx };
    Ok(network.tile_window(raw.read(&region)?, raw.data_type_max(), tile)?)
}

fn read_affinities(volume: &Volume, fragments: Option<&Volume>, tile: &Tile) -> Result<Loaded, SegmentError> {
    let region = Region { origin_zyx: tile.read_origin_zyx, shape_zyx: tile.read_shape_zyx };
    let bins = if volume.data_type() == DataType::U8 {
        volume.read_channels_u8(&region)?
    } else {
        volume.read_channels_f32(&region)?.into_iter().map(quantise_affinity).collect()
    };
    let fragments = fragments.map(|volume| volume.read_u64(&region).map(|ids| numbered(&ids))).transpose()?;
    Ok(Loaded::Affinities(bins, fragments))
}

/// Ids as 1, 2, … in order of appearance; 0 stays 0.
fn numbered(ids: &[u64]) -> Vec<u32> {
    let mut numbers: HashMap<u64, u32> = HashMap::from([(0, 0)]);
    let mut labels = Vec::with_capacity(ids.len());
    for run in ids.chunk_by(|a, b| a == b) {
        let next = numbers.len() as u32;
        let number = *numbers.entry(run[0]).or_insert(next);
        labels.resize(labels.len() + run.len(), number);
    }
    labels
}

/// Computes tiles and hands each to `done` on one of `workers` threads. Every tile that fails is in the result; after
/// several failures in a row the rest is not tried.
pub(super) fn for_each_tile(
    input: &TileInput<'_>,
    grid: &TileGrid,
    indices: &[[u64; 3]],
    (workers, exact): (usize, bool),
    progress: &dyn Progress,
    done: &(dyn Fn(ComputedTile) -> Result<(), SegmentError> + Sync),
) -> Vec<TileFailure> {
    type Read<'r> = Box<dyn Fn(&Tile) -> Result<Loaded, SegmentError> + Send + 'r>;
    let (read, volume): (Read<'_>, &str) = match input {
        TileInput::Network { network, raw } => {
            let (raw, network) = (*raw, *network);
            (Box::new(move |tile| read_window(raw, network, tile).map(Loaded::Window)), raw.name())
        }
        TileInput::Affinities { volume, fragments } => {
            let (volume, fragments) = (*volume, *fragments);
            (Box::new(move |tile| read_affinities(volume, fragments, tile)), volume.url())
        }
    };
    let start = |loaded: Loaded, tile: Tile| match (loaded, input) {
        (Loaded::Window(window), TileInput::Network { network, .. }) => {
            Computing::start(network, window, tile, exact)
        }
        (Loaded::Affinities(bins, fragments), _) => {
            Ok(Computing::Done(ComputedTile { tile, bins, exact: None, fragments }))
        }
        (Loaded::Window(_), TileInput::Affinities { .. }) => Err("it was read for a network".to_owned()),
    };
    let ahead = match input {
        TileInput::Network { network, .. } if *network.device() != Device::flex() => AHEAD,
        _ => 0,
    };
    let failures = Mutex::new(Vec::new());
    let (streak, hopeless) = (AtomicUsize::new(0), AtomicBool::new(false));
    let fail = |index_zyx: [u64; 3], cause: String| {
        let failure = TileFailure { index_zyx, volume: volume.to_owned(), cause };
        progress.note(&format!("failed: {failure}"));
        failures.lock().unwrap_or_else(PoisonError::into_inner).push(failure);
        if streak.fetch_add(1, Ordering::SeqCst) + 1 >= HOPELESS && !hopeless.swap(true, Ordering::SeqCst) {
            progress.note(&format!("{HOPELESS} tiles failed in a row: the rest is not tried"));
        }
    };
    let (loaded_in, loaded_out) = sync_channel(2);
    let (work_in, work_out) = sync_channel::<ComputedTile>(workers);
    let work_out = Mutex::new(work_out);
    std::thread::scope(|scope| {
        let (fail, streak, hopeless, work_out) = (&fail, &streak, &hopeless, &work_out);
        scope.spawn(move || {
            for &index in indices {
                if hopeless.load(Ordering::SeqCst) {
                    break;
                }
                let loaded = match grid.tile(index) {
                    Ok(tile) => read(&tile).map(|loaded| (tile, loaded)).map_err(|e| e.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                if loaded_in.send((index, loaded)).is_err() {
                    break;
                }
            }
        });
        for _ in 0..workers.max(1) {
            scope.spawn(move || {
                loop {
                    let next = work_out.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(computed) = next else { break };
                    let (index, voxels) = (computed.tile.index_zyx, computed.tile.voxels());
                    match done(computed) {
                        Ok(()) => {
                            streak.store(0, Ordering::SeqCst);
                            progress.advance(voxels as u64);
                        }
                        Err(error) => fail(index, error.to_string()),
                    }
                }
            });
        }
        let deliver = |index, computed: Result<ComputedTile, String>| match computed {
            Ok(computed) => work_in.send(computed).is_ok(),
            Err(cause) => {
                fail(index, cause);
                true
            }
        };
        let mut pipeline = Pipeline::new(ahead, deliver);
        for (index, loaded) in loaded_out {
            match loaded.and_then(|(tile, loaded)| start(loaded, tile)) {
                Ok(tile) => {
                    if !pipeline.push(index, tile) {
                        break;
                    }
                }
                Err(cause) => fail(index, cause),
            }
        }
        pipeline.drain(0);
        drop(work_in);
    });
    let mut failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
    failures.sort_by_key(|failure| failure.index_zyx);
    failures
}

/// How affinities are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AffinityType {
    /// The 256 bins that segmentation works on.
    #[default]
    U8,
    /// As the network gave them.
    F32,
}

/// Where affinities are written, tile by tile, for a region.
pub struct AffinitySink {
    writer: VolumeWriter,
    stored: AffinityType,
    roi: Roi,
}

impl AffinitySink {
    /// Creates `[3, z, y, x]` of the region's shape at `url`, or opens it where `resume` says that it may be there.
    ///
    /// # Errors
    /// The volume cannot be created or opened.
    pub fn open(
        url: &str,
        stored: AffinityType,
        roi: Roi,
        chunk_zyx: [usize; 3],
        (voxel_nm_zyx, voxel_offset_zyx): (Option<[f64; 3]>, [i64; 3]),
        resume: bool,
    ) -> Result<Self, SegmentError> {
        let writer = if resume && super::job::local_path(url)?.exists() {
            VolumeWriter::open_existing(url)?
        } else {
            let channels = serde_json::json!(["affinity_z", "affinity_y", "affinity_x"]);
            VolumeWriter::create(
                url,
                &NewVolume {
                    shape_zyx: roi.shape_zyx(),
                    channels: Some(3),
                    data_type: match stored {
                        AffinityType::U8 => DataType::U8,
                        AffinityType::F32 => DataType::F32,
                    },
                    chunk_zyx: std::array::from_fn(|d| chunk_zyx[d].min(roi.shape_zyx()[d] as usize)),
                    voxel_nm_zyx,
                    voxel_offset_zyx: std::array::from_fn(|d| voxel_offset_zyx[d] + roi.begin_zyx[d] as i64),
                    attributes: serde_json::Map::from_iter([("channels".to_owned(), channels)]),
                },
            )?
        };
        Ok(Self { writer, stored, roi })
    }

    /// Whether unquantised affinities are needed.
    pub(super) fn exact(&self) -> bool {
        self.stored == AffinityType::F32
    }

    /// Writes the part of a tile that lies in the region.
    pub(super) fn write(&self, computed: &ComputedTile) -> Result<(), SegmentError> {
        let tile = &computed.tile;
        let end_zyx = std::array::from_fn(|d| tile.origin_zyx[d] + tile.shape_zyx[d] as u64);
        let Some(part) = self.roi.intersection(&Roi { begin_zyx: tile.origin_zyx, end_zyx }) else {
            return Ok(());
        };
        let (source, target) = (part.relative_to(tile.read_origin_zyx), part.relative_to(self.roi.begin_zyx));
        let (read, begin) = (tile.read_shape_zyx, source.origin_zyx.map(|n| n as usize));
        match &computed.exact {
            Some(values) if self.exact() => {
                self.writer.write_channels_f32(&target, &crop(values, 3, read, begin, source.shape_zyx))?;
            }
            _ => {
                let bins = crop(&computed.bins, 3, read, begin, source.shape_zyx);
                self.writer.write_channels_u8(&target, &bins)?;
            }
        }
        Ok(())
    }

    /// Marks the volume as complete.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub fn finish(self) -> Result<(), SegmentError> {
        Ok(self.writer.finish()?)
    }
}
