//! Linear maps over channels in f64.

use burn::tensor::{Device, Tensor};
use tu_kernels::project;
use tu_kernels::projection::Layout;

use super::tokens::TokenCase;
use super::{tensor, uniform, values};

/// A linear map.
#[derive(Clone)]
pub(crate) struct ProjectionCase {
    /// Batch, input channels, output channels, positions.
    pub(crate) sizes: [usize; 4],
    pub(crate) layouts: [Layout; 2],
    pub(crate) x: Vec<f64>,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Option<Vec<f64>>,
    pub(crate) y_grad: Vec<f64>,
}

impl core::fmt::Debug for ProjectionCase {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let bias = if self.bias.is_some() { "with" } else { "without" };
        write!(f, "projection {:?}, {:?}, {bias} bias", self.sizes, self.layouts)
    }
}

fn shape(layout: Layout, [batch, channels, positions]: [usize; 3]) -> [usize; 3] {
    match layout {
        Layout::Volume => [batch, channels, positions],
        Layout::Tokens => [batch, positions, channels],
    }
}

fn place(layout: Layout, [_, channels, positions]: [usize; 3], [b, c, l]: [usize; 3]) -> usize {
    match layout {
        Layout::Volume => (b * channels + c) * positions + l,
        Layout::Tokens => (b * positions + l) * channels + c,
    }
}

impl ProjectionCase {
    pub(crate) fn new(sizes: [usize; 4], layouts: [Layout; 2], bias: bool) -> Self {
        let [batch, input, output, positions] = sizes;
        Self {
            sizes,
            layouts,
            x: uniform(batch * input * positions, 1),
            weight: uniform(output * input, 2),
            bias: bias.then(|| uniform(output, 3)),
            y_grad: uniform(batch * output * positions, 4),
        }
    }
}

impl TokenCase for ProjectionCase {
    const NAMES: &'static [&'static str] = &["y", "x_grad", "weight_grad", "bias_grad"];

    fn inputs(&mut self) -> Vec<&mut Vec<f64>> {
        let mut inputs = vec![&mut self.x, &mut self.weight];
        inputs.extend(&mut self.bias);
        inputs.push(&mut self.y_grad);
        inputs
    }

    fn reference(&self) -> Vec<Vec<f64>> {
        let ([batch, input, output, positions], [from, to]) = (self.sizes, self.layouts);
        let mut y = vec![0.0; self.y_grad.len()];
        let [mut x_grad, mut weight_grad] = [&self.x, &self.weight].map(|v| vec![0.0; v.len()]);
        let mut bias_grad = vec![0.0; output];
        for b in 0..batch {
            for l in 0..positions {
                for (o, bias_grad) in bias_grad.iter_mut().enumerate() {
                    let at_y = place(to, [batch, output, positions], [b, o, l]);
                    let grad = self.y_grad[at_y];
                    *bias_grad += grad;
                    y[at_y] = self.bias.as_ref().map_or(0.0, |bias| bias[o]);
                    for c in 0..input {
                        let at_x = place(from, [batch, input, positions], [b, c, l]);
                        y[at_y] += self.weight[o * input + c] * self.x[at_x];
                        x_grad[at_x] += self.weight[o * input + c] * grad;
                        weight_grad[o * input + c] += grad * self.x[at_x];
                    }
                }
            }
        }
        let mut found = vec![y, x_grad, weight_grad];
        found.extend(self.bias.is_some().then_some(bias_grad));
        found
    }

    async fn run(&self, device: &Device) -> Vec<Vec<f32>> {
        let ([batch, input, output, positions], [from, to]) = (self.sizes, self.layouts);
        let device = device.clone().autodiff();
        let x: Tensor<3> = tensor(&self.x, shape(from, [batch, input, positions]), &device).require_grad();
        let weight: Tensor<2> = tensor(&self.weight, [output, input], &device).require_grad();
        let bias: Option<Tensor<1>> =
            self.bias.as_ref().map(|bias| tensor(bias, [output], &device).require_grad());
        let y = project(x.clone(), weight.clone(), bias.clone(), from, to);
        let y_grad = tensor(&self.y_grad, shape(to, [batch, output, positions]), &device);
        let mut grads = (y.clone() * y_grad).sum().backward();
        let mut found = vec![
            values(y.inner()).await,
            values(x.grad_remove(&mut grads).unwrap()).await,
            values(weight.grad_remove(&mut grads).unwrap()).await,
        ];
        if let Some(bias) = bias {
            found.push(values(bias.grad_remove(&mut grads).unwrap()).await);
        }
        found
    }
}

/// Linear maps that every backend is tested with, from and to every layout, with and without bias: one value, one position,
/// odd sizes, more than a stretch of a thread, more outputs than positions.
pub(crate) fn projection_cases() -> Vec<ProjectionCase> {
    use Layout::{Tokens, Volume};
    let mut cases = Vec::new();
    for sizes in [
        [1, 1, 1, 1],
        [2, 3, 5, 1],
        [1, 7, 2, 19],
        [3, 16, 17, 130],
        [1, 130, 70, 33],
        [2, 5, 3, 9000],
        [1, 64, 200, 1100],
    ] {
        for layouts in [[Volume, Volume], [Volume, Tokens], [Tokens, Volume], [Tokens, Tokens]] {
            cases.extend([false, true].map(|bias| ProjectionCase::new(sizes, layouts, bias)));
        }
    }
    cases
}
