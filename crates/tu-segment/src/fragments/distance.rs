//! Exact Euclidean distance transform in three dimensions (Felzenszwalb and Huttenlocher 2012,
//! <https://doi.org/10.4086/toc.2012.v008a019>).
//!
//! The squared distance to the nearest boundary voxel separates over the axes:
//! `d²(p) = min_q w²(p − q)² + f(q)` per line, the lower envelope of parabolas, axis after axis. With unit
//! spacing all values are small integers, hence exact in f32.

/// Squared distance of a voxel from which no boundary can be reached.
pub(super) const UNREACHED: f32 = f32::INFINITY;

/// Squared distance of every voxel to the nearest one for which `boundary` holds, in units of `spacing_zyx`;
/// [`UNREACHED`] everywhere if there is none. What lies outside the block is not boundary.
pub(super) fn squared_distance(boundary: &[bool], shape_zyx: [usize; 3], spacing_zyx: [f32; 3]) -> Vec<f32> {
    let mut values: Vec<f32> = boundary.iter().map(|&b| if b { 0.0 } else { UNREACHED }).collect();
    let strides = crate::affinity::strides(shape_zyx);
    let mut envelope = Envelope::default();
    for axis in [2, 1, 0] {
        let (length, stride) = (shape_zyx[axis], strides[axis]);
        if length < 2 {
            continue;
        }
        let weight = f64::from(spacing_zyx[axis]) * f64::from(spacing_zyx[axis]);
        for first in 0..values.len() {
            if (first / stride).is_multiple_of(length) {
                envelope.transform(&mut values, first, stride, length, weight);
            }
        }
    }
    values
}

/// Work space of one line's transform.
#[derive(Default)]
struct Envelope {
    line: Vec<f32>,
    /// Positions of the parabolas of the lower envelope, from left to right.
    apex: Vec<usize>,
    /// Where each of them takes over from its left neighbour.
    begin: Vec<f64>,
}

impl Envelope {
    fn transform(&mut self, values: &mut [f32], first: usize, stride: usize, length: usize, weight: f64) {
        self.line.clear();
        self.line.extend((0..length).map(|i| values[first + i * stride]));
        self.apex.clear();
        self.begin.clear();
        for (q, &height) in self.line.iter().enumerate() {
            if height == UNREACHED {
                continue;
            }
            let mut begin = f64::NEG_INFINITY;
            while let (Some(&p), Some(&p_begin)) = (self.apex.last(), self.begin.last()) {
                begin = crossing(p, f64::from(self.line[p]), q, f64::from(height), weight);
                if begin > p_begin {
                    break;
                }
                self.apex.pop();
                self.begin.pop();
                begin = f64::NEG_INFINITY;
            }
            self.apex.push(q);
            self.begin.push(begin);
        }
        let mut current = 0;
        if self.apex.is_empty() {
            return;
        }
        for i in 0..length {
            while self.begin.get(current + 1).is_some_and(|&begin| begin <= i as f64) {
                current += 1;
            }
            let apex = self.apex[current];
            let offset = apex.abs_diff(i) as f64;
            values[first + i * stride] = (weight * offset * offset + f64::from(self.line[apex])) as f32;
        }
    }
}

/// Where the parabolas with apexes at `p < q` and the given heights meet.
fn crossing(p: usize, height_p: f64, q: usize, height_q: f64, weight: f64) -> f64 {
    let (p, q) = (p as f64, q as f64);
    (height_q - height_p + weight * (q * q - p * p)) / (2.0 * weight * (q - p))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn naive(boundary: &[bool], shape_zyx: [usize; 3], spacing_zyx: [f32; 3]) -> Vec<f32> {
        let [_, height, width] = shape_zyx;
        let place = |v: usize| [v / width / height, v / width % height, v % width];
        (0..boundary.len())
            .map(|v| {
                (0..boundary.len())
                    .filter(|&u| boundary[u])
                    .map(|u| {
                        (0..3)
                            .map(|axis| {
                                let offset = place(u)[axis].abs_diff(place(v)[axis]) as f32;
                                (offset * spacing_zyx[axis]).powi(2)
                            })
                            .sum()
                    })
                    .fold(UNREACHED, f32::min)
            })
            .collect()
    }

    proptest! {
        #[test]
        fn the_transform_is_exact(
            shape in [1usize..6, 1usize..7, 1usize..8],
            bits in prop::collection::vec(prop::bool::weighted(0.15), 210),
            spacing in prop::sample::select(vec![[1.0, 1.0, 1.0], [4.0, 1.0, 1.0], [2.0, 0.5, 3.0]]),
        ) {
            let boundary = &bits[..shape.iter().product()];
            prop_assert_eq!(squared_distance(boundary, shape, spacing), naive(boundary, shape, spacing));
        }
    }
}
