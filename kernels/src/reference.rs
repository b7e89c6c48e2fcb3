//! The selective scan and its gradients in f64, one token after the other, for comparison.
//!
//! Backwards in time, with `G_t = ∂/∂h_t` and `a_t = exp(Δ_t A)`:
//!
//! ```text
//! G_t      = C_t ḡ_t + a_{t+1} G_{t+1}
//! ∂C_t[n]  = Σ_e ḡ_t h_t[n]                 ∂B_t[n] = Σ_e G_t[n] Δ_t u_t
//! ∂u_t     = Δ_t Σ_n G_t[n] B_t[n] + D ḡ_t  ∂D      = Σ_t ḡ_t u_t
//! ∂Δ_t     = u_t Σ_n G_t[n] B_t[n] + Σ_n G_t[n] a_t[n] h_{t-1}[n] A[n]
//! ∂A[n]    = Σ_t G_t[n] a_t[n] h_{t-1}[n] Δ_t             ∂A_log = A ∂A
//! s_t      = ∂Δ_t · sigmoid(W δ_t + b)
//! ∂δ_t     = Σ_e Wᵀ s_t                     ∂W      = Σ_t s_t δ_tᵀ       ∂b = Σ_t s_t
//! ```

use crate::scan::{ScanGradients, ScanShape};

/// The six inputs of a scan in f64, laid out as [`selective_scan`](crate::selective_scan) takes them.
#[derive(Clone, Debug)]
pub struct ScanInputs {
    /// Sizes of all arrays.
    pub shape: ScanShape,
    /// `[B, L, E]`
    pub u: Vec<f64>,
    /// `[B, L, R + 2N]`: δ, B, C
    pub projected: Vec<f64>,
    /// `[G·E, R]`
    pub step_weight: Vec<f64>,
    /// `[G·E]`
    pub step_bias: Vec<f64>,
    /// `[G·E, N]`
    pub a_log: Vec<f64>,
    /// `[G·E]`
    pub d: Vec<f64>,
}

/// What a token is to one channel.
struct Token<'a> {
    /// Before softplus.
    raw_step: f64,
    u: f64,
    /// δ, `[R]`
    low: &'a [f64],
    b: &'a [f64],
    c: &'a [f64],
}

impl ScanInputs {
    /// The row of parameters of a channel in a sequence.
    fn parameters(&self, sequence: usize, e: usize) -> usize {
        sequence / (self.shape.batch / self.shape.groups) * self.shape.channels + e
    }

    fn rates(&self, row: usize) -> Vec<f64> {
        let states = self.shape.states;
        self.a_log[row * states..][..states].iter().map(|a| -a.exp()).collect()
    }

    fn token(&self, token: usize, e: usize, row: usize) -> Token<'_> {
        let ScanShape { channels, states, rank, .. } = self.shape;
        let (low, states_of) =
            self.projected[token * self.shape.width()..][..self.shape.width()].split_at(rank);
        let (b, c) = states_of.split_at(states);
        let weight = &self.step_weight[row * rank..][..rank];
        let raw_step = self.step_bias[row] + weight.iter().zip(low).map(|(w, l)| w * l).sum::<f64>();
        Token { raw_step, u: self.u[token * channels + e], low, b, c }
    }
}

/// `ln(1 + exp(x))` without overflow.
pub fn softplus(x: f64) -> f64 {
    if x.is_nan() { x } else { x.max(0.0) + (-x.abs()).exp().ln_1p() }
}

/// `1 / (1 + exp(-x))`, the derivative of [`softplus`].
pub fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 { 1.0 / (1.0 + (-x).exp()) } else { x.exp() / (1.0 + x.exp()) }
}

/// The scan's output `[B, L, E]`.
pub fn selective_scan_f64(inputs: &ScanInputs) -> Vec<f64> {
    let ScanShape { batch, length, channels, states, .. } = inputs.shape;
    let mut y = vec![0.0; inputs.shape.tokens_by_channels()];
    for sequence in 0..batch {
        for e in 0..channels {
            let row = inputs.parameters(sequence, e);
            let rates = inputs.rates(row);
            let mut h = vec![0.0; states];
            for token in sequence * length..(sequence + 1) * length {
                let Token { raw_step, u, b, c, .. } = inputs.token(token, e, row);
                let step = softplus(raw_step);
                let mut sum = inputs.d[row] * u;
                for (n, h) in h.iter_mut().enumerate() {
                    *h = (step * rates[n]).exp() * *h + step * u * b[n];
                    sum += c[n] * *h;
                }
                y[token * channels + e] = sum;
            }
        }
    }
    y
}

/// Gradients of `Σ y ⊙ y_grad` with respect to all inputs; `y_grad` is `[B, L, E]`.
pub fn selective_scan_gradients_f64(inputs: &ScanInputs, y_grad: &[f64]) -> ScanGradients<Vec<f64>> {
    let ScanShape { batch, length, channels, states, rank, .. } = inputs.shape;
    let width = inputs.shape.width();
    let mut out = ScanGradients {
        u: vec![0.0; inputs.u.len()],
        projected: vec![0.0; inputs.projected.len()],
        step_weight: vec![0.0; inputs.step_weight.len()],
        step_bias: vec![0.0; inputs.step_bias.len()],
        a_log: vec![0.0; inputs.a_log.len()],
        d: vec![0.0; inputs.d.len()],
    };
    for sequence in 0..batch {
        for e in 0..channels {
            let row = inputs.parameters(sequence, e);
            let rates = inputs.rates(row);
            // history[t] is the state before token t
            let mut history = vec![0.0; (length + 1) * states];
            for t in 0..length {
                let Token { raw_step, u, b, .. } = inputs.token(sequence * length + t, e, row);
                let step = softplus(raw_step);
                for n in 0..states {
                    history[(t + 1) * states + n] =
                        (step * rates[n]).exp() * history[t * states + n] + step * u * b[n];
                }
            }
            let mut later = vec![0.0; states]; // a_{t+1} G_{t+1}
            for t in (0..length).rev() {
                let token = sequence * length + t;
                let at = token * channels + e;
                let Token { raw_step, u, low, b, c } = inputs.token(token, e, row);
                let (step, g) = (softplus(raw_step), y_grad[at]);
                let projected = &mut out.projected[token * width..][..width];
                let (mut drive, mut decayed) = (0.0, 0.0);
                for n in 0..states {
                    let grad_h = c[n] * g + later[n];
                    later[n] = (step * rates[n]).exp() * grad_h;
                    let through_decay = later[n] * history[t * states + n];
                    drive += grad_h * b[n];
                    decayed += through_decay * rates[n];
                    out.a_log[row * states + n] += through_decay * step * rates[n];
                    projected[rank + n] += grad_h * step * u;
                    projected[rank + states + n] += g * history[(t + 1) * states + n];
                }
                out.u[at] = step * drive + inputs.d[row] * g;
                out.d[row] += g * u;
                let step_grad = (u * drive + decayed) * sigmoid(raw_step);
                out.step_bias[row] += step_grad;
                for r in 0..rank {
                    out.step_weight[row * rank + r] += step_grad * low[r];
                    projected[r] += step_grad * inputs.step_weight[row * rank + r];
                }
            }
        }
    }
    out
}
