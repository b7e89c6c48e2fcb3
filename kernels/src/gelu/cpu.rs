//! CPU twin of the Gaussian error linear unit.

use super::{ERFC, PEAK};
use crate::cpu::math::{exp_with, multiply_add};
use crate::cpu::output::filled;
use crate::cpu::simd::{Level, for_every_level};
use crate::cpu::tasks::PIECE;

/// Φ(x).
#[inline(always)]
fn normal<const FUSED: bool>(x: f32) -> f32 {
    let z = x.abs() * core::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / multiply_add::<FUSED>(z, 0.5, 1.0);
    let mut p = ERFC[9];
    for coefficient in ERFC[..9].iter().rev() {
        p = multiply_add::<FUSED>(p, t, *coefficient);
    }
    let tail = 0.5 * t * exp_with::<FUSED>(multiply_add::<FUSED>(-z, z, p));
    if x < 0.0 { tail } else { 1.0 - tail }
}

/// x Φ(x) of every element, on all threads.
pub fn forward(x: &[f32]) -> Vec<f32> {
    let level = Level::detect();
    filled(x.len(), PIECE, |first, y| values(level, &x[first..][..y.len()], y))
}

/// ∂y (Φ(x) + x φ(x)) of every element, on all threads.
///
/// # Panics
/// When the lengths differ.
pub fn gradient(x: &[f32], y_grad: &[f32]) -> Vec<f32> {
    assert!(x.len() == y_grad.len(), "x and ∂y have as many elements");
    let level = Level::detect();
    filled(x.len(), PIECE, |first, found| {
        let here = first..first + found.len();
        slopes(level, &x[here.clone()], &y_grad[here], found);
    })
}

for_every_level! {
    fn values = values_body(x: &[f32], y: &mut [f32])
}

#[inline(always)]
fn values_body<const FUSED: bool>(x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = x * normal::<FUSED>(*x);
    }
}

for_every_level! {
    fn slopes = slopes_body(x: &[f32], y_grad: &[f32], found: &mut [f32])
}

#[inline(always)]
fn slopes_body<const FUSED: bool>(x: &[f32], y_grad: &[f32], found: &mut [f32]) {
    for ((found, x), y_grad) in found.iter_mut().zip(x).zip(y_grad) {
        let density = PEAK * exp_with::<FUSED>(-0.5 * x * x);
        *found = y_grad * multiply_add::<FUSED>(*x, density, normal::<FUSED>(*x));
    }
}
