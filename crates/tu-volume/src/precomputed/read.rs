//! Reading boxes.

use super::info::OpenedPrecomputed;
use crate::{
    Region, VolumeError,
    limits::encoded_limit,
    region::{Span, chunks_of},
    source::{Part, Source},
};
use rayon::prelude::*;
use std::ops::Range;

/// A volume that can be read.
pub(crate) struct PrecomputedReader(pub(crate) OpenedPrecomputed<Source>);

impl PrecomputedReader {
    /// The bytes of a checked region, `[c, z, y, x]`.
    pub(crate) fn read(&self, region: &Region, channels: Range<u64>) -> Result<Vec<u8>, VolumeError> {
        let d = &self.0.description;
        let count = (channels.end - channels.start) as usize;
        let mut out = vec![0; self.0.bytes(&Span::of(region)) / d.channels * count];
        let chunks = chunks_of(region, d.chunk_zyx, d.shape_zyx);
        // A few at a time: as many requests as a server likes, without holding all chunks at once.
        for group in chunks.chunks(16) {
            let fetched: Vec<(Span, Option<Vec<u8>>)> = group
                .par_iter()
                .map(|(_, span)| Ok((*span, self.chunk(span)?)))
                .collect::<Result<_, VolumeError>>()?;
            for (span, bytes) in fetched {
                // A chunk that is not there is zeros.
                if let Some(bytes) = bytes {
                    self.0.place(&span, &bytes, region, channels.clone(), &mut out);
                }
            }
        }
        Ok(out)
    }

    /// All bytes of one chunk, or `None` if it was never written.
    pub(crate) fn chunk(&self, span: &Span) -> Result<Option<Vec<u8>>, VolumeError> {
        let limit = encoded_limit(self.0.bytes(span) as u64);
        let Some(bytes) = self.0.source.read(&self.0.object(span), Part::Whole, limit)? else {
            return Ok(None);
        };
        self.0.check(span, &bytes)?;
        Ok(Some(bytes.into()))
    }
}
