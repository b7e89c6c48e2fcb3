//! How far a whole network may be from the CPU.

use tu_kernels::selfcheck::Arithmetic;
use tu_model::Precision;

use super::plan::Plan;

/// Limits of what passes through all layers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    /// Largest difference of an affinity, absolute.
    pub(super) affinity: f64,
    /// Share of affinities in another of the 256 bins.
    pub(super) bins: f64,
    /// Difference of a loss, relative.
    pub(super) loss: f64,
    /// Difference of the norm of all gradients, relative.
    pub(super) gradient_norm: f64,
}

impl Limits {
    /// Those of a plan. The CPU in f32 is compared with itself, and repeats to the bit. Errors of 2⁻²⁴ (f32), 2⁻¹¹ (TF32 and
    /// f16) and 2⁻⁹ (bf16) per operation grow on their way through some 60 layers; the first steps of Adam move every weight by
    /// the learning rate in the direction of its gradient's sign, which rounding decides where the gradient is nearly zero.
    pub(super) fn of(plan: &Plan) -> Self {
        let of = |affinity, bins, loss, gradient_norm| Self { affinity, bins, loss, gradient_norm };
        match plan.precision {
            Precision::F16 => of(2e-2, 0.5, 2e-2, 1e-1),
            Precision::Bf16 => of(1e-1, 0.9, 5e-2, 2e-1),
            Precision::F32 if plan.is_cpu() => of(0.0, 0.0, 0.0, 0.0),
            Precision::F32 => match Arithmetic::of(&plan.device) {
                Arithmetic::Single => of(1e-3, 0.02, 1e-3, 1e-2),
                Arithmetic::Tf32 => of(5e-3, 0.2, 5e-3, 5e-2),
            },
        }
    }
}
