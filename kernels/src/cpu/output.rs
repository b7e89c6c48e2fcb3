//! Results of CPU kernels, in buffers that are not cleared as a whole before they are filled.
//!
//! A fresh buffer of tens of megabytes is written to memory twice if zeros come first. Here the thread that computes a
//! piece clears it, just before and in its own cache.

use core::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use super::tasks::map_over;

/// Values not yet written.
pub(crate) type Unwritten = [MaybeUninit<f32>];

/// Zeros.
fn cleared(piece: &mut Unwritten) -> &mut [f32] {
    piece.fill(MaybeUninit::new(0.0));
    // SAFETY: every element has just been written.
    unsafe { &mut *(core::ptr::from_mut(piece) as *mut [f32]) }
}

/// `len` values, computed by `f(first element, piece)` in pieces of `piece` elements on all threads. A piece holds
/// zeros when `f` gets it.
pub(crate) fn filled(len: usize, piece: usize, f: impl Fn(usize, &mut [f32]) + Sync + Send) -> Vec<f32> {
    filled_by_block(len, len, piece, f)
}

/// As [`filled`], but no piece crosses a multiple of `block` elements.
pub(crate) fn filled_by_block(
    len: usize,
    block: usize,
    piece: usize,
    f: impl Fn(usize, &mut [f32]) + Sync + Send,
) -> Vec<f32> {
    let (block, piece) = (block.max(1), piece.max(1));
    let fill = |values: &mut Unwritten| {
        let blocks = values.chunks_mut(block).enumerate();
        let pieces = blocks.flat_map(|(i, values)| {
            values.chunks_mut(piece).enumerate().map(move |(j, part)| (i * block + j * piece, part))
        });
        map_over(pieces.collect(), |(first, part)| f(first, cleared(part)));
    };
    // SAFETY: every value belongs to a piece, and every piece is cleared.
    unsafe { unwritten(len, fill) }
}

/// A new buffer of planes, each written by the one task that computes it, in any order.
pub(crate) struct NewPlanes<'a> {
    planes: Vec<Mutex<Option<&'a mut Unwritten>>>,
}

impl NewPlanes<'_> {
    /// Has a plane written; it holds zeros when `fill` gets it.
    ///
    /// # Panics
    /// When the plane has been written before.
    pub(crate) fn write(&self, index: usize, fill: impl FnOnce(&mut [f32])) {
        // A poisoned lock only says that another plane's task panicked; that panic is already on its way.
        let plane = self.planes[index].lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(plane) = plane else { unreachable!("plane {index} is written once") };
        fill(cleared(plane));
    }
}

/// `count` planes of `plane` values, which `tasks` writes.
///
/// # Panics
/// When a plane is left out.
pub(crate) fn planes(count: usize, plane: usize, tasks: impl FnOnce(&NewPlanes)) -> Vec<f32> {
    let fill = |values: &mut Unwritten| {
        let planes = values.chunks_exact_mut(plane.max(1));
        let new = NewPlanes { planes: planes.map(|plane| Mutex::new(Some(plane))).collect() };
        tasks(&new);
        let mut left = new.planes.into_iter();
        let written = |plane: Mutex<Option<_>>| plane.into_inner().is_ok_and(|plane| plane.is_none());
        assert!(left.all(written), "every plane is written");
    };
    // SAFETY: all planes, and with them all values, have been written.
    unsafe { unwritten(count * plane, fill) }
}

/// `len` values that `fill` writes.
///
/// # Safety
/// `fill` writes every value.
pub(crate) unsafe fn unwritten(len: usize, fill: impl FnOnce(&mut Unwritten)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    fill(&mut values.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and the caller answers for the values.
    unsafe { values.set_len(len) };
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_cover_every_element_once_and_stay_within_blocks() {
        for (len, block, piece) in [(0, 1, 1), (1, 1, 8), (10, 10, 3), (12, 6, 4), (12, 4, 100), (7, 3, 0)] {
            let values = filled_by_block(len, block, piece, |first, part| {
                assert!(part.iter().all(|v| *v == 0.0));
                assert_eq!(first / block, (first + part.len() - 1) / block);
                for (i, v) in part.iter_mut().enumerate() {
                    *v += (first + i) as f32;
                }
            });
            assert_eq!(values, (0..len).map(|i| i as f32).collect::<Vec<_>>(), "{len} {block} {piece}");
        }
    }

    #[test]
    fn planes_land_where_they_belong_in_any_order() {
        let values = planes(5, 2, |new| {
            for i in [3, 0, 4, 1, 2] {
                new.write(i, |plane| plane[1] = i as f32);
            }
        });
        assert_eq!(values, [0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 3.0, 0.0, 4.0]);
        assert!(planes(0, 3, |_| {}).is_empty());
    }

    #[test]
    #[should_panic(expected = "every plane is written")]
    fn a_plane_that_no_task_writes_is_found_out() {
        planes(2, 4, |new| new.write(1, |_| {}));
    }
}
