//! What is kept of a finished tile: the fragment of every voxel, and the tile's part of the region graph.
//!
//! Little endian: magic, the job's hash, index (3 × u64), shape (3 × u32), number of fragments (u32), length of the
//! graph's bytes (u64); fragment ids (u64, ascending); per voxel the position of its fragment plus one, 0 for none, in
//! 2 bytes while that suffices and else in 4; the graph's bytes; SHA-256 of all before.

use sha2::{Digest, Sha256};
use thiserror::Error;
use tu_segment::TileFragments;

const MAGIC: &[u8; 8] = b"TUTILE01";
const HEADER_BYTES: usize = 8 + 32 + 24 + 12 + 4 + 8;
const HASH_BYTES: usize = 32;

/// Why a record cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecordError {
    /// Cut off, damaged or no record at all.
    #[error("it is damaged ({0}); delete it and run the same command with --resume")]
    Damaged(&'static str),
    /// Another model, volume or option made it.
    #[error("it belongs to another run; delete the working folder, or repeat that run's options")]
    OtherJob,
}

/// A tile as it is kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileRecord {
    /// Place in the grid, z y x.
    pub index_zyx: [u64; 3],
    /// Shape clipped to the volume, z y x.
    pub shape_zyx: [usize; 3],
    /// Fragment of every voxel under its id in the whole volume, C order; 0 for none.
    pub labels: Vec<u64>,
    /// The tile's part of the region graph, as the graph itself writes it.
    pub graph: Vec<u8>,
}

impl TileRecord {
    /// The bytes of a finished tile.
    #[must_use]
    pub fn encode(job: &[u8; 32], tile: &TileFragments, graph: &[u8]) -> Vec<u8> {
        let ids = tile.fragment_ids();
        let wide = ids.len() >= usize::from(u16::MAX);
        let width = if wide { 4 } else { 2 };
        let mut bytes = Vec::with_capacity(
            HEADER_BYTES + ids.len() * 8 + tile.labels().len() * width + graph.len() + HASH_BYTES,
        );
        bytes.extend(MAGIC);
        bytes.extend(job);
        tile.tile().index_zyx.iter().for_each(|v| bytes.extend(v.to_le_bytes()));
        tile.tile().shape_zyx.iter().for_each(|v| bytes.extend((*v as u32).to_le_bytes()));
        bytes.extend((ids.len() as u32).to_le_bytes());
        bytes.extend((graph.len() as u64).to_le_bytes());
        ids.iter().for_each(|id| bytes.extend(id.to_le_bytes()));
        for run in tile.labels().chunk_by(|a, b| a == b) {
            let position = ids.binary_search(&run[0]).map_or(0, |at| at as u32 + 1);
            for _ in run {
                if wide {
                    bytes.extend(position.to_le_bytes());
                } else {
                    bytes.extend((position as u16).to_le_bytes());
                }
            }
        }
        bytes.extend(graph);
        let hash = Sha256::digest(&bytes);
        bytes.extend(hash);
        bytes
    }

    /// Reads a record of this job.
    ///
    /// # Errors
    /// The bytes are damaged or belong to another job.
    pub fn decode(job: &[u8; 32], bytes: &[u8]) -> Result<Self, RecordError> {
        let body_bytes = bytes
            .len()
            .checked_sub(HASH_BYTES)
            .filter(|&n| n >= HEADER_BYTES)
            .ok_or(RecordError::Damaged("cut off"))?;
        let (body, hash) = bytes.split_at(body_bytes);
        if &body[..8] != MAGIC {
            return Err(RecordError::Damaged("no tile record"));
        }
        if Sha256::digest(body).as_slice() != hash {
            return Err(RecordError::Damaged("its hash does not match"));
        }
        if &body[8..40] != job {
            return Err(RecordError::OtherJob);
        }
        let header = &body[40..HEADER_BYTES];
        let index_zyx = std::array::from_fn(|d| u64_at(header, 8 * d));
        let shape_zyx: [usize; 3] = std::array::from_fn(|d| u32_at(header, 24 + 4 * d) as usize);
        let count = u32_at(header, 36) as usize;
        let graph_bytes = usize::try_from(u64_at(header, 40)).map_err(|_| RecordError::Damaged("lengths"))?;
        let width = if count >= usize::from(u16::MAX) { 4 } else { 2 };
        let lengths = || {
            let voxels = shape_zyx.iter().try_fold(1usize, |n, &s| n.checked_mul(s))?;
            let whole = (count * 8).checked_add(voxels.checked_mul(width)?)?.checked_add(graph_bytes)?;
            (whole == body.len() - HEADER_BYTES).then_some(voxels * width)
        };
        let label_bytes = lengths().ok_or(RecordError::Damaged("lengths"))?;
        let (ids, rest) = body[HEADER_BYTES..].split_at(count * 8);
        let (positions, graph) = rest.split_at(label_bytes);
        let ids: Vec<u64> = ids.chunks_exact(8).map(|id| u64_at(id, 0)).collect();
        let id = |position: usize| match position.checked_sub(1) {
            None => Ok(0),
            Some(at) => ids.get(at).copied().ok_or(RecordError::Damaged("a fragment without an id")),
        };
        let labels: Result<Vec<u64>, RecordError> = if width == 4 {
            positions.chunks_exact(4).map(|p| id(u32_at(p, 0) as usize)).collect()
        } else {
            positions.chunks_exact(2).map(|p| id(usize::from(u16::from_le_bytes([p[0], p[1]])))).collect()
        };
        Ok(Self { index_zyx, shape_zyx, labels: labels?, graph: graph.to_vec() })
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tu_segment::{AffinityView, TileGrid};

    fn tile(shape: [usize; 3], labels: &[u32]) -> TileFragments {
        let grid = TileGrid::new(shape.map(|n| n as u64), shape, [0; 3]).unwrap();
        let affinities = vec![200u8; 3 * labels.len()];
        let view = AffinityView::new(&affinities, shape).unwrap();
        TileFragments::from_labels(&grid, [0; 3], labels, &view).unwrap()
    }

    #[test]
    fn a_record_comes_back_as_it_was_written_with_few_fragments_and_with_many() {
        let few = tile([1, 2, 4], &[0, 5, 5, 2, 2, 2, 0, 9]);
        let many = tile([1, 300, 300], &(1..=90_000).collect::<Vec<u32>>());
        for made in [few, many] {
            let record =
                TileRecord::decode(&[7; 32], &TileRecord::encode(&[7; 32], &made, b"graph")).unwrap();
            assert_eq!(record.labels, made.labels());
            assert_eq!(record.shape_zyx, made.tile().shape_zyx);
            assert_eq!(record.graph, b"graph");
        }
    }

    #[test]
    fn damage_anywhere_and_records_of_other_jobs_are_refused() {
        let bytes = TileRecord::encode(&[7; 32], &tile([1, 2, 4], &[0, 5, 5, 2, 2, 2, 0, 9]), b"graph");
        assert_eq!(TileRecord::decode(&[8; 32], &bytes), Err(RecordError::OtherJob));
        for end in 0..bytes.len() {
            assert!(TileRecord::decode(&[7; 32], &bytes[..end]).is_err());
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert!(TileRecord::decode(&[7; 32], &changed).is_err(), "byte {at}");
        }
        let mut forged = bytes[..bytes.len() - HASH_BYTES].to_vec();
        forged[64..68].copy_from_slice(&u32::MAX.to_le_bytes());
        let hash = Sha256::digest(&forged);
        forged.extend(hash);
        assert!(TileRecord::decode(&[7; 32], &forged).is_err(), "a forged shape must not be allocated");
    }
}
