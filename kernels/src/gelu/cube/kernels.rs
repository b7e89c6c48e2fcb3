//! Values and gradients, element by element.

use cubecl::prelude::*;

use crate::gelu::{ERFC, PEAK};

/// Φ(x).
#[cube]
fn normal(x: f32) -> f32 {
    let z = x.abs() * comptime![core::f32::consts::FRAC_1_SQRT_2];
    let t = 1.0f32 / (1.0f32 + 0.5f32 * z);
    let mut p = t * f32::new(comptime![ERFC[9]]) + f32::new(comptime![ERFC[8]]);
    #[unroll]
    for i in 0..8 {
        p = p * t + f32::new(comptime![ERFC[7 - i]]);
    }
    let tail = 0.5f32 * t * (p - z * z).exp();
    select(x < 0.0f32, tail, 1.0f32 - tail)
}

#[cube(launch_unchecked)]
pub(super) fn values<E: Float>(x: &[E], y: &mut [E], items: usize, #[define(E)] _element: ElemType) {
    if ABSOLUTE_POS < items {
        let value = f32::cast_from(x[ABSOLUTE_POS]);
        y[ABSOLUTE_POS] = E::cast_from(value * normal(value));
    }
}

#[cube(launch_unchecked)]
pub(super) fn slopes<E: Float>(
    x: &[E],
    y_grad: &[E],
    found: &mut [E],
    items: usize,
    #[define(E)] _element: ElemType,
) {
    if ABSOLUTE_POS < items {
        let value = f32::cast_from(x[ABSOLUTE_POS]);
        let density = f32::new(comptime![PEAK]) * (-0.5f32 * value * value).exp();
        let slope = normal(value) + value * density;
        found[ABSOLUTE_POS] = E::cast_from(f32::cast_from(y_grad[ABSOLUTE_POS]) * slope);
    }
}
