//! CPU twin of the linear maps: stretches of positions, each one matrix product.

use super::Layout;
use crate::cpu::output::{Unwritten, unwritten};
use crate::cpu::product::{Matrix, Shared, multiply};
use crate::cpu::tasks::{for_each, map_over};

/// Numbers of x and y that a stretch should have: they stay in a thread's cache.
const STRETCH: usize = 1 << 16;
/// Fewest positions of a stretch: a product packs the weight anew for each.
const FEWEST: usize = 64;
/// Positions of a stretch are a multiple of this.
const STEP: usize = 16;
/// Fewest tasks that a gradient of the weight should have; below, its rows are divided too.
const TASKS_WANTED: usize = 8;

/// Sizes of a linear map.
#[derive(Clone, Copy, Debug)]
pub struct ProjectionShape {
    /// Volumes or sequences B.
    pub batch: usize,
    /// Channels C of the input.
    pub input: usize,
    /// Channels O of the output.
    pub output: usize,
    /// Positions L of a volume or sequence.
    pub positions: usize,
}

impl ProjectionShape {
    /// Positions that one thread takes at a time.
    fn stretch(&self) -> usize {
        (STRETCH / (self.input + self.output).max(1)).max(FEWEST).next_multiple_of(STEP)
    }

    /// Sequence and first position of every stretch of so many positions.
    fn stretches(&self, stretch: usize) -> Vec<(usize, usize)> {
        let starts = (0..self.positions).step_by(stretch);
        (0..self.batch).flat_map(|b| starts.clone().map(move |first| (b, first))).collect()
    }
}

/// Steps in memory from a channel to the next and from a position to the next, for `channels` channels.
fn strides(layout: Layout, channels: usize, positions: usize) -> [usize; 2] {
    match layout {
        Layout::Volume => [positions, 1],
        Layout::Tokens => [1, channels],
    }
}

/// `w x + b` of `x` laid out as `from`, laid out as `to`, on all threads; `w` is `[O, C]`, `b` `[O]` or empty for none.
///
/// # Panics
/// When a slice has not as many elements as the shape says.
pub fn forward(
    x: &[f32],
    w: &[f32],
    b: &[f32],
    shape: &ProjectionShape,
    [from, to]: [Layout; 2],
) -> Vec<f32> {
    let ProjectionShape { batch, input, output, positions } = *shape;
    assert!(x.len() == batch * input * positions && w.len() == output * input, "slices fit {shape:?}");
    assert!(b.is_empty() || b.len() == output, "the bias fits {shape:?}");
    let (x_steps, y_steps) = (strides(from, input, positions), strides(to, output, positions));
    let stretch = shape.stretch();
    let stretches = shape.stretches(stretch);
    let fill = |y: &mut Unwritten| {
        let y = Shared(y.as_mut_ptr().cast());
        for_each(stretches.len(), |index| {
            let (sequence, first) = stretches[index];
            let count = stretch.min(positions - first);
            let y = y.at(sequence * output * positions + first * y_steps[1]);
            for (o, b) in b.iter().enumerate() {
                for l in 0..count {
                    // SAFETY: the element of channel o and position first + l of this sequence, within y; no
                    // other stretch has this position.
                    unsafe { *y.wrapping_add(o * y_steps[0] + l * y_steps[1]) = *b };
                }
            }
            let start = sequence * input * positions + first * x_steps[1];
            let x = Matrix { values: x, start, steps: x_steps };
            let w = Matrix { values: w, start: 0, steps: [input, 1] };
            // SAFETY: as above for all channels and positions of the stretch; with a bias they are written.
            unsafe { multiply([output, input, count], w, x, y, y_steps, !b.is_empty()) };
        });
    };
    // SAFETY: every position belongs to a stretch, whose product writes all of its channels.
    unsafe { unwritten(batch * output * positions, fill) }
}

/// ∂w `[O, C]` of `x` laid out as `from` and `y_grad` laid out as `to`, on all threads.
///
/// # Panics
/// When a slice has not as many elements as the shape says.
pub fn weight_gradient(
    x: &[f32],
    y_grad: &[f32],
    shape: &ProjectionShape,
    [from, to]: [Layout; 2],
) -> Vec<f32> {
    let ProjectionShape { batch, input, output, positions } = *shape;
    assert!(
        x.len() == batch * input * positions && y_grad.len() == batch * output * positions,
        "slices fit {shape:?}"
    );
    let (x_steps, y_steps) = (strides(from, input, positions), strides(to, output, positions));
    // long enough that adding up the sums of stretches is little work
    let stretch = shape.stretch().max(4 * input.min(output).next_multiple_of(STEP));
    let stretches = shape.stretches(stretch);
    let rows = output.div_ceil(TASKS_WANTED.div_ceil(stretches.len().max(1))).max(1);
    let tasks =
        stretches.into_iter().flat_map(|stretch| (0..output).step_by(rows).map(move |row| (stretch, row)));
    let parts = map_over(tasks.collect(), |((sequence, first), row): ((usize, usize), usize)| {
        let (count, rows) = (stretch.min(positions - first), rows.min(output - row));
        let start = sequence * output * positions + row * y_steps[0] + first * y_steps[1];
        let y_grad = Matrix { values: y_grad, start, steps: y_steps };
        let start = sequence * input * positions + first * x_steps[1];
        let x = Matrix { values: x, start, steps: [x_steps[1], x_steps[0]] };
        let mut part = vec![0.0f32; rows * input];
        // SAFETY: `part` is this task's own and has rows × input floats.
        unsafe { multiply([rows, count, input], y_grad, x, part.as_mut_ptr(), [input, 1], false) };
        (row, part)
    });
    let mut sums = vec![0.0f64; output * input];
    for (row, part) in parts {
        let sums = &mut sums[row * input..][..part.len()];
        sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += f64::from(value));
    }
    sums.into_iter().map(|sum| sum as f32).collect()
}
