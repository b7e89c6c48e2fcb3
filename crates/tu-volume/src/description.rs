//! What is known of a volume once it is open, whatever its format.

use crate::DataType;
use serde_json::{Map, Value};

/// Geometry, type and attributes of an open volume (of one scale of it).
#[derive(Debug, Clone)]
pub(crate) struct Description {
    /// What messages call it.
    pub(crate) url: String,
    pub(crate) format: &'static str,
    pub(crate) data_type: DataType,
    pub(crate) shape_zyx: [u64; 3],
    pub(crate) chunk_zyx: [u64; 3],
    pub(crate) channels: usize,
    pub(crate) voxel_nm_zyx: Option<[f64; 3]>,
    pub(crate) voxel_offset_zyx: [i64; 3],
    pub(crate) scales: usize,
    pub(crate) attributes: Map<String, Value>,
    pub(crate) complete: bool,
}

/// The attribute under which our own state is kept: `{"complete": false}` while a volume is being written.
pub(crate) const STATE_KEY: &str = "tokenunify";

/// Whether attributes say that the writer got to the end; volumes of other programs always count as complete.
pub(crate) fn is_complete(attributes: &Map<String, Value>) -> bool {
    attributes.get(STATE_KEY).and_then(|state| state.get("complete")).and_then(Value::as_bool).unwrap_or(true)
}

/// Three numbers of an attribute that has one per axis of the array; leading axes are dropped.
pub(crate) fn last_three_f64(value: Option<&Value>) -> Option<[f64; 3]> {
    let list = value?.as_array()?;
    let start = list.len().checked_sub(3)?;
    let numbers: Option<Vec<f64>> = list[start..].iter().map(Value::as_f64).collect();
    numbers?.try_into().ok()
}

/// As [`last_three_f64`], for integers.
pub(crate) fn last_three_i64(value: Option<&Value>) -> Option<[i64; 3]> {
    let numbers = last_three_f64(value)?;
    numbers.iter().all(|v| v.fract() == 0.0 && v.abs() < 9.0e15).then(|| numbers.map(|v| v as i64))
}

/// A voxel size is usable when it is finite and positive.
pub(crate) fn plausible_size(size: Option<[f64; 3]>) -> Option<[f64; 3]> {
    size.filter(|s| s.iter().all(|v| v.is_finite() && *v > 0.0))
}

/// The public getters that the blocking and the asynchronous volume have in common.
macro_rules! accessors {
    ($volume:ident) => {
        impl $volume {
            /// Shape in voxels, zyx.
            #[must_use]
            pub fn shape_zyx(&self) -> [u64; 3] {
                self.description().shape_zyx
            }

            /// Shape of the stored chunks in voxels, zyx (of a sharded array: the shards).
            #[must_use]
            pub fn chunk_zyx(&self) -> [u64; 3] {
                self.description().chunk_zyx
            }

            /// Number of channels; 1 for arrays of rank 3.
            #[must_use]
            pub fn channels(&self) -> usize {
                self.description().channels
            }

            /// The stored type of a voxel.
            #[must_use]
            pub fn data_type(&self) -> $crate::DataType {
                self.description().data_type
            }

            /// Voxel size in nanometres, zyx, if the metadata say it.
            #[must_use]
            pub fn voxel_nm_zyx(&self) -> Option<[f64; 3]> {
                self.description().voxel_nm_zyx
            }

            /// Where the first voxel sits in the coordinates that the volume was cut from, in voxels, zyx.
            #[must_use]
            pub fn voxel_offset_zyx(&self) -> [i64; 3] {
                self.description().voxel_offset_zyx
            }

            /// Number of scales of the volume that this one belongs to.
            #[must_use]
            pub fn scales(&self) -> usize {
                self.description().scales
            }

            /// `zarr2`, `zarr3` or `precomputed`.
            #[must_use]
            pub fn format(&self) -> &'static str {
                self.description().format
            }

            /// The attributes of the array and of the image group around it.
            #[must_use]
            pub fn attributes(&self) -> &serde_json::Map<String, serde_json::Value> {
                &self.description().attributes
            }

            /// Whether its writer got to the end; true for volumes of other programs.
            #[must_use]
            pub fn is_complete(&self) -> bool {
                self.description().complete
            }

            /// The whole volume as a region.
            #[must_use]
            pub fn region(&self) -> $crate::Region {
                let shape = self.shape_zyx().map(|n| usize::try_from(n).unwrap_or(usize::MAX));
                $crate::Region { origin_zyx: [0; 3], shape_zyx: shape }
            }
        }
    };
}
pub(crate) use accessors;
