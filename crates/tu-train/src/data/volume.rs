//! A volume that crops are drawn from: raw voxels and, for fine-tuning, labels, over a region of interest.
//!
//! What fits the memory bound is read once; the rest is read crop by crop, chunks used lately from memory. Reading past
//! the region reflects at its border.

use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use tu_segment::pad_reflect;
use tu_volume::{DataType, Region, Volume};

use super::DataError;
use super::voxel_memory::{ChunkedArray, VoxelMemory};
use crate::phantom::{PhantomConfig, phantom};

/// One volume in a configuration: `raw` with `labels`, or a `phantom` that is made on the spot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct VolumeEntry {
    /// URL of the raw volume.
    pub raw: Option<String>,
    /// URL of the label volume, same shape.
    pub labels: Option<String>,
    /// First voxel of the region used, zyx. Default: 0, 0, 0.
    pub begin_zyx: Option<[u64; 3]>,
    /// End (exclusive) of the region used, zyx. Default: the volume's shape.
    pub end_zyx: Option<[u64; 3]>,
    /// Relative probability of drawing a crop from this volume. Default: 1.
    pub weight: Option<f64>,
    /// Draws all axis orders, not only y/x exchanges; for isotropic voxels. Default: false.
    pub permute_axes: bool,
    /// Voxel size in nm, zyx, when the volume does not carry one. Default: the volume's own, else 10, 10, 10.
    pub voxel_nm_zyx: Option<[f64; 3]>,
    /// Synthetic EM to use in place of `raw` and `labels`.
    pub phantom: Option<PhantomConfig>,
}

impl VolumeEntry {
    /// A labelled volume, whole.
    #[must_use]
    pub fn labelled(raw: &str, labels: &str) -> Self {
        Self { raw: Some(raw.into()), labels: Some(labels.into()), ..Self::default() }
    }
}

enum RawVoxels {
    U8(Vec<u8>),
    F32(Vec<f32>),
}

enum Store {
    Memory { raw: RawVoxels, labels: Option<Vec<u32>> },
    OnDemand { raw: ChunkedArray, labels: Option<ChunkedArray> },
}

/// A volume ready to be sampled.
pub struct TrainingVolume {
    name: String,
    store: Store,
    begin_zyx: [u64; 3],
    shape_zyx: [usize; 3],
    weight: f64,
    permute_axes: bool,
    voxel_nm_zyx: [f64; 3],
    data_type_max: f32,
}

/// A block read from a volume, C order zyx.
pub struct Block {
    /// Raw values as stored.
    pub raw: Vec<f32>,
    /// Labels, empty for unlabelled volumes; 0 = unlabelled.
    pub labels: Vec<u64>,
}

fn check_region(
    name: &str,
    entry: &VolumeEntry,
    shape_zyx: [u64; 3],
) -> Result<([u64; 3], [usize; 3]), DataError> {
    let begin = entry.begin_zyx.unwrap_or([0; 3]);
    let end = entry.end_zyx.unwrap_or(shape_zyx);
    for axis in 0..3 {
        if begin[axis] >= end[axis] || end[axis] > shape_zyx[axis] {
            return Err(DataError::Region { name: name.into(), begin_zyx: begin, end_zyx: end, shape_zyx });
        }
    }
    let too_large = || DataError::Unusable {
        name: name.into(),
        cause: "the region does not fit this machine's address space; give a smaller one".into(),
    };
    let mut shape = [0; 3];
    for axis in 0..3 {
        shape[axis] = usize::try_from(end[axis] - begin[axis]).map_err(|_| too_large())?;
    }
    shape.iter().try_fold(1usize, |n, &s| n.checked_mul(s)).ok_or_else(too_large)?;
    Ok((begin, shape))
}

/// Renumbers labels to 0 (kept) and 1.. in order of appearance: only equality matters for affinities and for VOI.
fn compact(labels: &[u64], name: &str) -> Result<Vec<u32>, DataError> {
    let mut known: HashMap<u64, u32> = HashMap::from([(0, 0)]);
    let mut last = (0u64, 0u32);
    labels
        .iter()
        .map(|&label| {
            if label != last.0 {
                let next = u32::try_from(known.len()).map_err(|_| DataError::Unusable {
                    name: name.into(),
                    cause: "more than 2^32 different labels; give a smaller region".into(),
                })?;
                last = (label, *known.entry(label).or_insert(next));
            }
            Ok(last.1)
        })
        .collect()
}

impl TrainingVolume {
    /// Opens a configured volume and reads it if it fits what is free of `memory`.
    ///
    /// # Errors
    /// The volume cannot be opened, raw and labels differ in shape, or the region is not inside.
    pub fn open(
        entry: &VolumeEntry,
        memory: &Arc<VoxelMemory>,
        needs_labels: bool,
    ) -> Result<Self, DataError> {
        let weight = entry.weight.unwrap_or(1.0);
        if !weight.is_finite() || weight < 0.0 {
            return Err(DataError::Unusable {
                name: entry.raw.clone().unwrap_or_else(|| "phantom".into()),
                cause: format!("weight {weight} must be a number of at least 0"),
            });
        }
        if let Some(config) = &entry.phantom {
            return Self::from_phantom(entry, config, weight);
        }
        let url = entry.raw.as_deref().ok_or_else(|| DataError::Unusable {
            name: "volume entry".into(),
            cause: "it has neither `raw` nor `phantom`; give one".into(),
        })?;
        let unreadable = |cause: tu_volume::VolumeError| DataError::Unreadable {
            name: url.into(),
            cause: Box::new(cause),
        };
        let raw = Volume::open(url).map_err(unreadable)?;
        let labels = match (&entry.labels, needs_labels) {
            (Some(labels_url), _) => {
                let labels = Volume::open(labels_url).map_err(|cause| DataError::Unreadable {
                    name: labels_url.clone(),
                    cause: Box::new(cause),
                })?;
                if labels.shape_zyx() != raw.shape_zyx() {
                    return Err(DataError::Unusable {
                        name: labels_url.clone(),
                        cause: format!(
                            "labels have shape {:?} and raw {:?}; both must cover the same voxels",
                            labels.shape_zyx(),
                            raw.shape_zyx()
                        ),
                    });
                }
                Some(labels)
            }
            (None, true) => {
                return Err(DataError::Unusable {
                    name: url.into(),
                    cause: "no labels are given; fine-tuning needs `labels`".into(),
                });
            }
            (None, false) => None,
        };
        let (begin_zyx, shape_zyx) = check_region(url, entry, raw.shape_zyx())?;
        let voxels: u64 = shape_zyx.iter().map(|&s| s as u64).product();
        let max = raw.data_type().full_range();
        let byte_raw = raw.data_type() == DataType::U8;
        // Reading labels passes through 8 bytes per voxel before they are renumbered to 4.
        let bytes = voxels * (if byte_raw { 1 } else { 4 } + if labels.is_some() { 4 } else { 0 });
        let voxel_nm_zyx = entry.voxel_nm_zyx.or(raw.voxel_nm_zyx()).unwrap_or([10.0; 3]);
        let store = if memory.reserve(bytes) {
            let region = Region { origin_zyx: begin_zyx, shape_zyx };
            let values = if byte_raw {
                RawVoxels::U8(raw.read_u8(&region).map_err(unreadable)?)
            } else {
                RawVoxels::F32(raw.read_f32(&region).map_err(unreadable)?)
            };
            let labels = match &labels {
                Some(volume) => Some(compact(&volume.read_u64(&region).map_err(unreadable)?, url)?),
                None => None,
            };
            Store::Memory { raw: values, labels }
        } else {
            let labels = labels.map(|volume| ChunkedArray::labels(volume, memory));
            Store::OnDemand { raw: ChunkedArray::raw(raw, memory), labels }
        };
        Ok(Self {
            name: url.into(),
            store,
            begin_zyx,
            shape_zyx,
            weight,
            permute_axes: entry.permute_axes,
            voxel_nm_zyx,
            data_type_max: max,
        })
    }

    fn from_phantom(entry: &VolumeEntry, config: &PhantomConfig, weight: f64) -> Result<Self, DataError> {
        let name = format!("phantom (seed {})", config.seed);
        let made =
            phantom(config).map_err(|e| DataError::Unusable { name: name.clone(), cause: e.to_string() })?;
        let (begin_zyx, shape_zyx) = check_region(&name, entry, config.shape_zyx.map(|s| s as u64))?;
        let first = begin_zyx.map(|b| b as usize);
        let mut raw = Vec::with_capacity(shape_zyx.iter().product());
        let mut labels = Vec::with_capacity(raw.capacity());
        for z in 0..shape_zyx[0] {
            for y in 0..shape_zyx[1] {
                let row =
                    ((z + first[0]) * config.shape_zyx[1] + y + first[1]) * config.shape_zyx[2] + first[2];
                raw.extend_from_slice(&made.raw[row..row + shape_zyx[2]]);
                labels.extend_from_slice(&made.labels[row..row + shape_zyx[2]]);
            }
        }
        let mut volume = Self::from_memory(&name, raw, &labels, shape_zyx)?;
        volume.begin_zyx = begin_zyx;
        volume.weight = weight;
        volume.permute_axes = entry.permute_axes;
        volume.voxel_nm_zyx = config.voxel_nm_zyx;
        Ok(volume)
    }

    /// A volume of u8 voxels already in memory, with labels or (empty) without; weight 1, voxels of 10 nm.
    ///
    /// # Errors
    /// The arrays do not fit the shape, or it is empty.
    pub fn from_memory(
        name: &str,
        raw: Vec<u8>,
        labels: &[u64],
        shape_zyx: [usize; 3],
    ) -> Result<Self, DataError> {
        let voxels = shape_zyx.iter().try_fold(1usize, |n, &s| n.checked_mul(s));
        if raw.is_empty() || voxels != Some(raw.len()) || !(labels.is_empty() || labels.len() == raw.len()) {
            return Err(DataError::Unusable {
                name: name.into(),
                cause: format!(
                    "{} raw values and {} labels do not fill shape {shape_zyx:?}",
                    raw.len(),
                    labels.len()
                ),
            });
        }
        let labels = if labels.is_empty() { None } else { Some(compact(labels, name)?) };
        Ok(Self {
            name: name.into(),
            store: Store::Memory { raw: RawVoxels::U8(raw), labels },
            begin_zyx: [0; 3],
            shape_zyx,
            weight: 1.0,
            permute_axes: false,
            voxel_nm_zyx: [10.0; 3],
            data_type_max: 255.0,
        })
    }

    /// URL, or a word for a phantom.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Shape of the region of interest in voxels, zyx.
    #[must_use]
    pub fn shape_zyx(&self) -> [usize; 3] {
        self.shape_zyx
    }

    /// First voxel of the region of interest in the volume, zyx.
    #[must_use]
    pub fn begin_zyx(&self) -> [u64; 3] {
        self.begin_zyx
    }

    /// Relative probability of being drawn.
    #[must_use]
    pub fn weight(&self) -> f64 {
        self.weight
    }

    /// Lets crops take any axis order, for isotropic voxels.
    #[must_use]
    pub fn with_permuted_axes(mut self) -> Self {
        self.permute_axes = true;
        self
    }

    /// Whether crops take any axis order.
    #[must_use]
    pub fn permute_axes(&self) -> bool {
        self.permute_axes
    }

    /// Voxel size in nm, zyx.
    #[must_use]
    pub fn voxel_nm_zyx(&self) -> [f64; 3] {
        self.voxel_nm_zyx
    }

    /// Largest value of the raw data type; 1 for floats.
    #[must_use]
    pub fn data_type_max(&self) -> f32 {
        self.data_type_max
    }

    /// Reads a block whose origin is relative to the region of interest and may lie outside it; outside, the region is
    /// reflected.
    ///
    /// # Errors
    /// Storage fails.
    pub fn read(&self, origin_zyx: [i64; 3], shape_zyx: [usize; 3]) -> Result<Block, DataError> {
        let mut low = [0usize; 3];
        let mut inside = [0usize; 3];
        let mut before = [0usize; 3];
        for axis in 0..3 {
            let extent = self.shape_zyx[axis] as i64;
            // A block that lies wholly outside still needs one plane to reflect.
            let begin = origin_zyx[axis].clamp(0, extent - 1);
            let end = (origin_zyx[axis] + shape_zyx[axis] as i64).clamp(begin + 1, extent);
            low[axis] = begin as usize;
            inside[axis] = (end - begin) as usize;
            before[axis] = (begin - origin_zyx[axis]).max(0) as usize;
        }
        let (raw, labels) = match &self.store {
            Store::Memory { raw, labels } => {
                let values = match raw {
                    RawVoxels::U8(v) => gather(v, self.shape_zyx, low, inside, f32::from),
                    RawVoxels::F32(v) => gather(v, self.shape_zyx, low, inside, |x| x),
                };
                let ids = labels.as_ref().map(|v| gather(v, self.shape_zyx, low, inside, u64::from));
                (values, ids)
            }
            Store::OnDemand { raw, labels } => {
                let mut origin_zyx = self.begin_zyx;
                for axis in 0..3 {
                    origin_zyx[axis] += low[axis] as u64;
                }
                let region = Region { origin_zyx, shape_zyx: inside };
                let unreadable =
                    |cause| DataError::Unreadable { name: self.name.clone(), cause: Box::new(cause) };
                let ids = match labels {
                    Some(array) => Some(array.read_labels(&region).map_err(unreadable)?),
                    None => None,
                };
                (raw.read_raw(&region).map_err(unreadable)?, ids)
            }
        };
        if inside == shape_zyx {
            return Ok(Block { raw, labels: labels.unwrap_or_default() });
        }
        Ok(Block {
            raw: pad_reflect(&raw, inside, before, shape_zyx),
            labels: labels.map(|ids| pad_reflect(&ids, inside, before, shape_zyx)).unwrap_or_default(),
        })
    }
}

fn gather<T: Copy, U>(
    data: &[T],
    shape: [usize; 3],
    low: [usize; 3],
    size: [usize; 3],
    f: impl Fn(T) -> U,
) -> Vec<U> {
    let mut out = Vec::with_capacity(size.iter().product());
    for z in low[0]..low[0] + size[0] {
        for y in low[1]..low[1] + size[1] {
            let row = (z * shape[1] + y) * shape[2] + low[2];
            out.extend(data[row..row + size[2]].iter().map(|&v| f(v)));
        }
    }
    out
}
