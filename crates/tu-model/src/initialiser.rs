//! Initial weights, drawn on the host so that a seed means the same on every device.
//!
//! Convolutions and linear maps follow Kaiming-uniform with a = √5, that is U(±1/√fan_in), for weights and
//! biases alike.  The Mamba block has its own rules (Gu & Dao 2023): Δ's bias is the inverse softplus of a
//! time step drawn log-uniformly from [0.001, 0.1], and A starts as −1, −2, …, −N.

use burn::module::Param;
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// A seeded source of initial parameters on one device.
pub struct Initialiser {
    device: Device,
    /// `None` leaves everything zero, for weights that a file will replace.
    rng: Option<ChaCha8Rng>,
}

impl Initialiser {
    /// Starts the stream of `seed`.
    pub fn new(device: &Device, seed: u64) -> Self {
        Self { device: device.clone(), rng: Some(ChaCha8Rng::seed_from_u64(seed)) }
    }

    /// Draws nothing: every random parameter is zero.
    pub fn blank(device: &Device) -> Self {
        Self { device: device.clone(), rng: None }
    }

    /// `count` values uniform in [0, 1), of 24 bits each, which an f32 holds exactly.
    fn units(&mut self, count: usize) -> Vec<f32> {
        let unit = |rng: &mut ChaCha8Rng| (rng.next_u32() >> 8) as f32 / (1u32 << 24) as f32;
        match &mut self.rng {
            Some(rng) => (0..count).map(|_| unit(rng)).collect(),
            None => vec![0.5; count],
        }
    }

    /// U(−bound, bound).
    pub fn uniform<const D: usize>(&mut self, shape: [usize; D], bound: f32) -> Param<Tensor<D>> {
        let units = self.units(shape.iter().product());
        let values = units.into_iter().map(|u| (2.0 * u - 1.0) * bound).collect();
        self.parameter(shape, values)
    }

    /// U(±1/√fan_in).
    pub fn kaiming<const D: usize>(&mut self, shape: [usize; D], fan_in: usize) -> Param<Tensor<D>> {
        self.uniform(shape, 1.0 / (fan_in.max(1) as f32).sqrt())
    }

    /// The same value everywhere.
    pub fn constant<const D: usize>(&self, shape: [usize; D], value: f32) -> Param<Tensor<D>> {
        self.parameter(shape, vec![value; shape.iter().product()])
    }

    /// ln n for n = 1..=N in every row: A = −exp(A_log) = −n.
    pub fn a_log(&self, inner: usize, d_state: usize) -> Param<Tensor<2>> {
        let row = (1..=d_state).map(|n| (n as f32).ln());
        self.parameter([inner, d_state], (0..inner).flat_map(|_| row.clone()).collect())
    }

    /// Inverse softplus of time steps log-uniform in [0.001, 0.1], not below 1e-4.
    pub fn time_step_bias(&mut self, inner: usize) -> Param<Tensor<1>> {
        let (low, high) = (0.001f32.ln(), 0.1f32.ln());
        let values = self
            .units(inner)
            .into_iter()
            .map(|u| {
                let dt = (u * (high - low) + low).exp().max(1e-4);
                dt + (-(-dt).exp_m1()).ln()
            })
            .collect();
        self.parameter([inner], values)
    }

    fn parameter<const D: usize>(&self, shape: [usize; D], values: Vec<f32>) -> Param<Tensor<D>> {
        Param::from_tensor(Tensor::from_data(TensorData::new(values, shape), &self.device))
    }
}
