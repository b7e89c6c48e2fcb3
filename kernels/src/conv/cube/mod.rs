//! The convolution on CubeCL devices without matrix units: an implicit matrix product on plain f32 units.
//!
//! Values. A cube owns a tile of voxels × output channels. For every kernel plane dz and slice of input channels
//! it stages the tile's input with its halo, and the weights, in shared memory; each unit then adds to 4 channels
//! × 8 voxels along x in registers. A window of `8 + kx − 1` inputs serves all taps of a kernel row, so a
//! row costs `⌈(kx + 7) / 4⌉ + kx` vector loads for `32 kx` products.
//!
//! Input gradient. The same with the kernel flipped and its channels swapped, which packing the weights does.
//!
//! Weight gradient. A cube owns output channels × input channels × one kernel plane and sums over a chunk of the
//! voxels; each unit adds to 8 channels × one kernel row. A second launch adds the chunks in their order: no atomics,
//! equal bits in every run.
//!
//! | | launches |
//! |---|---|
//! | values | pack weights (unless they have been before), `values` |
//! | input gradient | pack weights, `values` |
//! | weight gradient | `weights`, sum of chunks |
//!
//! Tile sizes follow from the sizes of the convolution by a fixed rule (`tile`); nothing is tuned at run time.
//! Limits are WebGPU's defaults: 16 KiB of shared memory, 256 units, 65,535 cubes along an axis, three buffers
//! and CubeCL's own.

mod backend;
mod launch;
mod pack;
mod tile;
mod values;
mod weights;

pub use launch::{PACKED_LAUNCHES, VALUE_LAUNCHES, WEIGHT_GRADIENT_LAUNCHES};

use cubecl::prelude::{Const, Vector};

/// Four floats, the widest that a WGSL load moves.
type Float4 = Vector<f32, Const<4>>;
