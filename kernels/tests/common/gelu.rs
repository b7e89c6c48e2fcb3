//! The Gaussian error linear unit in f64.

use burn::tensor::{Device, Tensor};
use tu_kernels::gelu;

use super::tokens::TokenCase;
use super::{tensor, uniform, values};

/// Values from −8 to 8.
#[derive(Clone)]
pub(crate) struct GeluCase {
    pub(crate) x: Vec<f64>,
    pub(crate) y_grad: Vec<f64>,
}

impl core::fmt::Debug for GeluCase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "gelu of {} values", self.x.len())
    }
}

impl GeluCase {
    pub(crate) fn new(count: usize) -> Self {
        Self { x: uniform(count, 1).iter().map(|x| 8.0 * x).collect(), y_grad: uniform(count, 2) }
    }
}

/// Φ(x) = ½ + φ(x) (x + x³/3 + x⁵/(3·5) + …).
fn normal(x: f64) -> f64 {
    let (mut term, mut sum) = (x, x);
    for k in 1..400 {
        term *= x * x / f64::from(2 * k + 1);
        sum += term;
    }
    0.5 + density(x) * sum
}

fn density(x: f64) -> f64 {
    (-0.5 * x * x).exp() / (2.0 * core::f64::consts::PI).sqrt()
}

impl TokenCase for GeluCase {
    const NAMES: &'static [&'static str] = &["y", "x_grad"];

    fn inputs(&mut self) -> Vec<&mut Vec<f64>> {
        vec![&mut self.x, &mut self.y_grad]
    }

    fn reference(&self) -> Vec<Vec<f64>> {
        let slope = |(x, g): (&f64, &f64)| g * (normal(*x) + x * density(*x));
        vec![
            self.x.iter().map(|x| x * normal(*x)).collect(),
            self.x.iter().zip(&self.y_grad).map(slope).collect(),
        ]
    }

    async fn run(&self, device: &Device) -> Vec<Vec<f32>> {
        let device = device.clone().autodiff();
        let x: Tensor<1> = tensor(&self.x, [self.x.len()], &device).require_grad();
        let y = gelu(x.clone());
        let mut grads = (y.clone() * tensor(&self.y_grad, [self.y_grad.len()], &device)).sum().backward();
        vec![values(y.inner()).await, values(x.grad_remove(&mut grads).unwrap()).await]
    }
}

/// One value, odd counts, more than a piece of a thread.
pub(crate) fn gelu_cases() -> Vec<GeluCase> {
    [1, 37, 40_001].map(GeluCase::new).into()
}
