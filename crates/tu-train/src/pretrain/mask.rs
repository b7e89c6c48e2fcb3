//! Random masks: ⌊ρK⌋ of K tokens, drawn without replacement.

use rand::Rng;

/// ⌊ρK⌋. A product that rounding left just below a whole number counts as that number (0.29 · 100 is 29).
#[must_use]
pub fn mask_count(ratio: f64, tokens: usize) -> usize {
    ((ratio * tokens as f64 + 1e-9).floor().max(0.0) as usize).min(tokens)
}

/// Which tokens are masked: exactly `count` of them.
pub fn draw_mask(rng: &mut impl Rng, tokens: usize, count: usize) -> Vec<bool> {
    let mut masked = vec![false; tokens];
    for token in rand::seq::index::sample(rng, tokens, count.min(tokens)) {
        masked[token] = true;
    }
    masked
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_the_floor_of_ratio_times_tokens_is_masked(
            percent in 0u64..=100, tokens in 1usize..500, step in 0u64..1000,
        ) {
            let count = mask_count(percent as f64 / 100.0, tokens);
            prop_assert_eq!(count as u64, percent * tokens as u64 / 100);
            let mask = draw_mask(&mut crate::data::sample_rng(1, step, 0), tokens, count);
            prop_assert_eq!(mask.iter().filter(|m| **m).count(), count);
        }
    }

    #[test]
    fn every_token_is_masked_sometimes() {
        let mut seen = [false; 20];
        for step in 0..200 {
            let mask = draw_mask(&mut crate::data::sample_rng(1, step, 0), 20, 4);
            seen.iter_mut().zip(mask).for_each(|(seen, masked)| *seen |= masked);
        }
        assert_eq!(seen, [true; 20]);
    }
}
