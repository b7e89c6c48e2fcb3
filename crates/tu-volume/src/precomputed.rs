//! Neuroglancer precomputed volumes, unsharded, encoding `raw`.
//!
//! An `info` document lists the scales, finest first; chunk `x0-x1_y0-y1_z0-z1` of a scale holds the voxels with x
//! fastest, then y, z and channel (which is `[c, z, y, x]` in C order), little-endian, clipped to the volume.
//! Names count from the scale's `voxel_offset`.  Specification: Neuroglancer's `precomputed/volume.md`.

pub(crate) mod info;
#[cfg(not(target_arch = "wasm32"))]
mod read;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) mod write;

#[cfg(target_arch = "wasm32")]
pub(crate) mod async_read;

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use read::PrecomputedReader;
