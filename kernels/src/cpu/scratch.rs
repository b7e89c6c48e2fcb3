//! Room for intermediate values that a thread keeps between tasks, so that it is neither cleared nor returned to the system
//! each time.

use std::cell::RefCell;

thread_local! {
    static KEPT: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls `f` with rooms of the given sizes. They hold finite or other floats that somebody left there.
pub(crate) fn with_scratch<R, const N: usize>(sizes: [usize; N], f: impl FnOnce([&mut [f32]; N]) -> R) -> R {
    // Taken, not borrowed: a task that runs within another one on this thread gets room of its own.
    let mut kept = KEPT.take();
    let needed = sizes.iter().sum();
    if kept.len() < needed {
        kept = vec![0.0; needed];
    }
    let mut rest = kept.as_mut_slice();
    let rooms = sizes.map(|size| {
        let (room, after) = std::mem::take(&mut rest).split_at_mut(size);
        rest = after;
        room
    });
    let result = f(rooms);
    KEPT.set(kept);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_do_not_overlap_and_nested_ones_are_others() {
        with_scratch([3, 0, 5], |[a, b, c]| {
            a.fill(1.0);
            c.fill(2.0);
            with_scratch([4], |[d]| d.fill(3.0));
            assert_eq!((a.to_vec(), b.len(), c.to_vec()), (vec![1.0; 3], 0, vec![2.0; 5]));
        });
    }
}
