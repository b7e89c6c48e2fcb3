//! The selective scan and its gradients in f64, one token after the other, for comparison.
//!
//! Backwards in time, with `G_t = ∂/∂h_t` and `a_t = exp(Δ_t A)`:
//!
//! ```text
//! G_t      = C_t ḡ_t + a_{t+1} G_{t+1}
//! ∂C_t[n]  = Σ_e ḡ_t h_t[n]                 ∂B_t[n] = Σ_e G_t[n] Δ_t u_t
//! ∂u_t     = Δ_t Σ_n G_t[n] B_t[n] + D ḡ_t  ∂D      = Σ_t ḡ_t u_t
//! ∂Δ_t     = u_t Σ_n G_t[n] B_t[n] + Σ_n G_t[n] a_t[n] h_{t-1}[n] A[n]
//! ∂A[n]    = Σ_t G_t[n] a_t[n] h_{t-1}[n] Δ_t
//! ∂delta_t = ∂Δ_t · sigmoid(delta_t)
//! ```

use crate::scan::{ScanGradients, ScanShape};

/// The six inputs of a scan in f64, laid out as [`selective_scan`](crate::selective_scan) takes them.
#[derive(Clone, Debug)]
pub struct ScanInputs {
    /// Sizes of all arrays.
    pub shape: ScanShape,
    /// `[B, L, E]`
    pub u: Vec<f64>,
    /// `[B, L, E]`, before softplus
    pub delta: Vec<f64>,
    /// `[E, N]`
    pub a: Vec<f64>,
    /// `[B, L, N]`
    pub b: Vec<f64>,
    /// `[B, L, N]`
    pub c: Vec<f64>,
    /// `[E]`
    pub d: Vec<f64>,
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
    let ScanShape { batch, length, channels, states } = inputs.shape;
    let mut y = vec![0.0; inputs.shape.tokens_by_channels()];
    for sequence in 0..batch {
        for e in 0..channels {
            let mut h = vec![0.0; states];
            for token in sequence * length..(sequence + 1) * length {
                let at = token * channels + e;
                let step = softplus(inputs.delta[at]);
                let mut sum = inputs.d[e] * inputs.u[at];
                for (n, h) in h.iter_mut().enumerate() {
                    let decay = (step * inputs.a[e * states + n]).exp();
                    *h = decay * *h + step * inputs.u[at] * inputs.b[token * states + n];
                    sum += inputs.c[token * states + n] * *h;
                }
                y[at] = sum;
            }
        }
    }
    y
}

/// Gradients of `Σ y ⊙ y_grad` with respect to all inputs; `y_grad` is `[B, L, E]`.
pub fn selective_scan_gradients_f64(inputs: &ScanInputs, y_grad: &[f64]) -> ScanGradients<Vec<f64>> {
    let ScanShape { batch, length, channels, states } = inputs.shape;
    let mut out = ScanGradients {
        u: vec![0.0; inputs.u.len()],
        delta: vec![0.0; inputs.delta.len()],
        a: vec![0.0; inputs.a.len()],
        b: vec![0.0; inputs.b.len()],
        c: vec![0.0; inputs.c.len()],
        d: vec![0.0; inputs.d.len()],
    };
    for sequence in 0..batch {
        for e in 0..channels {
            let a = &inputs.a[e * states..(e + 1) * states];
            // history[t] is the state before token t
            let mut history = vec![0.0; (length + 1) * states];
            for t in 0..length {
                let token = sequence * length + t;
                let at = token * channels + e;
                let step = softplus(inputs.delta[at]);
                for n in 0..states {
                    history[(t + 1) * states + n] = (step * a[n]).exp() * history[t * states + n]
                        + step * inputs.u[at] * inputs.b[token * states + n];
                }
            }
            let mut later = vec![0.0; states]; // a_{t+1} G_{t+1}
            for t in (0..length).rev() {
                let token = sequence * length + t;
                let at = token * channels + e;
                let step = softplus(inputs.delta[at]);
                let (u, g) = (inputs.u[at], y_grad[at]);
                let (mut drive, mut decayed) = (0.0, 0.0);
                for n in 0..states {
                    let (b, c) = (inputs.b[token * states + n], inputs.c[token * states + n]);
                    let grad_h = c * g + later[n];
                    later[n] = (step * a[n]).exp() * grad_h;
                    let through_decay = later[n] * history[t * states + n];
                    drive += grad_h * b;
                    decayed += through_decay * a[n];
                    out.a[e * states + n] += through_decay * step;
                    out.b[token * states + n] += grad_h * step * u;
                    out.c[token * states + n] += g * history[(t + 1) * states + n];
                }
                out.u[at] = step * drive + inputs.d[e] * g;
                out.delta[at] = (u * drive + decayed) * sigmoid(inputs.delta[at]);
                out.d[e] += g * u;
            }
        }
    }
    out
}
