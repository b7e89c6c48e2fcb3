//! How much arithmetic a forward pass takes, counted from the architecture.
//!
//! 2 FLOP per product of a convolution or linear map, taps in the padding included; 9 per token, channel and state of a
//! selective scan (an exponential, three products with their sums, the input's product). Normalisation, activation and addition,
//! which are bound by memory, count 0. At V voxels of a stage, per voxel:
//!
//! ```text
//! residual block a → b      k_z k_y k_x(ab + b²) + ab, a ≠ b      transposed convolution a → b    ab
//! gated spatial conv c      2·27c² + 2c²                          channel MLP c                   4c²
//! Mamba layer c, E = expand·c, rank R:  3cE + 3·(E·d_conv + E(R + 2N) + RE)   and three scans of E channels, N states
//! ```

use crate::config::EmMambaConfig;

/// FLOP per state, channel and token of a scan.
const SCAN_FLOP: u64 = 9;

/// FLOP of one forward pass, by kind of operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ForwardCost {
    /// Convolutions of the encoder and decoder blocks, (1, k, k), and their 1×1×1 shortcuts.
    pub blocks: u64,
    /// 3×3×3 and 1×1×1 convolutions of the gated spatial convolutions.
    pub spatial: u64,
    /// Linear maps and causal convolutions of the Mamba layers.
    pub mamba: u64,
    /// Selective scans.
    pub scans: u64,
    /// Stem, down- and up-sampling, channel MLPs, head.
    pub rest: u64,
}

impl ForwardCost {
    /// The cost of a window of `window_zyx` voxels.
    pub fn of(config: &EmMambaConfig, window_zyx: [usize; 3]) -> Self {
        let voxels = |level: u32| -> u64 {
            let [z, y, x] = window_zyx.map(|side| side as u64);
            let z_stride: usize = config.z_strides()[..level as usize].iter().product();
            z.div_ceil(z_stride as u64) * y.div_ceil(1 << level) * x.div_ceil(1 << level)
        };
        let widths: Vec<u64> = config.features.iter().chain([&config.hidden]).map(|&w| w as u64).collect();
        let kernels = config.block_kernels().map(|kernel| kernel.iter().product::<usize>() as u64);
        let down = config.z_down_kernels().map(|kz| kz as u64);
        let block = |level: u32, from: u64, to: u64| {
            kernels[level as usize] * (from * to + to * to) + if from == to { 0 } else { from * to }
        };
        let (input, output) = (config.in_channels as u64, config.out_channels as u64);
        let mut products = Self {
            blocks: voxels(0) * (block(0, input, widths[0]) + block(0, widths[0], widths[0])),
            rest: voxels(1) * 49 * down[0] * input * widths[0] + voxels(0) * widths[0] * output,
            ..Self::default()
        };
        for stage in 0..4u32 {
            let (c, next) = (widths[stage as usize], widths[stage as usize + 1]);
            let (here, above) = (voxels(stage + 1), voxels(stage));
            // the encoder block below this stage's skip runs at the stage's own resolution
            products.blocks += here * block(stage + 1, c, next);
            if stage < 3 {
                products.rest += voxels(stage + 2) * 4 * down[stage as usize + 1] * c * next;
            }
            products.blocks += above * block(stage, 2 * c, c);
            products.rest += above * next * c + here * 4 * c * c;
            products.spatial += here * (2 * 27 + 2) * c * c;
            let (inner, states) = ((config.expand as u64) * c, config.d_state as u64);
            let rank = config.dt_rank(c as usize) as u64;
            let direction = inner * config.d_conv as u64 + inner * (rank + 2 * states) + rank * inner;
            let layers = config.depths[stage as usize] as u64;
            products.mamba += here * layers * (3 * c * inner + 3 * direction);
            products.scans += here * layers * 3 * inner * states * SCAN_FLOP;
        }
        Self {
            blocks: 2 * products.blocks,
            spatial: 2 * products.spatial,
            mamba: 2 * products.mamba,
            scans: products.scans,
            rest: 2 * products.rest,
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.blocks + self.spatial + self.mamba + self.scans + self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;

    #[test]
    fn the_published_network_takes_238_gflop_for_its_window() {
        let config = EmMambaConfig::preset(Preset::Base).compat();
        let cost = ForwardCost::of(&config, [16, 160, 160]);
        let giga = |flop: u64| flop as f64 / 1e9;
        for (name, found, expected) in [
            ("spatial", giga(cost.spatial), 11.0),
            ("mamba", giga(cost.mamba), 4.5),
            ("scans", giga(cost.scans), 3.8),
            ("total", giga(cost.total()), 238.3),
        ] {
            assert!((found / expected - 1.0).abs() < 0.02, "{name}: {found} instead of {expected} GFLOP");
        }
    }

    #[test]
    fn twice_the_slices_cost_twice_as_much() {
        let config = EmMambaConfig::preset(Preset::Tiny);
        let [once, twice] = [8, 16].map(|z| ForwardCost::of(&config, [z, 64, 48]).total());
        assert_eq!(2 * once, twice);
    }
}
