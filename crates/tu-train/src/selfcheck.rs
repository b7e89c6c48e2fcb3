//! Whether a device can be trusted: what it computes against the CPU.
//!
//! ```text
//! kernels    every operation of the network at its own sizes, values and gradients   ≤ tu_kernels::selfcheck::tolerance
//! forward    affinities of one window: max |Δ|, and how many fall into another bin   ≤ limits
//! training   losses and gradient norms of three fine-tuning steps                    ≤ limits
//! ```
//! Everything is seeded. A half precision is compared with the CPU in f32. The CPU itself is compared with operations that are not
//! ours (kernels) and with itself (forward and training), where f32 has to repeat to the bit.

mod forward;
mod kernels;
mod limits;
mod plan;
mod quiet;
mod row;
mod training;

pub use plan::{Plan, PlanError, STEPS};
pub use row::{Row, Stage};

pub(crate) use quiet::quietly;

/// Runs all checks of a plan; `seen` is given every row as soon as it is known.
///
/// Checks that fail are rows: nothing stops the others.
#[must_use]
pub fn self_check(plan: &Plan, seen: &mut dyn FnMut(&Row)) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut add = |row: Row| {
        seen(&row);
        rows.push(row);
    };
    kernels::check(plan, &mut add);
    forward::check(plan, &mut add);
    training::check(plan, &mut add);
    rows
}
