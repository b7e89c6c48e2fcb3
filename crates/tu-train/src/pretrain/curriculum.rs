//! The weights (α, β, γ) of the three objectives over a run, p = t/T ∈ [0, 1).
//!
//! ```text
//! τ(p) = τ₀ (τ₁/τ₀)^p                      transitions sharpen as training goes on
//! s₁ = σ((p − p₁)/τ),  s₂ = σ((p − p₂)/τ)
//! L  = (1 − s₁) R₁ + (s₁ − s₂) R₂ + s₂ R₃   ranks of the stages
//! (α, β, γ) = b^L / Σ b^L
//! ```
//! With ranks 3, 1, 0 and b = 2 the weights within a stage are as 8:2:1: 0.73 for the dominant objective, 0.18 and 0.09 for
//! the others. Random leads up to p₁ = 0.3, next to p₂ = 0.7, next-all from there.

use serde::{Deserialize, Serialize};

use crate::training::TrainError;

/// Weights of the objectives in one step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectiveWeights {
    /// α, of random token prediction.
    pub random: f64,
    /// β, of next-token prediction.
    pub next: f64,
    /// γ, of next-all-token prediction.
    pub next_all: f64,
}

/// The schedule of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurriculumConfig {
    /// Ranks R₁, R₂, R₃ of the three stages, each in the order random, next, next-all. Default: 3,1,0; 1,3,0; 0,1,3.
    pub ranks: [[f64; 3]; 3],
    /// Progress p₁ and p₂ at which the second and the third stage begin. Default: 0.3, 0.7.
    pub boundaries: [f64; 2],
    /// Width τ₀ of a transition at the start of the run. Default: 0.05.
    pub temperature_begin: f64,
    /// Width τ₁ of a transition at its end. Default: 0.02.
    pub temperature_end: f64,
    /// Factor b in weight per rank. Default: 2.
    pub base: f64,
}

impl Default for CurriculumConfig {
    fn default() -> Self {
        Self {
            ranks: [[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 1.0, 3.0]],
            boundaries: [0.3, 0.7],
            temperature_begin: 0.05,
            temperature_end: 0.02,
            base: 2.0,
        }
    }
}

impl CurriculumConfig {
    /// Weights at progress `p`, brought into `[0, 1]`; they add up to 1.
    #[must_use]
    pub fn weights(&self, p: f64) -> ObjectiveWeights {
        let p = p.clamp(0.0, 1.0);
        let temperature = self.temperature_begin * (self.temperature_end / self.temperature_begin).powf(p);
        let passed = self.boundaries.map(|boundary| 1.0 / (1.0 + ((boundary - p) / temperature).exp()));
        let shares = [1.0 - passed[0], passed[0] - passed[1], passed[1]];
        let rank = |objective: usize| -> f64 {
            shares.iter().zip(&self.ranks).map(|(share, ranks)| share * ranks[objective]).sum()
        };
        let powers = [0, 1, 2].map(|objective| self.base.powf(rank(objective)));
        let total: f64 = powers.iter().sum();
        ObjectiveWeights { random: powers[0] / total, next: powers[1] / total, next_all: powers[2] / total }
    }

    /// Checks every value against its range.
    ///
    /// # Errors
    /// A value is out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        let [first, second] = self.boundaries;
        let temperatures = [self.temperature_begin, self.temperature_end];
        if !(0.0 <= first && first <= second && second <= 1.0)
            || temperatures.iter().any(|t| !(1e-6..=10.0).contains(t))
            || !(1.0..=1000.0).contains(&self.base)
            || self.ranks.iter().flatten().any(|rank| !(-20.0..=20.0).contains(rank))
        {
            return Err(TrainError::Config(
                "curriculum: boundaries must rise within 0..1, temperatures lie in 1e-6..10, base in 1..1000, ranks in -20..20"
                    .into(),
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// p, then random, next, next-all as the method states them.
    const TABLE: [[f64; 4]; 11] = [
        [0.0, 0.7261, 0.1828, 0.0911],
        [0.15, 0.7128, 0.1942, 0.0930],
        [0.25, 0.6128, 0.2831, 0.1041],
        [0.30, 0.4444, 0.4444, 0.1111],
        [0.35, 0.2727, 0.6242, 0.1032],
        [0.50, 0.1826, 0.7259, 0.0915],
        [0.65, 0.1863, 0.6763, 0.1374],
        [0.70, 0.1716, 0.4853, 0.3431],
        [0.75, 0.1123, 0.2442, 0.6435],
        [0.90, 0.0909, 0.1819, 0.7272],
        [1.0, 0.0909, 0.1818, 0.7273],
    ];

    fn weights(p: f64) -> [f64; 3] {
        let w = CurriculumConfig::default().weights(p);
        [w.random, w.next, w.next_all]
    }

    #[test]
    fn the_weights_are_those_of_the_method_to_four_decimals() {
        for [p, random, next, next_all] in TABLE {
            for (found, stated) in weights(p).into_iter().zip([random, next, next_all]) {
                assert!((found - stated).abs() <= 0.5e-4 + 1e-9, "p = {p}: {found} for {stated}");
            }
        }
    }

    #[test]
    fn weights_add_up_to_one_never_vanish_and_change_slowly() {
        let mut before = weights(0.0);
        for i in 1..=10_000 {
            let now = weights(f64::from(i) / 10_000.0);
            assert!((now.iter().sum::<f64>() - 1.0).abs() < 1e-12);
            for (a, b) in before.iter().zip(&now) {
                assert!(*b > 0.0908 && (a - b).abs() * 10_000.0 < 7.5);
            }
            before = now;
        }
    }

    #[test]
    fn random_leads_first_then_next_then_next_all() {
        let leader = |p: f64| {
            let w = weights(p);
            (0..3).max_by(|a, b| w[*a].total_cmp(&w[*b])).unwrap()
        };
        let leaders = [0.0, 0.29, 0.31, 0.69, 0.72, 1.0].map(leader);
        assert_eq!(leaders, [0, 0, 1, 1, 2, 2]);
        for (p, order) in [(0.0, [0, 1, 2]), (0.5, [1, 0, 2]), (0.9, [2, 1, 0]), (1.0, [2, 1, 0])] {
            for (objective, plateau) in order.into_iter().zip([8.0 / 11.0, 2.0 / 11.0, 1.0 / 11.0]) {
                assert!((weights(p)[objective] - plateau).abs() < 0.012, "p = {p}");
            }
        }
    }

    #[test]
    fn ranks_are_a_setting() {
        let flat = CurriculumConfig { ranks: [[1.0; 3]; 3], ..CurriculumConfig::default() };
        let w = flat.weights(0.4);
        assert!([w.random, w.next, w.next_all].iter().all(|v| (v - 1.0 / 3.0).abs() < 1e-12));
        assert!(CurriculumConfig { temperature_end: 0.0, ..flat }.check().is_err());
    }
}
