//! Reading and writing blocks of [`LANES`] values of a row whose length need not be a multiple of it.

use super::{LANES, Lanes};

/// The values of a row from `at` on, further lanes 0.
#[inline(always)]
pub(crate) fn load(row: &[f32], at: usize) -> Lanes {
    let row = &row[at..];
    if let Some(lanes) = row.first_chunk::<LANES>() {
        return *lanes;
    }
    let mut lanes = [0.0; LANES];
    lanes[..row.len()].copy_from_slice(row);
    lanes
}

/// Writes as many lanes as the row has room for from `at` on.
#[inline(always)]
pub(crate) fn store(row: &mut [f32], at: usize, lanes: &Lanes) {
    let row = &mut row[at..];
    if let Some(whole) = row.first_chunk_mut::<LANES>() {
        *whole = *lanes;
    } else {
        let width = row.len();
        row.copy_from_slice(&lanes[..width]);
    }
}
