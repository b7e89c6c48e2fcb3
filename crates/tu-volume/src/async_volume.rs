//! Reading volumes in the browser, over `fetch`: the asynchronous twin of the programs' `Volume`.

use crate::{
    DataType, Region, UrlFormat, VolumeError, VolumeUrl,
    description::{self, Description},
    element,
    precomputed::{self, async_read::AsyncPrecomputedReader},
    source::fetch::FetchSource,
    zarr::{self, async_read::AsyncZarrReader},
};
use std::{ops::Range, rc::Rc};
use web_sys::AbortSignal;

/// An open volume on a web server: one scale of a zarr or precomputed volume. Cloning is cheap.
#[derive(Clone)]
pub struct AsyncVolume {
    url: Rc<str>,
    description: Rc<Description>,
    reader: Rc<Reader>,
}

enum Reader {
    Zarr(Box<AsyncZarrReader>),
    Precomputed(Box<AsyncPrecomputedReader>),
}

impl std::fmt::Debug for AsyncVolume {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("AsyncVolume").field(&self.description).finish()
    }
}

impl AsyncVolume {
    /// Opens the finest scale of the volume at a URL (see [`VolumeUrl`] for the forms).
    ///
    /// # Errors
    /// If there is no volume, if it is unfinished, or if it uses something that is not supported.
    pub async fn open(url: &str) -> Result<Self, VolumeError> {
        Self::open_scale(url, 0, None).await
    }

    /// Opens scale `scale` of the volume at a URL; 0 is the finest. `signal` aborts the opening and every read.
    ///
    /// # Errors
    /// As [`open`](Self::open), and if there is no such scale.
    pub async fn open_scale(
        url: &str,
        scale: usize,
        signal: Option<AbortSignal>,
    ) -> Result<Self, VolumeError> {
        let parsed: VolumeUrl = url.parse()?;
        let shown = parsed.shown();
        let source = FetchSource::new(&shown, parsed.place(), signal)?;
        if parsed.format() != UrlFormat::Precomputed
            && let Some(opened) = zarr::open::open(&source, &shown, parsed.format(), scale).await?
        {
            let description = opened.description.clone();
            return Self::new(url, description, Reader::Zarr(Box::new(AsyncZarrReader::new(opened)?)));
        }
        if matches!(parsed.format(), UrlFormat::Precomputed | UrlFormat::Auto)
            && let Some(opened) = precomputed::info::open(&source, &shown, scale).await?
        {
            let description = opened.description.clone();
            return Self::new(
                url,
                description,
                Reader::Precomputed(Box::new(AsyncPrecomputedReader(opened))),
            );
        }
        Err(parsed.nothing_there())
    }

    fn new(url: &str, description: Description, reader: Reader) -> Result<Self, VolumeError> {
        if !description.complete {
            return Err(VolumeError::Unfinished { input: description.url });
        }
        Ok(Self { url: url.into(), description: Rc::new(description), reader: Rc::new(reader) })
    }

    /// The same volume, whose reads are aborted by `signal` instead.
    #[must_use]
    pub fn with_signal(&self, signal: Option<&AbortSignal>) -> Self {
        let change = |source: &FetchSource| source.with_signal(signal.cloned());
        let reader = match self.reader.as_ref() {
            Reader::Zarr(zarr) => Reader::Zarr(Box::new(zarr.with_source(change))),
            Reader::Precomputed(precomputed) => {
                Reader::Precomputed(Box::new(precomputed.with_source(change)))
            }
        };
        Self { url: self.url.clone(), description: self.description.clone(), reader: Rc::new(reader) }
    }

    /// The URL that it was opened by.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    fn description(&self) -> &Description {
        &self.description
    }

    /// A box of the first channel as u8, C order zyx.
    ///
    /// # Errors
    /// If the volume is not u8, the box is not inside it, or a chunk cannot be had.
    pub async fn read_u8(&self, region: &Region) -> Result<Vec<u8>, VolumeError> {
        self.bytes(region, 0..1, DataType::U8).await
    }

    /// A box of the first channel as u16, C order zyx.
    ///
    /// # Errors
    /// As [`read_u8`](Self::read_u8).
    pub async fn read_u16(&self, region: &Region) -> Result<Vec<u16>, VolumeError> {
        element::exact(
            &self.description.url,
            self.data_type(),
            &self.bytes(region, 0..1, DataType::U16).await?,
        )
    }

    /// A box of labels of any unsigned type, widened, C order zyx.
    ///
    /// # Errors
    /// If the volume is not of an unsigned type, the box is not inside it, or a chunk cannot be had.
    pub async fn read_u64(&self, region: &Region) -> Result<Vec<u64>, VolumeError> {
        element::to_u64(
            &self.description.url,
            self.data_type(),
            &self.bytes(region, 0..1, DataType::U64).await?,
        )
    }

    /// A box of intensities of u8, u16 or f32, values unchanged, C order zyx.
    ///
    /// # Errors
    /// If the volume is of another type, the box is not inside it, or a chunk cannot be had.
    pub async fn read_f32(&self, region: &Region) -> Result<Vec<f32>, VolumeError> {
        element::to_f32(
            &self.description.url,
            self.data_type(),
            &self.bytes(region, 0..1, DataType::F32).await?,
        )
    }

    /// A box of all channels as u8, `[c, z, y, x]`.
    ///
    /// # Errors
    /// As [`read_u8`](Self::read_u8).
    pub async fn read_channels_u8(&self, region: &Region) -> Result<Vec<u8>, VolumeError> {
        self.bytes(region, 0..self.channels() as u64, DataType::U8).await
    }

    /// A box of all channels of u8, u16 or f32, values unchanged, `[c, z, y, x]`.
    ///
    /// # Errors
    /// As [`read_f32`](Self::read_f32).
    pub async fn read_channels_f32(&self, region: &Region) -> Result<Vec<f32>, VolumeError> {
        let bytes = self.bytes(region, 0..self.channels() as u64, DataType::F32).await?;
        element::to_f32(&self.description.url, self.data_type(), &bytes)
    }

    async fn bytes(
        &self,
        region: &Region,
        channels: Range<u64>,
        asked: DataType,
    ) -> Result<Vec<u8>, VolumeError> {
        let d = self.description();
        element::check_read(&d.url, d.data_type, asked)?;
        let count = (channels.end - channels.start) as usize;
        region.check(&d.url, d.shape_zyx, count, d.data_type.bytes().max(asked.bytes()))?;
        match self.reader.as_ref() {
            Reader::Zarr(zarr) => zarr.read(region, channels).await,
            Reader::Precomputed(precomputed) => precomputed.read(region, channels).await,
        }
    }
}

description::accessors!(AsyncVolume);
