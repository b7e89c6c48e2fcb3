//! Names and shapes of all parameters of an architecture, without building it.
//!
//! C is the width of a stage, E = expand·C, R = ⌈C/16⌉, N the state size; shapes are those of the published
//! checkpoints: `[out, in, z, y, x]` for convolutions, `[in, out, z, y, x]` for transposed ones.

use crate::config::EmMambaConfig;

/// Published name and shape of every parameter, in network order.
///
/// The list has as many entries as the architecture has layers: [check](EmMambaConfig::check) one that comes from
/// a file first.
pub fn published_shapes(config: &EmMambaConfig) -> Vec<(String, Vec<usize>)> {
    let (f, h) = (config.features, config.hidden);
    let (strides, down) = (config.z_strides(), config.z_down_kernels());
    let kernels = config.block_kernels();
    let mut list = Shapes(Vec::new());
    for i in 0..4 {
        let (step, before, kernel) = if i == 0 { (0, config.in_channels, 7) } else { (1, f[i - 1], 2) };
        let name = format!("vit.downsample_layers.{i}.{step}");
        list.with_bias(&name, &[f[i], before, down[i], kernel, kernel]);
    }
    for (i, &c) in f.iter().enumerate() {
        for (proj, kernel) in [("proj", 3), ("proj2", 3), ("proj3", 1), ("proj4", 1)] {
            list.with_bias(&format!("vit.gscs.{i}.{proj}"), &[c, c, kernel, kernel, kernel]);
        }
    }
    for (i, &c) in f.iter().enumerate() {
        for j in 0..config.depths[i] {
            list.mamba_layer(&format!("vit.stages.{i}.{j}"), c, config);
        }
    }
    for (i, &c) in f.iter().enumerate() {
        list.with_bias(&format!("vit.mlps.{i}.fc1"), &[2 * c, c, 1, 1, 1]);
        list.with_bias(&format!("vit.mlps.{i}.fc2"), &[c, 2 * c, 1, 1, 1]);
    }
    let encoders = [(config.in_channels, f[0]), (f[0], f[1]), (f[1], f[2]), (f[2], f[3]), (f[3], h)];
    for (n, (before, width)) in (1..).zip(encoders) {
        list.residual_block(&format!("encoder{n}.layer"), before, width, kernels[n - 1]);
    }
    for (n, below, width) in [(5, h, f[3]), (4, f[3], f[2]), (3, f[2], f[1]), (2, f[1], f[0])] {
        list.weight(&format!("decoder{n}.transp_conv.conv"), &[below, width, strides[n - 2], 2, 2]);
        list.residual_block(&format!("decoder{n}.conv_block"), 2 * width, width, kernels[n - 2]);
    }
    list.residual_block("decoder1.layer", f[0], f[0], kernels[0]);
    list.with_bias("out.conv.conv", &[config.out_channels, f[0], 1, 1, 1]);
    list.0
}

struct Shapes(Vec<(String, Vec<usize>)>);

impl Shapes {
    fn add(&mut self, name: String, shape: &[usize]) {
        self.0.push((name, shape.to_vec()));
    }

    fn weight(&mut self, layer: &str, shape: &[usize]) {
        self.add(format!("{layer}.weight"), shape);
    }

    /// A weight whose first axis is the output, and its bias.
    fn with_bias(&mut self, layer: &str, shape: &[usize]) {
        self.weight(layer, shape);
        self.add(format!("{layer}.bias"), &shape[..1]);
    }

    fn mamba_layer(&mut self, layer: &str, c: usize, config: &EmMambaConfig) {
        let (e, r, n) = (config.expand * c, config.dt_rank(c), config.d_state);
        self.with_bias(&format!("{layer}.norm"), &[c]);
        self.weight(&format!("{layer}.mamba.in_proj"), &[2 * e, c]);
        self.weight(&format!("{layer}.mamba.out_proj"), &[c, e]);
        for way in ["", "_b", "_s"] {
            self.with_bias(&format!("{layer}.mamba.conv1d{way}"), &[e, 1, config.d_conv]);
            self.weight(&format!("{layer}.mamba.x_proj{way}"), &[r + 2 * n, e]);
            self.with_bias(&format!("{layer}.mamba.dt_proj{way}"), &[e, r]);
            self.add(format!("{layer}.mamba.A{way}_log"), &[e, n]);
            self.add(format!("{layer}.mamba.D{way}"), &[e]);
        }
    }

    fn residual_block(&mut self, block: &str, before: usize, width: usize, [kz, ky, kx]: [usize; 3]) {
        self.weight(&format!("{block}.conv1.conv"), &[width, before, kz, ky, kx]);
        self.weight(&format!("{block}.conv2.conv"), &[width, width, kz, ky, kx]);
        if before != width {
            self.weight(&format!("{block}.conv3.conv"), &[width, before, 1, 1, 1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Preset;
    use crate::names::parameter_names;
    use burn::tensor::Device;

    #[test]
    fn the_list_is_that_of_the_network_itself() {
        let small = EmMambaConfig { features: [4, 6, 8, 20], hidden: 10, ..EmMambaConfig::default() };
        let uneven = EmMambaConfig { depths: [1, 0, 3, 2], kernel: 3, out_channels: 1, ..small.clone() };
        let flat = EmMambaConfig { features: [6; 4], hidden: 6, expand: 3, d_state: 4, ..small.clone() };
        let planned = small.clone().planned_for([10.0; 3]);
        let partly = small.clone().planned_for([40.0, 10.0, 10.0]);
        for config in [small.clone(), small.compat(), uneven, flat, planned, partly] {
            let network = parameter_names(&config.init(&Device::flex()));
            let network: Vec<_> = network.into_iter().map(|(name, shape, _)| (name, shape)).collect();
            assert_eq!(published_shapes(&config), network);
            let values: usize = network.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
            assert_eq!(values, config.parameter_count());
        }
    }

    #[test]
    fn even_the_largest_preset_is_listed_without_being_built() {
        for preset in Preset::ALL {
            let config = EmMambaConfig::preset(preset).compat();
            let values: usize =
                published_shapes(&config).iter().map(|(_, s)| s.iter().product::<usize>()).sum();
            assert_eq!(values, config.parameter_count());
        }
    }
}
