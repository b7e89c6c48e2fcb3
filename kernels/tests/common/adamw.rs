//! Steps of AdamW in f64.

use burn::tensor::{Device, Tensor};
use tu_kernels::adamw::{AdamwStep, Moments, Parameter, adamw};

use super::{error, tensor, uniform, values};

/// Parameters with their gradients in several steps.
pub(crate) struct AdamwCase {
    pub(crate) sizes: Vec<usize>,
    /// Elements between the moments of two parameters, which no step touches.
    pub(crate) gap: usize,
    pub(crate) steps: Vec<AdamwStep>,
}

/// What a run of steps ends with, a parameter behind the other; of the moments, all.
pub(crate) struct Trained {
    pub(crate) values: Vec<f32>,
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
}

/// A number of a gap, which must stay.
const UNTOUCHED: f64 = 7.5;

impl AdamwCase {
    pub(crate) fn new(sizes: Vec<usize>, gap: usize) -> Self {
        let step = |step| AdamwStep {
            clip: if step == 2 { 0.25 } else { 1.0 },
            learning_rate: 0.1 / step as f64,
            betas: [0.9, 0.99],
            epsilon: 1e-8,
            step,
        };
        Self { sizes, gap, steps: (1..=3).map(step).collect() }
    }

    fn value(&self, i: usize) -> Vec<f64> {
        uniform(self.sizes[i], 100 + i as u64)
    }

    /// Every fifth parameter has gradients of 0, every seventh very small and very large ones.
    pub(crate) fn gradient(&self, i: usize, step: u64) -> Vec<f64> {
        let scale = |k: usize| match (i % 5, i % 7, k % 2) {
            (4, ..) => 0.0,
            (_, 6, 0) => f64::from(1e-12f32),
            (_, 6, _) => f64::from(1e6f32),
            _ => 1.0,
        };
        let gradient = uniform(self.sizes[i], 1000 * step + i as u64).into_iter().enumerate();
        gradient.map(|(k, g)| f64::from((g * scale(k)) as f32)).collect()
    }

    fn decay(&self, i: usize, step: &AdamwStep) -> f64 {
        if i.is_multiple_of(2) { step.learning_rate * 0.05 } else { 0.0 }
    }

    pub(crate) fn start(&self, i: usize) -> usize {
        self.sizes[..i].iter().sum::<usize>() + i * self.gap
    }

    pub(crate) fn no_moments(&self) -> Vec<f64> {
        let mut moments = Vec::new();
        for size in &self.sizes {
            moments.extend(std::iter::repeat_n(0.0, *size));
            moments.extend(std::iter::repeat_n(UNTOUCHED, self.gap));
        }
        moments
    }

    /// Values, first and second moments.
    fn reference(&self) -> [Vec<f64>; 3] {
        let (mut first, mut second) = (self.no_moments(), self.no_moments());
        let mut all = Vec::new();
        for i in 0..self.sizes.len() {
            let mut value = self.value(i);
            for step in &self.steps {
                let [beta1, beta2] = step.betas;
                let t = step.step as i32;
                for (k, gradient) in self.gradient(i, step.step).into_iter().enumerate() {
                    let (at, g) = (self.start(i) + k, gradient * step.clip);
                    first[at] = beta1 * first[at] + (1.0 - beta1) * g;
                    second[at] = beta2 * second[at] + (1.0 - beta2) * g * g;
                    let root = (second[at] / (1.0 - beta2.powi(t))).sqrt() + step.epsilon;
                    let direction = first[at] / (1.0 - beta1.powi(t)) / root;
                    value[k] = (1.0 - self.decay(i, step)) * value[k] - step.learning_rate * direction;
                }
            }
            all.extend(value);
        }
        [all, first, second]
    }

    /// The parameters of a step on a device.
    pub(crate) fn parameters(&self, values: &[Tensor<1>], step: &AdamwStep) -> Vec<Parameter> {
        let parameter = |(i, value): (usize, &Tensor<1>)| Parameter {
            value: value.clone(),
            gradient: tensor(&self.gradient(i, step.step), [self.sizes[i]], &value.device()),
            start: self.start(i),
            decay: self.decay(i, step),
        };
        values.iter().enumerate().map(parameter).collect()
    }

    pub(crate) fn values(&self, device: &Device) -> Vec<Tensor<1>> {
        (0..self.sizes.len()).map(|i| tensor(&self.value(i), [self.sizes[i]], device)).collect()
    }

    pub(crate) fn moments(&self, device: &Device) -> Moments {
        let zeros = self.no_moments();
        let zeros = || tensor(&zeros, [zeros.len()], device);
        Moments { first: zeros(), second: zeros() }
    }

    pub(crate) async fn run(&self, device: &Device) -> Trained {
        let (mut found, mut moments) = (self.values(device), self.moments(device));
        for step in &self.steps {
            (found, moments) = adamw(self.parameters(&found, step), moments, step);
        }
        let mut all = Vec::new();
        for value in found {
            all.extend(values(value).await);
        }
        Trained { values: all, first: values(moments.first).await, second: values(moments.second).await }
    }

    /// Compares a run with f64. Moments that are far larger than others are compared among themselves.
    pub(crate) async fn check(&self, device: &Device, limit: f64) {
        let found = self.run(device).await;
        let [all, first, second] = self.reference();
        let worst = error(&found.values, &all);
        assert!(worst < limit, "values of {} parameters: {worst:e}", self.sizes.len());
        for (name, found, expected) in [("first", found.first, first), ("second", found.second, second)] {
            for i in 0..self.sizes.len() {
                let own = self.start(i)..self.start(i) + self.sizes[i];
                let worst = error(&found[own.clone()], &expected[own]);
                assert!(worst < limit, "{name} moments of parameter {i}: {worst:e}");
                let end = self.start(i) + self.sizes[i];
                let gap = &found[end..end + self.gap];
                assert!(gap.iter().all(|v| f64::from(*v) == UNTOUCHED), "{name} moments behind {i}");
            }
        }
    }
}

/// One element, odd sizes beside many small parameters, gaps between moments.
pub(crate) fn adamw_cases() -> Vec<AdamwCase> {
    let mut many: Vec<usize> = (0..150).map(|i| 1 + i * 37 % 300).collect();
    many.extend([65_537, 3, 4096, 4097, 1, 8192]);
    vec![
        AdamwCase::new(vec![1], 0),
        AdamwCase::new(vec![1, 3, 65_537], 0),
        AdamwCase::new(vec![4095, 4096, 4097, 2], 5),
        AdamwCase::new(many, 1),
    ]
}
