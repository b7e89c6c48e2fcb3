//! CPU twin of the operations on all parameters. Every operation is rounded on its own, so results do not depend on the
//! machine.

use core::mem::take;

use super::{Place, Rates};
use crate::cpu::output::filled;
use crate::cpu::tasks::{PIECE, map_over};

/// A piece of a parameter with its moments.
struct Piece<'a> {
    value: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    keep: f32,
}

impl Piece<'_> {
    fn step(self, r: &Rates) {
        let moments = self.first.iter_mut().zip(self.second);
        for ((value, gradient), (first, second)) in self.value.iter_mut().zip(self.gradient).zip(moments) {
            let g = gradient * r.clip;
            *first = *first * r.betas[0] + g * r.rests[0];
            *second = *second * r.betas[1] + g * g * r.rests[1];
            let root = (*second / r.correction).sqrt() + r.epsilon;
            *value = *value * self.keep - *first * r.rate / root;
        }
    }
}

/// New values of the parameters, from values and gradients of the same lengths; `first` and `second` change in place, where
/// `places`, ascending, says that moments lie.
///
/// # Panics
/// When places overlap, do not ascend or lie outside, or lengths differ from theirs.
pub fn adamw(
    parameters: &[(&[f32], &[f32])],
    mut first: &mut [f32],
    mut second: &mut [f32],
    places: &[Place],
    rates: &Rates,
) -> Vec<Vec<f32>> {
    let mut found: Vec<Vec<f32>> = parameters.iter().map(|(value, _)| value.to_vec()).collect();
    let mut pieces = Vec::new();
    let mut passed = 0;
    for ((value, (_, gradient)), place) in found.iter_mut().zip(parameters).zip(places) {
        let (gap, length) = (place.moments.start - passed, place.moments.len());
        assert!(value.len() == length && gradient.len() == length, "a parameter has as many moments");
        let (first, second) = (own(&mut first, gap, length), own(&mut second, gap, length));
        passed = place.moments.end;
        let moments = first.chunks_mut(PIECE).zip(second.chunks_mut(PIECE));
        let values = value.chunks_mut(PIECE).zip(gradient.chunks(PIECE));
        pieces.extend(values.zip(moments).map(|((value, gradient), (first, second))| Piece {
            value,
            gradient,
            first,
            second,
            keep: place.keep,
        }));
    }
    map_over(pieces, |piece| piece.step(rates));
    found
}

/// Takes the next `length` moments behind a gap.
fn own<'a>(moments: &mut &'a mut [f32], gap: usize, length: usize) -> &'a mut [f32] {
    let (own, rest) = take(moments)[gap..].split_at_mut(length);
    *moments = rest;
    own
}

/// `weights[0]·a + weights[1]·b`.
///
/// # Panics
/// When the lengths differ.
pub fn weighted_sum(a: &[f32], b: &[f32], weights: [f32; 2]) -> Vec<f32> {
    assert!(a.len() == b.len(), "the tensors of a pair have one length");
    filled(a.len(), PIECE, |start, sums| {
        for ((sum, a), b) in sums.iter_mut().zip(&a[start..]).zip(&b[start..]) {
            *sum = a * weights[0] + b * weights[1];
        }
    })
}
