//! Elementary functions that a compiler can vectorise: no branches, no calls.

/// `a b + c`, fused where the instruction exists (`FUSED`); without it the library call would be far slower.
#[inline(always)]
pub(crate) fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// Below this, `exp` is 0: the smallest results (< 2.5e-38) are flushed.
const EXP_MIN: f32 = -86.6;
/// Above this, `exp` is infinite in f32.
const EXP_MAX: f32 = 88.722_84;
/// 1.5 · 2²³: adding it rounds to an integer that then sits in the low bits.
const ROUND: f32 = 12_582_912.0;
/// ln 2 in two parts; the first has 9 significant bits, so that its products with n are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;

/// `eˣ` with a relative error below 2e-7 (about 2 ulp); 0 below −86.6, infinite above 88.72, NaN for NaN.
///
/// `x = n ln 2 + r`, `|r| ≤ ln 2 / 2`; Taylor's polynomial of degree 7 for `eʳ` (truncation 5e-9); the
/// exponent bits take `2ⁿ`.
#[inline(always)]
pub(crate) fn exp_with<const FUSED: bool>(x: f32) -> f32 {
    let bounded = if x < EXP_MIN { EXP_MIN } else { x };
    let bounded = if bounded > EXP_MAX { EXP_MAX } else { bounded };
    let shifted = multiply_add::<FUSED>(bounded, core::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -LN2_HIGH, bounded);
    let r = multiply_add::<FUSED>(n, -LN2_LOW, r);
    let mut p = 1.0 / 5040.0;
    p = multiply_add::<FUSED>(p, r, 1.0 / 720.0);
    p = multiply_add::<FUSED>(p, r, 1.0 / 120.0);
    p = multiply_add::<FUSED>(p, r, 1.0 / 24.0);
    p = multiply_add::<FUSED>(p, r, 1.0 / 6.0);
    p = multiply_add::<FUSED>(p, r, 0.5);
    p = multiply_add::<FUSED>(p, r, 1.0);
    p = multiply_add::<FUSED>(p, r, 1.0);
    // 2ⁿ as 2 · 2ⁿ⁻¹, because n reaches 128; the shift drops the bits of ROUND
    let half_power = f32::from_bits(shifted.to_bits().wrapping_add(126) << 23);
    let value = (p + p) * half_power;
    let value = if x < EXP_MIN { 0.0 } else { value };
    if x > EXP_MAX { f32::INFINITY } else { value }
}

/// `ln(1 + eˣ)` with a relative error below 5e-7 where the result exceeds 2.5e-38, 0 below.
///
/// `max(x, 0) + ln(1 + t)` with `t = exp(−|x|)`, and `ln(1 + t) = 2 artanh s`, `s = t / (2 + t) ≤ 1/3`, so that
/// small results keep their relative accuracy.
#[inline(always)]
pub(crate) fn softplus_with<const FUSED: bool>(x: f32) -> f32 {
    let t = exp_with::<FUSED>(-x.abs());
    let s = t / (2.0 + t);
    let q = s * s;
    let mut p = 2.0 / 17.0;
    p = multiply_add::<FUSED>(p, q, 2.0 / 15.0);
    p = multiply_add::<FUSED>(p, q, 2.0 / 13.0);
    p = multiply_add::<FUSED>(p, q, 2.0 / 11.0);
    p = multiply_add::<FUSED>(p, q, 2.0 / 9.0);
    p = multiply_add::<FUSED>(p, q, 2.0 / 7.0);
    p = multiply_add::<FUSED>(p, q, 2.0 / 5.0);
    p = multiply_add::<FUSED>(p, q, 2.0 / 3.0);
    p = multiply_add::<FUSED>(p, q, 2.0);
    // `x > 0` is false for NaN, which arrives through t
    multiply_add::<FUSED>(p, s, if x > 0.0 { x } else { 0.0 })
}

/// `1 / (1 + e⁻ˣ)` with a relative error below 5e-7 where the result exceeds 2.5e-38, 0 below.
#[inline(always)]
pub(crate) fn sigmoid_with<const FUSED: bool>(x: f32) -> f32 {
    let t = exp_with::<FUSED>(-x.abs());
    (if x < 0.0 { t } else { 1.0 }) / (1.0 + t)
}

/// The logistic function of x out of `s = softplus(x)`: `1 − e⁻ˢ`, with a relative error below 5e-7; 0 for 0.
#[inline(always)]
pub(crate) fn sigmoid_of_softplus_with<const FUSED: bool>(s: f32) -> f32 {
    // Taylor's polynomial of degree 8 where the difference would lose digits
    let mut p = 1.0 - s / 8.0;
    for n in [7.0, 6.0, 5.0, 4.0, 3.0, 2.0] {
        p = multiply_add::<FUSED>(s * (-1.0 / n), p, 1.0);
    }
    if s < 0.5 { s * p } else { 1.0 - exp_with::<FUSED>(-s) }
}

/// `eˣ` as the CPU scan computes it without fused multiply-add: relative error below 2e-7, 0 below −86.6.
pub fn exp(x: f32) -> f32 {
    exp_with::<false>(x)
}

/// `ln(1 + eˣ)` as the CPU scan computes it: relative error below 5e-7.
pub fn softplus(x: f32) -> f32 {
    softplus_with::<false>(x)
}

/// `1 / (1 + e⁻ˣ)` as the CPU scan computes it: relative error below 5e-7.
pub fn sigmoid(x: f32) -> f32 {
    sigmoid_with::<false>(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn worst(f: impl Fn(f32) -> f32, exact: impl Fn(f64) -> f64, low: f32, high: f32) -> f64 {
        let steps = 400_000;
        (0..=steps)
            .map(|i| low + (high - low) * (i as f32 / steps as f32))
            .map(|x| (f64::from(f(x)) / exact(f64::from(x)) - 1.0).abs())
            .fold(0.0, f64::max)
    }

    #[test]
    fn exp_softplus_and_sigmoid_agree_with_f64() {
        for (name, error, limit) in [
            ("exp", worst(exp_with::<false>, f64::exp, -86.5, 88.7), 2e-7),
            ("exp, fused", worst(exp_with::<true>, f64::exp, -86.5, 88.7), 2e-7),
            ("exp near 0", worst(exp_with::<false>, f64::exp, -2.0, 0.0), 2e-7),
            ("softplus", worst(softplus_with::<false>, crate::reference::softplus, -86.5, 100.0), 5e-7),
            ("softplus, fused", worst(softplus_with::<true>, crate::reference::softplus, -86.5, 100.0), 5e-7),
            (
                "sigmoid of softplus",
                worst(sigmoid_of_softplus_with::<false>, |s| -(-s).exp_m1(), 1e-30, 100.0),
                5e-7,
            ),
            (
                "sigmoid of a small softplus",
                worst(sigmoid_of_softplus_with::<true>, |s| -(-s).exp_m1(), 1e-6, 1.0),
                5e-7,
            ),
            ("sigmoid", worst(sigmoid_with::<false>, crate::reference::sigmoid, -86.5, 100.0), 5e-7),
        ] {
            assert!(error < limit, "{name}: relative error {error:e}");
        }
    }

    #[test]
    fn exp_softplus_and_sigmoid_keep_nan_and_the_limits() {
        assert!(exp(f32::NAN).is_nan() && softplus(f32::NAN).is_nan() && sigmoid(f32::NAN).is_nan());
        assert_eq!((exp(f32::INFINITY), exp(f32::NEG_INFINITY), exp(0.0)), (f32::INFINITY, 0.0, 1.0));
        assert_eq!((softplus(f32::INFINITY), softplus(f32::NEG_INFINITY)), (f32::INFINITY, 0.0));
        assert_eq!((sigmoid(f32::INFINITY), sigmoid(f32::NEG_INFINITY)), (1.0, 0.0));
        let of_softplus = sigmoid_of_softplus_with::<true>;
        assert!(of_softplus(f32::NAN).is_nan());
        assert_eq!((of_softplus(0.0), of_softplus(f32::INFINITY)), (0.0, 1.0));
        assert_eq!((exp(-1e30), exp(1e30), exp(-87.0)), (0.0, f32::INFINITY, 0.0));
    }
}
