//! From affinities to neurons on the CPU: fragments, the region graph, agglomerated segments, scores.
//!
//! Everything is plain arithmetic on arrays in memory, without threads, clocks, files or platform
//! mathematics, so that a browser and a workstation that hold the same affinities find the same segments.
//!
//! ```text
//! affinities [3, z, y, x]  ──►  fragments of a tile  ──►  region graph of the volume  ──►  segments
//!        u8                        canonical ids              grows tile by tile           threshold
//! ```
//!
//! Conventions everywhere: arrays in C order with x fastest, axis triples in the order z, y, x, affinity
//! channels in the order z, y, x, and `a_c[v]` is the affinity of voxel `v` with its predecessor `v − e_c`.
//! Affinities are held as one of 256 bins, see [`quantise_affinity`].

mod affinity;
mod agglomeration;
mod fragments;
mod graph;
mod hash;
mod labels;
mod metrics;
mod tile;
mod tile_fragments;
mod window;

pub use affinity::{AffinityView, MAX_VOXELS, ShapeError, affinity_of_bin, quantise_affinity};
pub use agglomeration::{
    Agglomeration, EdgeStatistic, Scoring, ScoringError, SizeWeight, agglomerate, agglomerate_at_each,
};
pub use fragments::{
    AffinityWatershed, FragmentMethod, FragmentMethodError, SeededWatershed, SliceWatershed, fragments,
};
pub use graph::{BytesError, Contact, Edge, Fragment, RegionGraph, contacts_of_volume};
pub use labels::{affinities_of_labels, widen_borders};
pub use metrics::{Contingency, Scores};
pub use tile::{GridError, Tile, TileGrid};
pub use tile_fragments::{FragmentsError, TileFragments};
pub use window::{crop, pad_reflect};
