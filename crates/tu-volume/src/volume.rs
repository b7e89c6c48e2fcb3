//! Reading volumes in programs.

use crate::{
    DataType, Region, UrlFormat, VolumeError, VolumeUrl,
    description::{self, Description},
    element,
    precomputed::{self, PrecomputedReader},
    source::{Source, now},
    zarr::{self, ZarrReader},
};
use std::{ops::Range, sync::Arc};

/// An open volume: one scale of a zarr or precomputed volume, in files or on a web server.
///
/// Reading is blocking and may be done from several threads. Cloning is cheap.
#[derive(Clone)]
pub struct Volume(Arc<Inner>);

struct Inner {
    url: String,
    description: Description,
    reader: Reader,
}

enum Reader {
    Zarr(Box<ZarrReader>),
    Precomputed(Box<PrecomputedReader>),
}

impl std::fmt::Debug for Volume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Volume").field(&self.0.description).finish()
    }
}

impl Volume {
    /// Opens the finest scale of the volume at a URL (see [`VolumeUrl`] for the forms).
    ///
    /// # Errors
    /// If there is no volume, if it is unfinished, or if it uses something that is not supported.
    pub fn open(url: &str) -> Result<Self, VolumeError> {
        Self::open_scale(url, 0)
    }

    /// Opens scale `scale` of the volume at a URL; 0 is the finest.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if there is no such scale.
    pub fn open_scale(url: &str, scale: usize) -> Result<Self, VolumeError> {
        let volume = Self::open_unfinished(url, scale)?;
        if !volume.0.description.complete {
            return Err(VolumeError::Unfinished { input: volume.0.description.url.clone() });
        }
        Ok(volume)
    }

    /// As [`open_scale`](Self::open_scale), for volumes that are still being written as well.
    ///
    /// # Errors
    /// As [`open_scale`](Self::open_scale).
    pub fn open_unfinished(url: &str, scale: usize) -> Result<Self, VolumeError> {
        let parsed: VolumeUrl = url.parse()?;
        let (shown, url) = (parsed.shown(), url.to_owned());
        let source = Source::new(parsed.place());
        if parsed.format() != UrlFormat::Precomputed
            && let Some(opened) = now(zarr::open::open(&source, &shown, parsed.format(), scale))?
        {
            let description = opened.description.clone();
            let reader = Reader::Zarr(Box::new(ZarrReader::new(opened)?));
            return Ok(Self(Arc::new(Inner { url, description, reader })));
        }
        if matches!(parsed.format(), UrlFormat::Precomputed | UrlFormat::Auto)
            && let Some(opened) = now(precomputed::info::open(&source, &shown, scale))?
        {
            let description = opened.description.clone();
            let reader = Reader::Precomputed(Box::new(PrecomputedReader(opened)));
            return Ok(Self(Arc::new(Inner { url, description, reader })));
        }
        Err(parsed.nothing_there())
    }

    /// The URL that it was opened by.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.url
    }

    fn description(&self) -> &Description {
        &self.0.description
    }

    /// A box of the first channel as u8, C order zyx.
    ///
    /// # Errors
    /// If the volume is not u8, the box is not inside it, or a chunk cannot be had.
    pub fn read_u8(&self, region: &Region) -> Result<Vec<u8>, VolumeError> {
        let bytes = self.bytes(region, 0..1, DataType::U8)?;
        // The bytes are the voxels.
        Ok(bytes)
    }

    /// A box of the first channel as u16, C order zyx.
    ///
    /// # Errors
    /// As [`read_u8`](Self::read_u8).
    pub fn read_u16(&self, region: &Region) -> Result<Vec<u16>, VolumeError> {
        element::exact(&self.description().url, self.data_type(), &self.bytes(region, 0..1, DataType::U16)?)
    }

    /// A box of labels of any unsigned type, widened, C order zyx.
    ///
    /// # Errors
    /// If the volume is not of an unsigned type, the box is not inside it, or a chunk cannot be had.
    pub fn read_u64(&self, region: &Region) -> Result<Vec<u64>, VolumeError> {
        element::to_u64(&self.description().url, self.data_type(), &self.bytes(region, 0..1, DataType::U64)?)
    }

    /// A box of intensities of u8, u16 or f32, values unchanged, C order zyx.
    ///
    /// # Errors
    /// If the volume is of another type, the box is not inside it, or a chunk cannot be had.
    pub fn read_f32(&self, region: &Region) -> Result<Vec<f32>, VolumeError> {
        element::to_f32(&self.description().url, self.data_type(), &self.bytes(region, 0..1, DataType::F32)?)
    }

    /// A box of all channels as u8, `[c, z, y, x]`.
    ///
    /// # Errors
    /// As [`read_u8`](Self::read_u8).
    pub fn read_channels_u8(&self, region: &Region) -> Result<Vec<u8>, VolumeError> {
        self.bytes(region, self.all_channels(), DataType::U8)
    }

    /// A box of all channels of u8, u16 or f32, values unchanged, `[c, z, y, x]`.
    ///
    /// # Errors
    /// As [`read_f32`](Self::read_f32).
    pub fn read_channels_f32(&self, region: &Region) -> Result<Vec<f32>, VolumeError> {
        element::to_f32(
            &self.description().url,
            self.data_type(),
            &self.bytes(region, self.all_channels(), DataType::F32)?,
        )
    }

    fn all_channels(&self) -> Range<u64> {
        0..self.channels() as u64
    }

    fn bytes(&self, region: &Region, channels: Range<u64>, asked: DataType) -> Result<Vec<u8>, VolumeError> {
        let d = &self.0.description;
        element::check_read(&d.url, d.data_type, asked)?;
        let count = (channels.end - channels.start) as usize;
        region.check(&d.url, d.shape_zyx, count, d.data_type.bytes().max(asked.bytes()))?;
        match &self.0.reader {
            Reader::Zarr(zarr) => zarr.read(region, channels),
            Reader::Precomputed(precomputed) => precomputed.read(region, channels),
        }
    }
}

description::accessors!(Volume);
