//! Sums of errors over generated tokens, and the power law that they follow. What is held grows with the number of generated
//! tokens and the prefixes that run together, not with their number in all.

use serde::Serialize;

/// Steps at which a power law is fitted, even in the logarithm.
const FITTED: usize = 40;

/// A(m) and B(m) summed over prefixes.
#[derive(Clone, Debug, PartialEq)]
pub struct Accumulation {
    absolute: Vec<f64>,
    vector_squared: Vec<f64>,
    squared: f64,
    prefixes: u64,
}

/// Sums over the tokens that were generated so far, of prefixes that run together.
#[derive(Clone, Debug, PartialEq)]
pub struct RunningErrors {
    voxels: usize,
    absolute: Vec<f64>,
    vectors: Vec<f64>,
    squared: Vec<f64>,
}

impl RunningErrors {
    /// Adds the error of the next token of a prefix.
    pub fn add(&mut self, prefix: usize, predicted: &[f32], truth: &[f32]) {
        let vector = &mut self.vectors[prefix * self.voxels..(prefix + 1) * self.voxels];
        let (mut absolute, mut squared) = (0.0, 0.0);
        for ((sum, guess), truth) in vector.iter_mut().zip(predicted).zip(truth) {
            let error = f64::from(guess - truth);
            *sum += error;
            absolute += error.abs();
            squared += error * error;
        }
        self.absolute[prefix] += absolute / self.voxels as f64;
        self.squared[prefix] += squared / self.voxels as f64;
    }
}

impl Accumulation {
    /// For `generated` tokens.
    #[must_use]
    pub fn new(generated: usize) -> Self {
        Self {
            absolute: vec![0.0; generated],
            vector_squared: vec![0.0; generated],
            squared: 0.0,
            prefixes: 0,
        }
    }

    /// Tokens that are generated.
    #[must_use]
    pub fn generated(&self) -> usize {
        self.absolute.len()
    }

    /// Begins with `prefixes` more, whose tokens have `voxels`.
    pub fn begin(&mut self, prefixes: usize, voxels: usize) -> RunningErrors {
        self.prefixes += prefixes as u64;
        RunningErrors {
            voxels,
            absolute: vec![0.0; prefixes],
            vectors: vec![0.0; prefixes * voxels],
            squared: vec![0.0; prefixes],
        }
    }

    /// Takes in where the sums stand after token `index`, counted from 0.
    pub fn record(&mut self, index: usize, errors: &RunningErrors) {
        self.absolute[index] += errors.absolute.iter().sum::<f64>();
        let squares: f64 = errors.vectors.iter().map(|v| v * v).sum();
        self.vector_squared[index] += squares / errors.voxels as f64;
        if index + 1 == self.generated() {
            self.squared += errors.squared.iter().sum::<f64>();
        }
    }

    /// Adds the sums over other prefixes.
    pub fn merge(&mut self, other: &Self) {
        self.absolute.iter_mut().zip(&other.absolute).for_each(|(a, b)| *a += b);
        self.vector_squared.iter_mut().zip(&other.vector_squared).for_each(|(a, b)| *a += b);
        self.squared += other.squared;
        self.prefixes += other.prefixes;
    }

    fn count(&self) -> f64 {
        self.prefixes.max(1) as f64
    }

    /// A(1), …, A(G), the mean over prefixes.
    #[must_use]
    pub fn absolute(&self) -> Vec<f64> {
        self.absolute.iter().map(|sum| sum / self.count()).collect()
    }

    /// B(1), …, B(G), the root mean square over prefixes.
    #[must_use]
    pub fn vector(&self) -> Vec<f64> {
        self.vector_squared.iter().map(|sum| (sum / self.count()).sqrt()).collect()
    }

    /// Mean squared error over all generated voxels.
    #[must_use]
    pub fn mse(&self) -> f64 {
        self.squared / self.count() / self.generated().max(1) as f64
    }
}

/// y = factor · m^exponent.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PowerLaw {
    /// The slope in log-log.
    pub exponent: f64,
    /// y at m = 1.
    pub factor: f64,
    /// Share of the variance of log y that the line explains.
    pub r_squared: f64,
}

impl PowerLaw {
    /// Least squares through (log m, log y) for y at m = 1, 2, …; a y that is not positive is left out.
    #[must_use]
    pub fn fit(y: &[f64]) -> Self {
        let last = y.len().max(1) as f64;
        let mut steps: Vec<usize> =
            (0..FITTED).map(|i| last.powf(i as f64 / (FITTED - 1) as f64).round() as usize).collect();
        steps.dedup();
        let points: Vec<(f64, f64)> = steps
            .into_iter()
            .filter_map(|m| Some((m as f64, *y.get(m.checked_sub(1)?)?)))
            .filter(|(_, y)| *y > 0.0 && y.is_finite())
            .map(|(m, y)| (m.ln(), y.ln()))
            .collect();
        let n = points.len() as f64;
        let mean = |f: &dyn Fn(&(f64, f64)) -> f64| points.iter().map(f).sum::<f64>() / n.max(1.0);
        let (mx, my) = (mean(&|p| p.0), mean(&|p| p.1));
        let sxx = mean(&|p| (p.0 - mx).powi(2));
        let sxy = mean(&|p| (p.0 - mx) * (p.1 - my));
        let syy = mean(&|p| (p.1 - my).powi(2));
        let exponent = if sxx > 0.0 { sxy / sxx } else { 0.0 };
        let r_squared = if sxx * syy > 0.0 { sxy * sxy / (sxx * syy) } else { 1.0 };
        Self { exponent, factor: (my - exponent * mx).exp(), r_squared }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn a_power_law_is_found_again() {
        let y: Vec<f64> = (1..=300).map(|m| 0.25 * f64::from(m).powf(0.7)).collect();
        let law = PowerLaw::fit(&y);
        assert!((law.exponent - 0.7).abs() < 1e-9 && (law.factor - 0.25).abs() < 1e-9);
        assert!((law.r_squared - 1.0).abs() < 1e-9);
        assert!(PowerLaw::fit(&[0.0, 0.0]).exponent.is_finite() && PowerLaw::fit(&[]).factor.is_finite());
    }

    /// Exponents of A and B for errors that `error` draws.
    fn exponents(mut error: impl FnMut(&mut rand_chacha::ChaCha8Rng) -> f32) -> (f64, f64) {
        let mut sum = Accumulation::new(200);
        let mut rng = crate::data::sample_rng(1, 2, 3);
        for _ in 0..8 {
            let mut errors = sum.begin(2, 16);
            for index in 0..200 {
                for prefix in 0..2 {
                    let guess: Vec<f32> = (0..16).map(|_| error(&mut rng)).collect();
                    errors.add(prefix, &guess, &[0.0; 16]);
                }
                sum.record(index, &errors);
            }
        }
        (PowerLaw::fit(&sum.absolute()).exponent, PowerLaw::fit(&sum.vector()).exponent)
    }

    #[test]
    fn independent_errors_grow_with_the_root_and_errors_that_agree_in_proportion() {
        let (absolute, vector) = exponents(|rng| rng.random_range(-0.5f32..0.5));
        assert!((absolute - 1.0).abs() < 0.03 && (vector - 0.5).abs() < 0.05, "{absolute} {vector}");
        let (absolute, vector) = exponents(|_| 0.1);
        assert!((absolute - 1.0).abs() < 1e-6 && (vector - 1.0).abs() < 1e-6, "{absolute} {vector}");
    }

    #[test]
    fn sums_over_prefixes_do_not_depend_on_how_they_are_grouped() {
        let errors = [[0.5f32, -0.25], [0.125, 0.0], [1.0, 1.0]];
        let together = {
            let mut sum = Accumulation::new(1);
            let mut running = sum.begin(3, 2);
            errors.iter().enumerate().for_each(|(i, e)| running.add(i, e, &[0.0; 2]));
            sum.record(0, &running);
            sum
        };
        let mut apart = Accumulation::new(1);
        for error in errors {
            let mut one = Accumulation::new(1);
            let mut running = one.begin(1, 2);
            running.add(0, &error, &[0.0; 2]);
            one.record(0, &running);
            apart.merge(&one);
        }
        assert_eq!(together, apart);
        assert!((together.absolute()[0] - (0.375 + 0.0625 + 1.0) / 3.0).abs() < 1e-12);
        assert!((together.mse() - (0.15625 + 0.0078125 + 1.0) / 3.0).abs() < 1e-12);
    }
}
