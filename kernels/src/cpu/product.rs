//! Matrix products of the `gemm` crate into buffers of our own, each on the calling thread.

/// A matrix in a slice: where it starts and its steps from row to row and column to column.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) start: usize,
    pub(crate) steps: [usize; 2],
}

impl Matrix<'_> {
    /// Whether `rows × columns` elements lie within the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        let last = |rows: usize, columns: usize| self.start + rows * self.steps[0] + columns * self.steps[1];
        rows * columns == 0 || last(rows - 1, columns - 1) < self.values.len()
    }
}

/// `out = a b`, or `out + a b` where `add`, for `a [m, k]`, `b [k, n]`; `out [m, n]` has steps `out_steps`.
///
/// # Safety
/// `out` points to `m × n` floats at these steps that nothing else uses meanwhile, written before if `add`.
pub(crate) unsafe fn multiply(
    [m, k, n]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: *mut f32,
    out_steps: [usize; 2],
    add: bool,
) {
    assert!(k == 0 || (a.holds(m, k) && b.holds(k, n)), "matrices lie within their slices");
    let step = |steps: [usize; 2], i: usize| steps[i] as isize;
    // SAFETY: `a` and `b` have just been checked, the caller answers for `out`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            step(out_steps, 1),
            step(out_steps, 0),
            add,
            a.values.as_ptr().wrapping_add(a.start),
            step(a.steps, 1),
            step(a.steps, 0),
            b.values.as_ptr().wrapping_add(b.start),
            step(b.steps, 1),
            step(b.steps, 0),
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// A pointer that threads share, each for elements of its own.
#[derive(Clone, Copy)]
pub(crate) struct Shared(pub(crate) *mut f32);

// SAFETY: whoever dereferences it answers for the elements being its own.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// The element at an index.
    pub(crate) fn at(self, index: usize) -> *mut f32 {
        self.0.wrapping_add(index)
    }
}
