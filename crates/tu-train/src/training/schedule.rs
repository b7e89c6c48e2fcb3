//! Learning rate per step: a linear rise over `w` steps, then half a cosine,
//! lr(s) = min + (peak − min) · ½ (1 + cos π (s − w)/(S − w)), reaching `min` at s = S.

use super::OptimiserConfig;

/// Learning rate of `step` (from 0) in a run of `steps`.
#[must_use]
pub fn learning_rate(config: &OptimiserConfig, steps: u64, step: u64) -> f64 {
    let warmup = config.warmup_steps.min(steps);
    if step < warmup {
        return config.lr * (step + 1) as f64 / warmup as f64;
    }
    let span = (steps - warmup).max(1) as f64;
    let progress = ((step - warmup) as f64 / span).min(1.0);
    config.min_lr + (config.lr - config.min_lr) * 0.5 * (1.0 + (std::f64::consts::PI * progress).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(warmup_steps: u64) -> OptimiserConfig {
        OptimiserConfig { lr: 1e-3, min_lr: 1e-5, warmup_steps, ..Default::default() }
    }

    #[test]
    fn without_warm_up_it_starts_at_the_peak_and_passes_the_middle_half_way() {
        let c = config(0);
        assert!((learning_rate(&c, 100, 0) - 1e-3).abs() < 1e-15);
        assert!((learning_rate(&c, 100, 50) - (1e-3 + 1e-5) / 2.0).abs() < 1e-12);
        assert!((learning_rate(&c, 100, 100) - 1e-5).abs() < 1e-15);
    }

    #[test]
    fn warm_up_rises_linearly_and_the_cosine_spans_what_is_left() {
        let c = config(20);
        assert!((learning_rate(&c, 100, 0) - 1e-3 / 20.0).abs() < 1e-15);
        assert!((learning_rate(&c, 100, 9) - 5e-4).abs() < 1e-15);
        assert!((learning_rate(&c, 100, 19) - 1e-3).abs() < 1e-15);
        assert!((learning_rate(&c, 100, 20) - 1e-3).abs() < 1e-15);
        assert!((learning_rate(&c, 100, 60) - (1e-3 + 1e-5) / 2.0).abs() < 1e-12);
        assert!((learning_rate(&c, 100, 100) - 1e-5).abs() < 1e-15);
    }

    #[test]
    fn a_run_that_is_all_warm_up_never_divides_by_zero() {
        let c = config(500);
        assert!((learning_rate(&c, 10, 9) - 1e-3).abs() < 1e-15);
        assert!(learning_rate(&c, 10, 10).is_finite());
    }
}
