//! Reading boxes over `fetch`.

use super::info::OpenedPrecomputed;
use crate::{
    Region, VolumeError,
    limits::encoded_limit,
    region::{Span, chunks_of},
    source::{Part, fetch::FetchSource},
};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use std::ops::Range;

const CONCURRENCY: usize = 16;

/// A volume that can be read.
pub(crate) struct AsyncPrecomputedReader(pub(crate) OpenedPrecomputed<FetchSource>);

impl AsyncPrecomputedReader {
    pub(crate) fn with_source(&self, change: impl Fn(&FetchSource) -> FetchSource) -> Self {
        Self(OpenedPrecomputed { source: change(&self.0.source), ..self.0.clone() })
    }

    /// The bytes of a checked region, `[c, z, y, x]`.
    pub(crate) async fn read(&self, region: &Region, channels: Range<u64>) -> Result<Vec<u8>, VolumeError> {
        let d = &self.0.description;
        let mut out =
            vec![0; self.0.bytes(&Span::of(region)) / d.channels * (channels.end - channels.start) as usize];
        let requests = chunks_of(region, d.chunk_zyx, d.shape_zyx)
            .into_iter()
            .map(|(_, span)| async move { (span, self.chunk(&span).await) });
        let mut chunks = stream::iter(requests).buffer_unordered(CONCURRENCY);
        while let Some((span, bytes)) = chunks.next().await {
            if let Some(bytes) = bytes? {
                self.0.place(&span, &bytes, region, channels.clone(), &mut out);
            }
        }
        Ok(out)
    }

    async fn chunk(&self, span: &Span) -> Result<Option<Bytes>, VolumeError> {
        let limit = encoded_limit(self.0.bytes(span) as u64);
        let bytes = self.0.source.read(&self.0.object(span), Part::Whole, limit).await?;
        if let Some(bytes) = &bytes {
            self.0.check(span, bytes)?;
        }
        Ok(bytes)
    }
}
