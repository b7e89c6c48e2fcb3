//! The second half of a run: fragments become segments, block by block of the output.

use rayon::prelude::*;
use serde_json::{Map, Value};
use tu_segment::Agglomeration;
use tu_volume::{DataType, NewVolume, VolumeWriter};

use super::error::SegmentError;
use super::progress::Progress;
use super::store::FragmentStore;
use crate::roi::Roi;

/// Chunks of label volumes; blocks of work are chunks, so that several threads may write.
const CHUNK_ZYX: [usize; 3] = [64, 64, 64];

/// A label volume that is being written for a region.
pub struct LabelOutput {
    writer: VolumeWriter,
}

impl LabelOutput {
    /// Creates a u64 volume of the region's shape at `url` (zarr by suffix, else precomputed), or opens it where
    /// `resume` says that it may be there.
    ///
    /// # Errors
    /// The volume cannot be created or opened.
    pub fn open(
        url: &str,
        roi: Roi,
        (voxel_nm_zyx, voxel_offset_zyx): (Option<[f64; 3]>, [i64; 3]),
        attributes: Map<String, Value>,
        resume: bool,
    ) -> Result<Self, SegmentError> {
        if resume && super::job::local_path(url)?.exists() {
            return Ok(Self { writer: VolumeWriter::open_existing(url)? });
        }
        let shape_zyx = roi.shape_zyx();
        let writer = VolumeWriter::create(
            url,
            &NewVolume {
                shape_zyx,
                channels: None,
                data_type: DataType::U64,
                chunk_zyx: std::array::from_fn(|d| CHUNK_ZYX[d].min(shape_zyx[d] as usize)),
                voxel_nm_zyx,
                voxel_offset_zyx: std::array::from_fn(|d| voxel_offset_zyx[d] + roi.begin_zyx[d] as i64),
                attributes,
            },
        )?;
        Ok(Self { writer })
    }

    /// Marks the volume as complete.
    ///
    /// # Errors
    /// The mark cannot be written.
    pub fn finish(self) -> Result<(), SegmentError> {
        Ok(self.writer.finish()?)
    }
}

/// Writes the region's segments, and its fragments where asked for.
pub(super) fn assemble(
    store: &FragmentStore<'_>,
    agglomeration: &Agglomeration,
    roi: Roi,
    segments: &LabelOutput,
    fragments: Option<&LabelOutput>,
    progress: &dyn Progress,
) -> Result<(), SegmentError> {
    let shape = roi.shape_zyx();
    let block_zyx = std::array::from_fn(|d| CHUNK_ZYX[d].min(shape[d] as usize));
    roi.blocks(block_zyx).par_bridge().try_for_each(|block| {
        let mut labels = store.read(&block)?;
        let region = block.relative_to(roi.begin_zyx);
        if let Some(output) = fragments {
            output.writer.write_u64(&region, &labels)?;
        }
        agglomeration.relabel(&mut labels);
        segments.writer.write_u64(&region, &labels)?;
        progress.advance(block.voxels());
        Ok(())
    })
}
