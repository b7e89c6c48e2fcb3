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
use tu_kernels::three_orders::{ORDERS, causal_conv_silu_in_orders, gated_sum_of_orders};
use tu_kernels::{ScanOrder, causal_conv_silu, gated_direction_sum, selective_scan};

use super::linear::{Linear, on_cpu};
use super::norm::LayerNorm;
use super::prepared::Prepared;
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
        let [inner, _] = self.a_log.dims();
        let [_, _, taps] = self.conv1d_weight.dims();
        let weight = self.conv1d_weight.val().reshape([inner, taps]);
        let v = causal_conv_silu(x, weight, self.conv1d_bias.val(), order);
        let projected = self.x_proj.forward(v.clone());
        let step_weight = self.dt_proj.weight.val();
        selective_scan(v, projected, step_weight, self.step_bias(), self.a_log.val(), self.d.val())
    }

    fn step_bias(&self) -> Tensor<1> {
        let Some(bias) = &self.dt_proj.bias else { unreachable!("the time step has a bias") };
        bias.val()
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
    /// The parameters of the three directions side by side.
    pub joined: Prepared<JoinedDirections>,
}

/// The parameters of the three directions one after the other, so that one launch computes all: for inference on GPUs.
#[derive(Clone, Debug)]
pub struct JoinedDirections {
    conv_weight: Tensor<3>,
    conv_bias: Tensor<2>,
    /// `[3, R + 2N, E]`
    x_proj: Tensor<3>,
    step_weight: Tensor<2>,
    step_bias: Tensor<1>,
    a_log: Tensor<2>,
    d: Tensor<1>,
}

impl JoinedDirections {
    fn new(directions: [&Direction; ORDERS]) -> Self {
        fn join<const D: usize>(of: [Tensor<D>; ORDERS]) -> Tensor<D> {
            Tensor::cat(of.into(), 0)
        }
        let [inner, _] = directions[0].a_log.dims();
        let [_, _, taps] = directions[0].conv1d_weight.dims();
        let [width, _] = directions[0].x_proj.weight.dims();
        Self {
            conv_weight: join(directions.map(|r| r.conv1d_weight.val())).reshape([ORDERS, inner, taps]),
            conv_bias: join(directions.map(|r| r.conv1d_bias.val())).reshape([ORDERS, inner]),
            x_proj: join(directions.map(|r| r.x_proj.weight.val())).reshape([ORDERS, width, inner]),
            step_weight: join(directions.map(|r| r.dt_proj.weight.val())),
            step_bias: join(directions.map(Direction::step_bias)),
            a_log: join(directions.map(|r| r.a_log.val())),
            d: join(directions.map(|r| r.d.val())),
        }
    }

    /// Rows `[x | z]` `[B, L, 2E]` to the gated sum of the directions `[B, L, E]`.
    fn forward(&self, xz: Tensor<3>, slices: usize) -> Tensor<3> {
        let (weight, bias) = (self.conv_weight.clone(), self.conv_bias.clone());
        let v = causal_conv_silu_in_orders(xz.clone(), weight, bias, slices);
        let ([sequences, length, inner], [_, width, _]) = (v.dims(), self.x_proj.dims());
        let rows = v.clone().reshape([ORDERS, sequences / ORDERS * length, inner]);
        let projected = rows.matmul(self.x_proj.clone().swap_dims(1, 2)).reshape([sequences, length, width]);
        let (step_weight, step_bias) = (self.step_weight.clone(), self.step_bias.clone());
        let y = selective_scan(v, projected, step_weight, step_bias, self.a_log.clone(), self.d.clone());
        gated_sum_of_orders(y, xz, slices)
    }
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
            joined: Prepared::none(),
        }
    }

    /// Joins the directions' parameters for inference where launches cost more than copies, that is not on the CPU.
    fn prepare(&mut self) {
        let device = self.in_proj.weight.val().device();
        self.joined = Prepared::none();
        if !device.is_autodiff() && !on_cpu(&device) {
            let directions = [&self.forward_direction, &self.backward_direction, &self.slice_direction];
            self.joined = Some(JoinedDirections::new(directions)).into();
        }
    }

    /// Tokens `[B, L, C]` to a volume `[B, C, L]`; `slices` divides L.
    pub fn forward(&self, tokens: Tensor<3>, slices: usize) -> Tensor<3> {
        if let Some(joined) = self.joined.get() {
            let gated = joined.forward(self.in_proj.forward(tokens), slices);
            return self.out_proj.forward_to_volume(gated);
        }
        let [x, z] = self.in_proj.halves(tokens);
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

    /// For inference.
    pub fn prepare(&mut self) {
        self.mamba.prepare();
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
