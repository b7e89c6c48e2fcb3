//! Writing volumes in programs.

use crate::{
    DataType, Place, Region, UrlFormat, Volume, VolumeError, VolumeUrl,
    description::{self, Description},
    element::Element,
    limits::{MAX_CHUNK_BYTES, checked_product},
    precomputed::write::PrecomputedWriter,
    region::{self, Frame, Span, chunks_of},
    source::{Source, file::FileSource},
    url::check_relative,
    zarr::write::ZarrWriter,
};
use serde_json::{Map, Value};
use std::{
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// What a new volume shall be.
#[derive(Debug, Clone)]
pub struct NewVolume {
    /// Shape in voxels, zyx.
    pub shape_zyx: [u64; 3],
    /// `Some(c)` for an array `[c, z, y, x]` (also with c = 1), `None` for `[z, y, x]`.
    pub channels: Option<usize>,
    /// The type of a voxel.
    pub data_type: DataType,
    /// Shape of a chunk in voxels, zyx; a chunk holds all channels.
    pub chunk_zyx: [usize; 3],
    /// Voxel size in nanometres, zyx.
    pub voxel_nm_zyx: Option<[f64; 3]>,
    /// Where the first voxel sits in the coordinates that the volume is cut from, in voxels, zyx.
    pub voxel_offset_zyx: [i64; 3],
    /// Free attributes.
    pub attributes: Map<String, Value>,
}

/// A volume that is being written.
///
/// Boxes may be written from several threads. Until [`finish`](Self::finish) the volume counts as unfinished and
/// [`Volume::open`] refuses it. Every chunk is replaced as a whole, so a killed writer leaves old or new chunks and
/// nothing in between.
pub struct VolumeWriter {
    url: String,
    sink: Sink,
    attributes: Mutex<Map<String, Value>>,
    complete: AtomicBool,
    /// The files of a volume that an earlier process began.
    continued: Option<FileSource>,
    /// Chunks that are written in part are read, changed and written under one of these.
    locks: [Mutex<()>; 64],
}

enum Sink {
    Zarr(Box<ZarrWriter>),
    Precomputed(Box<PrecomputedWriter>),
}

impl std::fmt::Debug for VolumeWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VolumeWriter").field("url", &self.url).finish_non_exhaustive()
    }
}

impl VolumeWriter {
    /// Makes a new volume: zarr 3 if the path says so (`….zarr` or `…|zarr3:`), precomputed otherwise.
    ///
    /// # Errors
    /// If something is there already, the specification makes no sense, or the file system refuses.
    pub fn create(url: &str, spec: &NewVolume) -> Result<Self, VolumeError> {
        check_spec(url, spec)?;
        let (root, is_zarr) = target(url)?;
        let sink = if is_zarr {
            let groups: Vec<FileSource> =
                groups_above(&root).into_iter().map(|p| FileSource::new(p.to_owned())).collect();
            Sink::Zarr(Box::new(ZarrWriter::create(&FileSource::new(root.clone()), &groups, url, spec)?))
        } else {
            let source = Source::File(FileSource::new(root));
            Sink::Precomputed(Box::new(PrecomputedWriter::create(&source, url, spec)?))
        };
        Ok(Self::new(url, sink))
    }

    /// Makes a new array `array_name` in a zarr group, which is made if it is not there.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_in_group(url: &str, array_name: &str, spec: &NewVolume) -> Result<Self, VolumeError> {
        check_spec(url, spec)?;
        check_relative(url, array_name)?;
        let (root, _) = target(url)?;
        let mut groups: Vec<FileSource> =
            groups_above(&root).into_iter().map(|p| FileSource::new(p.to_owned())).collect();
        let group = FileSource::new(root);
        let files = group.child(array_name);
        groups.push(group);
        let url = format!("{}/{array_name}", url.split('|').next().unwrap_or(url).trim_end_matches('/'));
        Ok(Self::new(&url, Sink::Zarr(Box::new(ZarrWriter::create(&files, &groups, &url, spec)?))))
    }

    /// Continues a volume that this program made, finished or not.
    ///
    /// # Errors
    /// If there is no such volume, or it is of a kind that cannot be written.
    pub fn open_existing(url: &str) -> Result<Self, VolumeError> {
        let (root, is_zarr) = target(url)?;
        let files = FileSource::new(root);
        let sink = if is_zarr || files.size("zarr.json")?.is_some() {
            Sink::Zarr(Box::new(ZarrWriter::open(&files, url)?))
        } else {
            Sink::Precomputed(Box::new(PrecomputedWriter::open(&Source::File(files.clone()), url)?))
        };
        Ok(Self { continued: Some(files), ..Self::new(url, sink) })
    }

    fn new(url: &str, sink: Sink) -> Self {
        let mut writer = Self {
            url: url.to_owned(),
            sink,
            attributes: Mutex::default(),
            complete: AtomicBool::new(false),
            continued: None,
            locks: std::array::from_fn(|_| Mutex::new(())),
        };
        let mut attributes = writer.description().attributes.clone();
        attributes.remove("ome");
        attributes.remove(description::STATE_KEY);
        writer.complete = AtomicBool::new(writer.description().complete);
        writer.attributes = Mutex::new(attributes);
        writer
    }

    fn description(&self) -> &Description {
        match &self.sink {
            Sink::Zarr(zarr) => zarr.description(),
            Sink::Precomputed(precomputed) => &precomputed.opened().description,
        }
    }

    /// Shape in voxels, zyx.
    #[must_use]
    pub fn shape_zyx(&self) -> [u64; 3] {
        self.description().shape_zyx
    }

    /// Shape of a chunk in voxels, zyx. Boxes made of whole chunks are written fastest.
    #[must_use]
    pub fn chunk_zyx(&self) -> [u64; 3] {
        self.description().chunk_zyx
    }

    /// Number of channels.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.description().channels
    }

    /// The type of a voxel.
    #[must_use]
    pub fn data_type(&self) -> DataType {
        self.description().data_type
    }

    /// The URL that it was made or opened by.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whether the volume was finished when it was opened and has not been written to since.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// What has been written so far, for reading.
    ///
    /// # Errors
    /// If the metadata cannot be read back.
    pub fn reader(&self) -> Result<Volume, VolumeError> {
        Volume::open_unfinished(&self.url, 0)
    }

    /// Writes a box of a one-channel volume of u8, C order zyx.
    ///
    /// # Errors
    /// If the volume is of another type or has several channels, the box is not inside it, `data` has another
    /// length, or the file system refuses.
    pub fn write_u8(&self, region: &Region, data: &[u8]) -> Result<(), VolumeError> {
        self.write(region, data, false)
    }

    /// Writes a box of a one-channel volume of u16, C order zyx.
    ///
    /// # Errors
    /// As [`write_u8`](Self::write_u8).
    pub fn write_u16(&self, region: &Region, data: &[u16]) -> Result<(), VolumeError> {
        self.write(region, data, false)
    }

    /// Writes a box of a one-channel volume of u32, C order zyx.
    ///
    /// # Errors
    /// As [`write_u8`](Self::write_u8).
    pub fn write_u32(&self, region: &Region, data: &[u32]) -> Result<(), VolumeError> {
        self.write(region, data, false)
    }

    /// Writes a box of a one-channel volume of u64, C order zyx.
    ///
    /// # Errors
    /// As [`write_u8`](Self::write_u8).
    pub fn write_u64(&self, region: &Region, data: &[u64]) -> Result<(), VolumeError> {
        self.write(region, data, false)
    }

    /// Writes a box of a one-channel volume of f32, C order zyx.
    ///
    /// # Errors
    /// As [`write_u8`](Self::write_u8).
    pub fn write_f32(&self, region: &Region, data: &[f32]) -> Result<(), VolumeError> {
        self.write(region, data, false)
    }

    /// Writes a box of all channels of a volume of u8, `[c, z, y, x]`.
    ///
    /// # Errors
    /// If the volume is of another type, the box is not inside it, `data` has another length, or the file system
    /// refuses.
    pub fn write_channels_u8(&self, region: &Region, data: &[u8]) -> Result<(), VolumeError> {
        self.write(region, data, true)
    }

    /// Writes a box of all channels of a volume of f32, `[c, z, y, x]`.
    ///
    /// # Errors
    /// As [`write_channels_u8`](Self::write_channels_u8).
    pub fn write_channels_f32(&self, region: &Region, data: &[f32]) -> Result<(), VolumeError> {
        self.write(region, data, true)
    }

    fn write<T: Element>(&self, region: &Region, data: &[T], all_channels: bool) -> Result<(), VolumeError> {
        let d = self.description();
        if d.data_type != T::DATA_TYPE {
            return Err(VolumeError::DataType {
                input: self.url.clone(),
                stored: d.data_type.to_string(),
                action: "written from",
                asked: T::DATA_TYPE.to_string(),
                remedy: "make the volume of the type that is written".to_owned(),
            });
        }
        let refuse = |cause: String, remedy: &str| {
            Err(VolumeError::Region { input: self.url.clone(), cause, remedy: remedy.to_owned() })
        };
        if !all_channels && d.channels != 1 {
            return refuse(format!("it has {} channels", d.channels), "write all channels at once");
        }
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let expected = region.check(&self.url, d.shape_zyx, d.channels, d.data_type.bytes())?;
        if bytes.len() != expected {
            return refuse(
                format!("{} values for a box of {:?} (zyx)", data.len(), region.shape_zyx),
                "give one value for each voxel and channel",
            );
        }
        if self.complete.swap(false, Ordering::AcqRel) {
            self.store_attributes(false)?;
        }
        for (index, span) in chunks_of(region, d.chunk_zyx, d.shape_zyx) {
            self.write_chunk(index, &span, region, bytes)?;
        }
        Ok(())
    }

    /// Puts the part of a region that lies in one chunk into it.
    fn write_chunk(
        &self,
        index: [u64; 3],
        span: &Span,
        region: &Region,
        data: &[u8],
    ) -> Result<(), VolumeError> {
        let Some(part) = span.intersection(&Span::of(region)) else { return Ok(()) };
        let d = self.description();
        let item = d.data_type.bytes();
        let frame = match &self.sink {
            Sink::Zarr(zarr) => zarr.frame(index),
            Sink::Precomputed(precomputed) => precomputed.opened().frame(span),
        };
        let lock = (index[0] * 31 + index[1] * 7 + index[2]) as usize % self.locks.len();
        let in_part = part != *span;
        let _guard = in_part.then(|| self.locks[lock].lock().unwrap_or_else(PoisonError::into_inner));
        let before = match &self.sink {
            _ if !in_part => None,
            Sink::Zarr(zarr) => zarr.read_chunk(index)?,
            Sink::Precomputed(precomputed) => precomputed.read_chunk(span)?,
        };
        let mut chunk =
            before.unwrap_or_else(|| vec![0; frame.shape.iter().product::<usize>() * d.channels * item]);
        region::copy((data, Frame::of(region)), (&mut chunk, frame), &part, d.channels, item);
        match &self.sink {
            Sink::Zarr(zarr) => zarr.write_chunk(index, chunk),
            Sink::Precomputed(precomputed) => precomputed.write_chunk(span, &chunk),
        }
    }

    /// Sets a free attribute and stores it at once.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn set_attribute(&self, key: &str, value: Value) -> Result<(), VolumeError> {
        self.attributes.lock().unwrap_or_else(PoisonError::into_inner).insert(key.to_owned(), value);
        self.store_attributes(self.is_complete())
    }

    fn store_attributes(&self, complete: bool) -> Result<(), VolumeError> {
        let attributes = self.attributes.lock().unwrap_or_else(PoisonError::into_inner);
        match &self.sink {
            Sink::Zarr(zarr) => zarr.update(&attributes, complete),
            Sink::Precomputed(precomputed) => precomputed.update(&attributes, complete),
        }
    }

    /// Marks the volume as complete; nothing else does.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn finish(self) -> Result<(), VolumeError> {
        if let Some(files) = &self.continued {
            files.remove_parts()?;
        }
        self.store_attributes(true)
    }
}

/// The folder that a URL names for writing, and whether it shall be zarr.
fn target(url: &str) -> Result<(std::path::PathBuf, bool), VolumeError> {
    let parsed: VolumeUrl = url.parse()?;
    let Place::File(root) = parsed.place() else {
        return Err(VolumeError::unsupported(url, "writing over HTTP", "write to a folder and upload that"));
    };
    let is_zarr = match parsed.format() {
        UrlFormat::Zarr | UrlFormat::Zarr3 => true,
        UrlFormat::Precomputed => false,
        UrlFormat::Zarr2 => {
            return Err(VolumeError::unsupported(url, "writing zarr version 2", "write version 3: |zarr3:"));
        }
        UrlFormat::Auto => root.iter().any(|part| Path::new(part).extension().is_some_and(|e| e == "zarr")),
    };
    Ok((root.clone(), is_zarr))
}

/// The folders above `root` that belong to the same hierarchy, outermost first: from the one called `….zarr` on.
fn groups_above(root: &Path) -> Vec<&Path> {
    let above: Vec<&Path> = root.ancestors().skip(1).collect();
    let outermost = above.iter().rposition(|p| p.extension().is_some_and(|e| e == "zarr"));
    outermost.map_or_else(Vec::new, |i| above[..=i].iter().rev().copied().collect())
}

fn check_spec(url: &str, spec: &NewVolume) -> Result<(), VolumeError> {
    let refuse = |cause: String, remedy: &str| {
        Err(VolumeError::Metadata { input: url.to_owned(), cause, remedy: remedy.to_owned() })
    };
    let channels = spec.channels.unwrap_or(1) as u64;
    let item = spec.data_type.bytes() as u64;
    if channels == 0 || spec.shape_zyx.contains(&0) || spec.chunk_zyx.contains(&0) {
        return refuse("a shape, chunk or number of channels of 0".to_owned(), "make it at least 1");
    }
    if checked_product(spec.shape_zyx.into_iter().chain([channels, item])).is_none() {
        return refuse(format!("the shape {:?} (zyx) is too large", spec.shape_zyx), "make it smaller");
    }
    let chunk = checked_product(spec.chunk_zyx.map(|n| n as u64).into_iter().chain([channels, item]));
    if chunk.is_none_or(|bytes| bytes > MAX_CHUNK_BYTES) {
        return refuse(format!("chunks of {:?} (zyx) are too large", spec.chunk_zyx), "make them smaller");
    }
    if description::plausible_size(spec.voxel_nm_zyx) != spec.voxel_nm_zyx {
        return refuse(
            format!("the voxel size {:?} nm (zyx)", spec.voxel_nm_zyx),
            "give three positive numbers of nanometres",
        );
    }
    Ok(())
}
