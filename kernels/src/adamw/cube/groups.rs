//! Which tensors a launch works on.

use core::ops::Range;

/// Most buffers of a launch. CUDA's argument list takes 4 KiB on its older versions: an address, a length and a few numbers
/// for each; and what a launch binds is compiled in, so that more would make compiling slow.
pub const MAX_BUFFERS: usize = 124;

/// CubeCL's own, for lengths and numbers.
const OWN_BUFFERS: usize = 1;

/// A kernel's buffers: some for each tensor, some for all together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Buffers {
    pub(super) each: usize,
    pub(super) shared: usize,
}

/// Gradients; sums.
pub(super) const SQUARE_SUMS: Buffers = Buffers { each: 1, shared: 1 };
/// Pairs; sums.
pub(super) const WEIGHTED_SUMS: Buffers = Buffers { each: 2, shared: 1 };
/// Value and gradient; two moments and the new values.
pub(super) const ADAMW: Buffers = Buffers { each: 2, shared: 3 };

impl Buffers {
    /// Tensors of a launch on a device that binds `limit` buffers.
    pub(super) fn tensors(self, limit: u32) -> usize {
        let limit = (limit as usize).min(MAX_BUFFERS);
        (limit.saturating_sub(self.shared + OWN_BUFFERS) / self.each).max(1)
    }

    /// The tensors, all but the last group filled.
    pub(super) fn groups(self, tensors: usize, limit: u32) -> impl Iterator<Item = Range<usize>> {
        let size = self.tensors(limit);
        (0..tensors).step_by(size).map(move |first| first..(first + size).min(tensors))
    }
}

/// Launches of [`square_sums`](crate::adamw::square_sums) on a device that binds `limit` buffers.
#[must_use]
pub fn square_sums_launches(tensors: usize, limit: u32) -> usize {
    SQUARE_SUMS.groups(tensors, limit).count()
}

/// Launches of [`weighted_sums`](crate::adamw::weighted_sums) on a device that binds `limit` buffers.
#[must_use]
pub fn weighted_sums_launches(tensors: usize, limit: u32) -> usize {
    WEIGHTED_SUMS.groups(tensors, limit).count()
}

/// Launches of [`adamw`](crate::adamw::adamw) on a device that binds `limit` buffers.
#[must_use]
pub fn adamw_launches(tensors: usize, limit: u32) -> usize {
    ADAMW.groups(tensors, limit).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tensor_is_in_one_group_and_no_group_binds_too_much() {
        for buffers in [SQUARE_SUMS, WEIGHTED_SUMS, ADAMW] {
            for limit in [7, 8, 9, 15, 31, 1000, 500_000] {
                for tensors in [0, 1, 2, 59, 60, 61, 304] {
                    let mut next = 0;
                    for group in buffers.groups(tensors, limit) {
                        assert_eq!(group.start, next);
                        assert!(!group.is_empty());
                        let bound = group.len() * buffers.each + buffers.shared + OWN_BUFFERS;
                        assert!(bound <= limit as usize && bound <= MAX_BUFFERS, "{bound} of {limit}");
                        next = group.end;
                    }
                    assert_eq!(next, tensors);
                }
            }
        }
        assert_eq!(adamw_launches(304, 1024), 6);
        assert_eq!(square_sums_launches(304, 1024), 3);
        assert_eq!(weighted_sums_launches(304, 1024), 5);
    }
}
