//! Image and label volumes by URL.
//!
//! Reads zarr of versions 2 and 3 (gzip, zstd, blosc, sharded, OME-NGFF) and Neuroglancer precomputed (raw), from
//! files and over HTTP; writes zarr 3 and precomputed. Programs use the blocking [`Volume`] and [`VolumeWriter`],
//! the browser the asynchronous `AsyncVolume` over `fetch`.
//!
//! Conventions: boxes, shapes and sizes are zyx, arrays are in C order with x fastest, several channels come first.
//! Everything that is read is untrusted: sizes are checked against [`limits`] before anything is allocated,
//! decompression stops at the size of the chunk, a missing chunk is fill value but a damaged one is an error.

mod codec;
mod data_type;
mod description;
mod element;
mod error;
pub mod limits;
mod precomputed;
mod region;
mod source;
mod url;
mod zarr;

#[cfg(target_arch = "wasm32")]
mod async_volume;
#[cfg(not(target_arch = "wasm32"))]
mod volume;
#[cfg(not(target_arch = "wasm32"))]
mod writer;

pub use data_type::DataType;
pub use error::VolumeError;
pub use region::Region;
pub use url::{Place, UrlFormat, VolumeUrl};

#[cfg(target_arch = "wasm32")]
pub use async_volume::AsyncVolume;
#[cfg(not(target_arch = "wasm32"))]
pub use volume::Volume;
#[cfg(not(target_arch = "wasm32"))]
pub use writer::{NewVolume, VolumeWriter};
