//! What the integration tests share: the fixtures' formula and a real web server.
#![allow(dead_code, reason = "every test file uses its part")]

pub(crate) mod server;

use std::path::PathBuf;

/// Shape of the fixtures, zyx.
pub(crate) const SHAPE: [usize; 3] = [5, 6, 7];

/// A folder of `tests/fixtures`.
pub(crate) fn fixture(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(name)
}

/// The value that `write_zarr_fixtures.py` puts at a voxel.
pub(crate) fn value(c: usize, z: usize, y: usize, x: usize) -> u64 {
    ((c * 53 + z * 37 + y * 11 + x * 3 + 5) % 251) as u64
}

/// All values of a box in C order.
pub(crate) fn values(origin: [usize; 3], shape: [usize; 3]) -> Vec<u64> {
    channel_values(0, origin, shape)
}

/// All values of one channel of a box in C order.
pub(crate) fn channel_values(c: usize, origin: [usize; 3], shape: [usize; 3]) -> Vec<u64> {
    let mut out = Vec::new();
    for z in 0..shape[0] {
        for y in 0..shape[1] {
            for x in 0..shape[2] {
                out.push(value(c, origin[0] + z, origin[1] + y, origin[2] + x));
            }
        }
    }
    out
}
