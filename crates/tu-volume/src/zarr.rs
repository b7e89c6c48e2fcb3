//! zarr arrays of versions 2 and 3, alone or as scales of an OME-NGFF image, through the `zarrs` crate.
//!
//! Metadata is fetched, bounded and judged here; zarrs gets it only when it describes something that fits.

mod errors;
mod layout;
pub(crate) mod node;
mod ome;
pub(crate) mod open;
#[cfg(not(target_arch = "wasm32"))]
mod read;
#[cfg(not(target_arch = "wasm32"))]
mod store;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod write;

#[cfg(target_arch = "wasm32")]
pub(crate) mod async_read;

pub(crate) use open::OpenedZarr;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use read::ZarrReader;
