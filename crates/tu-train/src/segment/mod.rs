//! A whole volume, tile by tile, in bounded memory.
//!
//! ```text
//!  reader ──► network (or stored affinities) ──► workers: fragments, contacts ──► one record per tile
//!                                                                                     │ all there?
//!  output ◄── blocks: fragment ids → segment ids ◄── agglomerate once ◄── region graph ◄──────┘
//! ```
//!
//! * The tile grid is anchored at the input array's first voxel, whatever the region of interest: a region computes
//!   the tiles that it touches (`compute`) and writes its own voxels (`assemble`), so that a region's segments
//!   are made of the same fragments as the whole volume's.
//! * A tile's record ([`TileRecord`]) is written aside and renamed, so it is there whole or not at all; it is also
//!   the mark that the tile is done. A run that was interrupted goes on with the tiles that have none ([`Workspace`]).
//! * A tile that fails is counted, and nothing that looks finished is written.

mod affinities;
mod assemble;
mod compute;
mod error;
mod job;
mod pipeline;
mod progress;
mod record;
mod source;
mod store;
mod workspace;

pub use affinities::{write_affinities, write_affinities_whole};
pub use assemble::LabelOutput;
pub use compute::{AffinitySink, AffinityType};
pub use error::{SegmentError, TileFailure};
pub use job::{SegmentOptions, SegmentSummary, TileInput, segment};
pub use progress::{Progress, Silent};
pub use record::{RecordError, TileRecord};
pub use source::{RawSource, refuse_unless_raw};
pub use store::FragmentStore;
pub use workspace::Workspace;
