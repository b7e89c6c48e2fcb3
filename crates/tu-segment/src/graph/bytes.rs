//! A tile of the region graph as bytes.
//!
//! Little endian: magic `TUTG`, version, the grid and the tile's index (12 × u64), the number of fragments and of
//! edges (2 × u64), fragment ids (u64), their voxels (u32), edges (positions of both fragments u32, largest bin
//! u8, sum u64, count u64), for each axis the first plane of fragments (u32), the last (u32) and the affinities of
//! the first (u8), where the tile has a neighbour; last the 64-bit FNV-1a hash of all before. How long each plane
//! is follows from the grid.
//!
//! Reading trusts nothing: lengths are compared before anything is allocated, and every rule that a graph relies on
//! is checked, so that damaged or forged bytes end in an error.

use super::contacts::{Contact, Edge};
use super::record::TileRecord;
use crate::tile::{GridError, Tile, TileGrid};

const MAGIC: [u8; 4] = *b"TUTG";
const VERSION: u32 = 2;
const EDGE_BYTES: usize = 4 + 4 + 1 + 8 + 8;

/// Why bytes are not a tile of this graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BytesError {
    /// Not written by us.
    #[error("these bytes are not a tile of a region graph: they do not begin with TUTG")]
    Magic,
    /// Written by another version.
    #[error("the tile was written in format {version}, this program reads {VERSION}: compute it again")]
    Version {
        /// The version that was found.
        version: u32,
    },
    /// Too few or too many bytes.
    #[error("the tile is cut off or has bytes to spare ({bytes} in all): compute it again")]
    Length {
        /// How many bytes there are.
        bytes: usize,
    },
    /// The hash does not match.
    #[error("the tile is damaged, its hash does not match its contents: compute it again")]
    Hash,
    /// The tile belongs to another grid.
    #[error("the tile was made on another volume, tile shape or halo: use an empty output folder")]
    OtherGrid,
    /// The tile's index is outside the grid.
    #[error(transparent)]
    Index(#[from] GridError),
    /// The contents contradict themselves.
    #[error("the tile's {what}: compute it again")]
    Content {
        /// What is wrong.
        what: &'static str,
    },
}

pub(super) fn encode(grid: &TileGrid, index_zyx: [u64; 3], record: &TileRecord) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(MAGIC);
    bytes.extend(VERSION.to_le_bytes());
    for value in header(grid, index_zyx) {
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend((record.fragment_ids.len() as u64).to_le_bytes());
    bytes.extend((record.edges.len() as u64).to_le_bytes());
    for id in &record.fragment_ids {
        bytes.extend(id.to_le_bytes());
    }
    for voxels in &record.fragment_voxels {
        bytes.extend(voxels.to_le_bytes());
    }
    let position = |id: u64| record.fragment_ids.partition_point(|&other| other < id) as u32;
    for edge in &record.edges {
        bytes.extend(position(edge.a).to_le_bytes());
        bytes.extend(position(edge.b).to_le_bytes());
        bytes.push(edge.contact.max);
        bytes.extend(edge.contact.sum.to_le_bytes());
        bytes.extend(edge.contact.count.to_le_bytes());
    }
    for axis in 0..3 {
        for number in record.low_fragments[axis].iter().chain(&record.high_fragments[axis]) {
            bytes.extend(number.to_le_bytes());
        }
        bytes.extend_from_slice(&record.low_affinities[axis]);
    }
    let hash = fnv1a(&bytes);
    bytes.extend(hash.to_le_bytes());
    bytes
}

pub(super) fn decode(grid: &TileGrid, bytes: &[u8]) -> Result<([u64; 3], TileRecord), BytesError> {
    let length = BytesError::Length { bytes: bytes.len() };
    let Some(rest) = bytes.strip_prefix(&MAGIC) else { return Err(BytesError::Magic) };
    let mut head = Reader { rest };
    let version = u32::from_le_bytes(head.array().ok_or_else(|| length.clone())?);
    if version != VERSION {
        return Err(BytesError::Version { version });
    }
    let (rest, hash) = head.rest.split_last_chunk().ok_or_else(|| length.clone())?;
    if fnv1a(&bytes[..bytes.len() - 8]) != u64::from_le_bytes(*hash) {
        return Err(BytesError::Hash);
    }
    let mut reader = Reader { rest };
    let mut found = [0; 12];
    for value in &mut found {
        *value = reader.u64().ok_or_else(|| length.clone())?;
    }
    let index_zyx = [found[9], found[10], found[11]];
    if found != header(grid, index_zyx) {
        return Err(BytesError::OtherGrid);
    }
    let tile = grid.tile(index_zyx)?;
    let record = read_record(&mut reader, grid, &tile).ok_or_else(|| length.clone())?;
    if !reader.rest.is_empty() {
        return Err(length);
    }
    let record = record?;
    check(grid, &tile, &record)?;
    Ok((index_zyx, record))
}

/// The grid and the tile, as written.
fn header(grid: &TileGrid, index_zyx: [u64; 3]) -> [u64; 12] {
    let [tile, halo] = [grid.tile_zyx(), grid.halo_zyx()].map(|zyx| zyx.map(|n| n as u64));
    let mut header = [0; 12];
    for (place, zyx) in header.chunks_exact_mut(3).zip([grid.volume_zyx(), tile, halo, index_zyx]) {
        place.copy_from_slice(&zyx);
    }
    header
}

/// Reads what follows the header; `None` if the bytes do not suffice.
fn read_record(
    reader: &mut Reader<'_>,
    grid: &TileGrid,
    tile: &Tile,
) -> Option<Result<TileRecord, BytesError>> {
    let fragments = usize::try_from(reader.u64()?).ok()?;
    let edges = usize::try_from(reader.u64()?).ok()?;
    let fragment_ids: Vec<u64> =
        reader.items::<8>(fragments)?.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect();
    let numbers = |bytes: &[[u8; 4]]| bytes.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let fragment_voxels = numbers(reader.items::<4>(fragments)?);
    let mut record = TileRecord {
        fragment_ids,
        fragment_voxels,
        edges: Vec::new(),
        low_fragments: Default::default(),
        high_fragments: Default::default(),
        low_affinities: Default::default(),
    };
    let mut known = true;
    for bytes in reader.items::<EDGE_BYTES>(edges)? {
        let mut fields = Reader { rest: bytes };
        let mut id = || {
            let position = u32::from_le_bytes(fields.array()?) as usize;
            Some(record.fragment_ids.get(position).copied())
        };
        let (a, b) = (id()?, id()?);
        let [max] = fields.array()?;
        let contact = Contact { max, sum: fields.u64()?, count: fields.u64()? };
        match (a, b) {
            (Some(a), Some(b)) => record.edges.push(Edge { a, b, contact }),
            _ => known = false,
        }
    }
    let counts_zyx = grid.counts_zyx();
    for (axis, count) in counts_zyx.into_iter().enumerate() {
        let area = tile.voxels() / tile.shape_zyx[axis];
        let lower = if tile.index_zyx[axis] > 0 { area } else { 0 };
        let upper = if tile.index_zyx[axis] + 1 < count { area } else { 0 };
        record.low_fragments[axis] = numbers(reader.items::<4>(lower)?);
        record.high_fragments[axis] = numbers(reader.items::<4>(upper)?);
        record.low_affinities[axis] = reader.items::<1>(lower)?.as_flattened().to_vec();
    }
    Some(if known { Ok(record) } else { Err(BytesError::Content { what: "edges name unknown fragments" }) })
}

/// Checks all that the graph relies on.
fn check(grid: &TileGrid, tile: &Tile, record: &TileRecord) -> Result<(), BytesError> {
    let ids = &record.fragment_ids;
    let rule = |holds: bool, what| if holds { Ok(()) } else { Err(BytesError::Content { what }) };
    rule(ids.is_sorted_by(|a, b| a < b), "fragment ids are not ascending")?;
    rule(
        ids.iter().all(|&id| grid.tile_of_id(id) == Some(tile.index_zyx)),
        "fragment ids belong to another tile",
    )?;
    rule(!record.fragment_voxels.contains(&0), "fragments have no voxels")?;
    // Every count is below 2³² and has its bytes in memory, so that the sum fits.
    let voxels: u64 = record.fragment_voxels.iter().map(|&voxels| u64::from(voxels)).sum();
    rule(voxels <= tile.voxels() as u64, "fragments have more voxels than the tile")?;
    let ascending = record.edges.is_sorted_by(|e, f| (e.a, e.b) < (f.a, f.b));
    rule(ascending && record.edges.iter().all(|edge| edge.a < edge.b), "edges are not ascending")?;
    let most_contacts = 3 * tile.voxels() as u64;
    rule(
        record.edges.iter().all(|Edge { contact, .. }| {
            (1..=most_contacts).contains(&contact.count)
                && contact.sum >= u64::from(contact.max)
                && contact.sum <= u64::from(contact.max) * contact.count
        }),
        "contacts cannot be",
    )?;
    let mut numbers = record.low_fragments.iter().chain(&record.high_fragments).flatten();
    rule(numbers.all(|&number| number as usize <= ids.len()), "faces name unknown fragments")
}

/// Takes bytes from the front of a slice, if there are enough.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*first)
    }

    fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn items<const N: usize>(&mut self, count: usize) -> Option<&'a [[u8; N]]> {
        let (taken, rest) = self.rest.split_at_checked(count.checked_mul(N)?)?;
        self.rest = rest;
        Some(taken.as_chunks().0)
    }
}

pub(super) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
