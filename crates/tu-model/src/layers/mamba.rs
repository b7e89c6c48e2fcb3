//! The tri-orientated Mamba block ("ToM", bimamba v3) and the layer around it.
//!
//! With E = expand·C and one set of (conv, x_proj, dt_proj, A, D) per direction r:
//! ```text
//! [x | z] = W_in u                          tokens u [B, L, C]
//! v   = SiLU(causal depthwise conv of π_r x)
//! [δ | B | C] = W_x v                       sizes R, N, N
//! y_r = π_r⁻¹ scan(v, Δ = softplus(W_dt δ + b), A = −exp(A_log), B, C, D)
//! out = W_out ((y_f + y_b + y_s) ⊙ SiLU(z))
//! ```
//! The gate is permuted along with x in the original, so it factors out of the sum and is applied once. Neither a
//! permuted x nor a y in raster order is ever stored: the convolution reads in the order of the scan, and the gated sum
//! reads every y in its own.

use burn::module::{Module, Param};
use burn::tensor::{FloatDType, Tensor};
use tu_kernels::{ScanOrder, causal_conv_silu, gated_direction_sum, selective_scan};

use super::linear::Linear;
use super::norm::LayerNorm;
use crate::config::EmMambaConfig;
use crate::initialiser::Initialiser;

/// The parameters of one scanning direction.
#[derive(Module, Debug)]
pub struct Direction {
    /// Causal depthwise convolution, weight `[E, 1, d_conv]`.
    pub conv1d_weight: Param<Tensor<3>>,
    /// Its bias `[E]`.
    pub conv1d_bias: Param<Tensor<1>>,
    /// `[R + 2N, E]`: time step, input and output maps.
    pub x_proj: Linear,
    /// `[E, R]` and bias `[E]`: the time step.
    pub dt_proj: Linear,
    /// `[E, N]`; A = −exp(A_log).  Exempt from weight decay.
    pub a_log: Param<Tensor<2>>,
    /// `[E]`: the skip of the scan.  Exempt from weight decay.
    pub d: Param<Tensor<1>>,
}

impl Direction {
    fn new(channels: usize, config: &EmMambaConfig, init: &mut Initialiser) -> Self {
        let inner = config.expand * channels;
        let rank = config.dt_rank(channels);
        let dt_weight = init.uniform([inner, rank], (rank as f32).powf(-0.5));
        Self {
            conv1d_weight: init.kaiming([inner, 1, config.d_conv], config.d_conv),
            conv1d_bias: init.kaiming([inner], config.d_conv),
            x_proj: Linear::new(inner, rank + 2 * config.d_state, init),
            dt_proj: Linear { weight: dt_weight, bias: Some(init.time_step_bias(inner)) },
            a_log: init.a_log(inner, config.d_state),
            d: init.constant([inner], 1.0),
        }
    }

    /// `x [B, L, E]` in raster order to y in the order of the scan.
    fn forward(&self, x: Tensor<3>, order: ScanOrder) -> Tensor<3> {
        let [inner, n] = self.a_log.dims();
        let [_, _, taps] = self.conv1d_weight.dims();
        let weight = self.conv1d_weight.val().reshape([inner, taps]);
        let v = causal_conv_silu(x, weight, self.conv1d_bias.val(), order);
        let [width, _] = self.x_proj.weight.dims();
        let [step, b, c] = self.x_proj.split(v.clone(), [width - 2 * n, n, n]);
        let delta = self.dt_proj.forward(step);
        let a = self.a_log.val().exp().neg();
        selective_scan(v, delta, a, b, c, self.d.val())
    }
}

/// The tri-orientated selective scan over tokens.
#[derive(Module, Debug)]
pub struct TomMamba {
    /// `[2E, C]`: first x, then the gate z.
    pub in_proj: Linear,
    /// `[C, E]`.
    pub out_proj: Linear,
    /// Raster order.
    pub forward_direction: Direction,
    /// Reversed raster order.
    pub backward_direction: Direction,
    /// Inter-slice order.
    pub slice_direction: Direction,
}

impl TomMamba {
    fn new(channels: usize, config: &EmMambaConfig, init: &mut Initialiser) -> Self {
        let inner = config.expand * channels;
        Self {
            in_proj: Linear::new(channels, 2 * inner, init),
            out_proj: Linear::new(inner, channels, init),
            forward_direction: Direction::new(channels, config, init),
            backward_direction: Direction::new(channels, config, init),
            slice_direction: Direction::new(channels, config, init),
        }
    }

    /// Tokens `[B, L, C]` to a volume `[B, C, L]`; `slices` divides L.
    pub fn forward(&self, tokens: Tensor<3>, slices: usize) -> Tensor<3> {
        let [width, _] = self.in_proj.weight.dims();
        let [x, z] = self.in_proj.split(tokens, [width / 2; 2]);
        let forward = self.forward_direction.forward(x.clone(), ScanOrder::Forward);
        let backward = self.backward_direction.forward(x.clone(), ScanOrder::Backward);
        let slice = self.slice_direction.forward(x, ScanOrder::InterSlice { slices });
        self.out_proj.forward_to_volume(gated_direction_sum(forward, backward, slice, z, slices))
    }
}

/// LayerNorm, ToM block and (unless the network is a `compat` one) the residual, over a feature volume.
#[derive(Module, Debug)]
pub struct MambaLayer {
    /// Over channels.
    pub norm: LayerNorm,
    /// The block.
    pub mamba: TomMamba,
    /// Slices of the inter-slice scan; 0 stands for the z slices of the input.
    #[module(skip)]
    pub nslices: usize,
    /// Whether the input is added.
    #[module(skip)]
    pub residual: bool,
}

impl MambaLayer {
    /// A layer of `channels`.
    pub fn new(channels: usize, config: &EmMambaConfig, init: &mut Initialiser) -> Self {
        Self {
            norm: LayerNorm::new(channels, init),
            mamba: TomMamba::new(channels, config, init),
            nslices: config.nslices.unwrap_or(0),
            residual: config.residual,
        }
    }

    /// Keeps the shape `[B, C, D, H, W]`, and the type; what lies between is f32.
    pub fn forward(&self, x: Tensor<5>) -> Tensor<5> {
        let [b, c, d, h, w] = x.dims();
        let slices = if self.nslices == 0 { d } else { self.nslices };
        let tokens = self.norm.tokens_of(x.clone().cast(FloatDType::F32).reshape([b, c, d * h * w]));
        let volume = self.mamba.forward(tokens, slices).reshape([b, c, d, h, w]).cast(x.dtype());
        if self.residual { x + volume } else { volume }
    }
}
