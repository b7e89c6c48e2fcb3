//! Which EMmamba: widths, depths, kernel, and how z is treated.
//!
//! The presets keep every z slice (strides (1,2,2)): EM sections are the coarse axis, and a neuron is lost
//! by skipping one.  [`EmMambaConfig::compat`] gives the network of the published checkpoints, which also
//! strides z, cuts the inter-slice scan into five slices whatever the depth, and has no residual around the
//! Mamba blocks.

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::str::FromStr;

use crate::initialiser::Initialiser;
use crate::network::EmMamba;

/// The sizes for which there is a name.  Widths are those of the four stages, then of the bottleneck.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// 8, 16, 32, 64 / 128: 1.8 M parameters, for CPUs and browsers without a GPU.
    Tiny,
    /// 16, 32, 64, 128 / 256, with (1, 3, 3) kernels: 3.8 M.
    Small,
    /// 32, 64, 128, 256 / 512: the paper's 28 M.
    Base,
    /// 64, 128, 256, 512 / 1024.
    M100,
    /// 96, 192, 384, 768 / 1024.
    M200,
    /// 144, 288, 576, 1152 / 1792.
    M500,
    /// 192, 384, 768, 1536 / 3072.
    B1,
}

impl Preset {
    /// All presets, smallest first.
    pub const ALL: [Preset; 7] =
        [Preset::Tiny, Preset::Small, Preset::Base, Preset::M100, Preset::M200, Preset::M500, Preset::B1];

    /// The name used on the command line and in model files.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Tiny => "tiny",
            Preset::Small => "small",
            Preset::Base => "base",
            Preset::M100 => "100m",
            Preset::M200 => "200m",
            Preset::M500 => "500m",
            Preset::B1 => "1b",
        }
    }
}

impl FromStr for Preset {
    type Err = ConfigError;

    fn from_str(name: &str) -> Result<Self, ConfigError> {
        Preset::ALL
            .into_iter()
            .find(|p| p.name() == name.to_ascii_lowercase())
            .ok_or_else(|| ConfigError::UnknownPreset(name.to_owned()))
    }
}

/// What can be wrong with a configuration or with a window given to the network.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No preset has this name.
    #[error("there is no preset '{0}'; choose tiny, small, base, 100m, 200m, 500m or 1b")]
    UnknownPreset(String),
    /// A field is outside of what the network can be built with.
    #[error("architecture field {field} is {value}, but {requirement}")]
    Field {
        /// Name of the field.
        field: &'static str,
        /// Its value, as text.
        value: String,
        /// What is asked of it.
        requirement: &'static str,
    },
    /// The window cannot pass through the down- and up-sampling.
    #[error("a window of {window_zyx:?} voxels (z,y,x) does not fit this network: {requirement}")]
    Window {
        /// The window, in voxels.
        window_zyx: [usize; 3],
        /// What is asked of it.
        requirement: String,
    },
}

/// Which stages halve z, and where blocks convolve over it, for voxels that are not much longer along z than in the plane.
///
/// As in the plans of nnU-Net (Isensee et al. 2021, <https://doi.org/10.1038/s41592-020-01008-z>), an axis is halved once the
/// others have caught up with it, and convolved over from then on:
///
/// ```text
/// p_l = 2ˡ max(v_y, v_x)                         voxel size in the plane at level l = 0 … 4
/// stage l halves z       if v_z,l < p_l          the first stage never does: it is the stem
/// blocks at l take 3     if v_z,l < 2 p_l        slices, otherwise 1
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZPlan {
    /// Down-sampling along z by each stage: 1 or 2, and 1 in the first.
    pub strides: [usize; 4],
    /// k_z of the blocks' convolutions at full resolution, /2, /4, /8 and /16; odd.
    pub kernels: [usize; 5],
}

impl ZPlan {
    /// The plan for a voxel size; `None` where it leaves z alone.
    pub fn of(voxel_nm_zyx: [f64; 3]) -> Option<Self> {
        let [mut z, y, x] = voxel_nm_zyx;
        let mut plane = y.max(x);
        let mut plan = Self { strides: [1; 4], kernels: [1; 5] };
        for level in 0..5 {
            plan.kernels[level] = if z < 2.0 * plane { 3 } else { 1 };
            if level == 4 {
                break;
            }
            if level > 0 && z < plane {
                plan.strides[level] = 2;
                z *= 2.0;
            }
            plane *= 2.0;
        }
        (plan.kernels != [1; 5]).then_some(plan)
    }
}

/// Architecture of an [`EmMamba`].  The defaults are the `base` preset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmMambaConfig {
    /// Input channels; 1 for EM.
    pub in_channels: usize,
    /// Output channels; 3 affinities (z, y, x), or 1 for reconstruction.
    pub out_channels: usize,
    /// Widths of the four stages.
    pub features: [usize; 4],
    /// Width of the bottleneck below the fourth stage.
    pub hidden: usize,
    /// Mamba layers per stage.
    pub depths: [usize; 4],
    /// k of the (1, k, k) convolutions of the encoder and decoder blocks; odd. See [`Self::block_kernels`] for others.
    pub kernel: usize,
    /// Down-sampling along z per stage: 1 keeps every slice, 2 is the published network.
    pub z_stride: usize,
    /// Stages that halve z, and blocks that convolve over it, where the voxels ask for that; `None` as `z_stride` says and no
    /// block does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub z_plan: Option<ZPlan>,
    /// Slices of the inter-slice scan; `None` takes the z slices of the stage at hand.
    pub nslices: Option<usize>,
    /// Whether a Mamba layer adds its input to its output.
    pub residual: bool,
    /// State size N of the selective scan.
    pub d_state: usize,
    /// Width of the causal depthwise convolution.
    pub d_conv: usize,
    /// Inner width of a Mamba block as a multiple of its outer width.
    pub expand: usize,
}

impl Default for EmMambaConfig {
    fn default() -> Self {
        Self::preset(Preset::Base)
    }
}

impl EmMambaConfig {
    /// The architecture of a preset, with z kept.
    pub fn preset(preset: Preset) -> Self {
        let (features, hidden) = match preset {
            Preset::Tiny => ([8, 16, 32, 64], 128),
            Preset::Small => ([16, 32, 64, 128], 256),
            Preset::Base => ([32, 64, 128, 256], 512),
            Preset::M100 => ([64, 128, 256, 512], 1024),
            Preset::M200 => ([96, 192, 384, 768], 1024),
            Preset::M500 => ([144, 288, 576, 1152], 1792),
            Preset::B1 => ([192, 384, 768, 1536], 3072),
        };
        Self {
            in_channels: 1,
            out_channels: 3,
            features,
            hidden,
            depths: [2; 4],
            // The published small network has 3×3 kernels in plane, all others 5×5.
            kernel: if matches!(preset, Preset::Small) { 3 } else { 5 },
            z_stride: 1,
            z_plan: None,
            nslices: None,
            residual: true,
            d_state: 16,
            d_conv: 4,
            expand: 2,
        }
    }

    /// The same widths as the published checkpoints are built: z strided by 2, five slices, no residual.
    #[must_use]
    pub fn compat(self) -> Self {
        Self { z_stride: 2, nslices: Some(5), residual: false, ..self }
    }

    /// The same widths for voxels of this size, where z is not so coarse that the network should leave it alone.
    #[must_use]
    pub fn planned_for(self, voxel_nm_zyx: [f64; 3]) -> Self {
        Self { z_plan: ZPlan::of(voxel_nm_zyx), ..self }
    }

    /// Down-sampling along z by each stage.
    pub fn z_strides(&self) -> [usize; 4] {
        self.z_plan.map_or([self.z_stride; 4], |plan| plan.strides)
    }

    /// Kernels (z, y, x) of the blocks at full resolution, /2, /4, /8 and /16. One that convolves over z has no more than
    /// three taps in the plane: 27 voxels, where (1, 5, 5) has 25.
    pub fn block_kernels(&self) -> [[usize; 3]; 5] {
        let in_plane = |z: usize| if z == 1 { self.kernel } else { self.kernel.min(3) };
        self.z_plan.map_or([1; 5], |plan| plan.kernels).map(|z| [z, in_plane(z), in_plane(z)])
    }

    /// k_z of the down-sampling convolutions: the stem's, then those whose kernel is their stride. The published network
    /// leaves slices out instead.
    pub fn z_down_kernels(&self) -> [usize; 4] {
        let (strides, kernels) = (self.z_strides(), self.block_kernels());
        std::array::from_fn(|stage| match (stage, kernels[stage][0]) {
            (_, 1) => 1,
            (0, kernel) => kernel,
            _ => strides[stage],
        })
    }

    /// Builds the network with the initial weights of seed 0.
    pub fn init(&self, device: &Device) -> EmMamba {
        self.init_seeded(device, 0)
    }

    /// Builds the network; the same seed gives the same weights on every device.
    pub fn init_seeded(&self, device: &Device, seed: u64) -> EmMamba {
        EmMamba::new(self, &mut Initialiser::new(device, seed))
    }

    /// Rank of the Δ projection of a stage of `channels`: ceil(channels / 16).
    pub fn dt_rank(&self, channels: usize) -> usize {
        channels.div_ceil(16)
    }

    /// Number of trainable values, counted from the configuration alone.
    pub fn parameter_count(&self) -> usize {
        let f = self.features;
        let (strides, kernels, down) = (self.z_strides(), self.block_kernels(), self.z_down_kernels());
        let res = |level: usize, cin: usize, cout: usize| {
            let taps: usize = kernels[level].iter().product();
            cin * cout * taps + cout * cout * taps + if cin == cout { 0 } else { cin * cout }
        };
        let mamba = |c: usize| {
            let (e, r, n) = (self.expand * c, self.dt_rank(c), self.d_state);
            let direction = e * self.d_conv + e + (r + 2 * n) * e + e * r + e + e * n + e;
            2 * c + 2 * e * c + e * c + 3 * direction
        };
        let mut total = self.in_channels * f[0] * 49 * down[0] + f[0];
        for i in 0..4 {
            let c = f[i];
            if i > 0 {
                total += f[i - 1] * c * 4 * down[i] + c;
            }
            total += 2 * (27 * c * c + c) + 2 * (c * c + c);
            total += self.depths[i] * mamba(c);
            total += 2 * c * c + 2 * c + 2 * c * c + c;
        }
        let widths = [self.in_channels, f[0], f[1], f[2], f[3], self.hidden];
        for level in 0..5 {
            total += res(level, widths[level], widths[level + 1]);
        }
        for i in 0..4 {
            total += widths[i + 2] * f[i] * strides[i] * 4 + res(i, 2 * f[i], f[i]);
        }
        total += res(0, f[0], f[0]);
        total + f[0] * self.out_channels + self.out_channels
    }

    /// Refuses architectures that cannot be built, and sizes that no published preset comes near: a model
    /// file is hostile until its fields have been checked.
    ///
    /// # Errors
    /// [`ConfigError::Field`] names the field.
    pub fn check(&self) -> Result<(), ConfigError> {
        let bounded = |field, value: usize, low: usize, high: usize, requirement| {
            if (low..=high).contains(&value) {
                Ok(())
            } else {
                Err(ConfigError::Field { field, value: value.to_string(), requirement })
            }
        };
        bounded("in_channels", self.in_channels, 1, 16, "1 to 16 are supported")?;
        bounded("out_channels", self.out_channels, 1, 64, "1 to 64 are supported")?;
        for width in self.features {
            bounded("features", width, 1, 4096, "widths are 1 to 4096")?;
        }
        bounded("hidden", self.hidden, 1, 8192, "the bottleneck is 1 to 8192 wide")?;
        for depth in self.depths {
            bounded("depths", depth, 0, 64, "0 to 64 layers per stage are supported")?;
        }
        bounded("kernel", self.kernel, 1, 15, "1 to 15 are supported")?;
        bounded("kernel % 2", self.kernel % 2, 1, 1, "the kernel must be odd")?;
        bounded("z_stride", self.z_stride, 1, 2, "z is kept (1) or halved (2)")?;
        if let Some(plan) = self.z_plan {
            bounded("z_stride", self.z_stride, 1, 1, "it must be 1 where z_plan says which stages halve z")?;
            for stride in plan.strides {
                bounded("z_plan.strides", stride, 1, 2, "z is kept (1) or halved (2)")?;
            }
            for kernel in plan.kernels {
                bounded("z_plan.kernels", kernel, 1, 15, "1 to 15 are supported")?;
                bounded("z_plan.kernels % 2", kernel % 2, 1, 1, "kernels must be odd")?;
            }
            let halved = plan.strides.iter().zip(&plan.kernels).skip(1).any(|(s, k)| *s == 2 && *k == 1);
            if halved || plan.strides[0] != 1 {
                return Err(ConfigError::Field {
                    field: "z_plan.strides",
                    value: format!("{:?}", plan.strides),
                    requirement: "the first stage keeps z, and a stage halves it only where the level above convolves over it",
                });
            }
        }
        bounded("d_state", self.d_state, 1, 256, "1 to 256 are supported")?;
        bounded("d_conv", self.d_conv, 1, 16, "1 to 16 are supported")?;
        bounded("expand", self.expand, 1, 8, "1 to 8 are supported")?;
        if let Some(n) = self.nslices {
            bounded("nslices", n, 1, 4096, "1 to 4096 are supported")?;
        }
        Ok(())
    }

    /// Whether a window of this many voxels passes through the network: y and x multiples of 16, z a multiple of all its
    /// strides together, and tokens divisible by a fixed `nslices`.
    ///
    /// # Errors
    /// [`ConfigError::Window`] with the requirement.
    pub fn check_window(&self, window_zyx: [usize; 3]) -> Result<(), ConfigError> {
        let fail = |requirement: String| Err(ConfigError::Window { window_zyx, requirement });
        let [d, h, w] = window_zyx;
        if d == 0 || h == 0 || w == 0 || h % 16 != 0 || w % 16 != 0 {
            return fail("y and x must be multiples of 16, and nothing may be zero".to_owned());
        }
        let strides = self.z_strides();
        let all: usize = strides.iter().product();
        if d % all != 0 {
            return fail(format!("this network divides z by {all}, so z must be a multiple of {all}"));
        }
        if let Some(n) = self.nslices {
            for stage in 1..=4 {
                let slices = d / strides[..stage].iter().product::<usize>();
                let tokens = slices * (h >> stage) * (w >> stage);
                if tokens % n != 0 {
                    return fail(format!(
                        "its inter-slice scan needs the {tokens} tokens of stage {} to be divisible by {n}",
                        stage - 1
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameter_totals_are_those_of_the_published_networks() {
        let base = EmMambaConfig::preset(Preset::Base);
        assert_eq!(base.parameter_count(), 27_599_811);
        assert_eq!(base.compat().parameter_count(), 28_296_131);
        assert_eq!(EmMambaConfig::preset(Preset::B1).compat().parameter_count(), 1_008_908_931);
        assert_eq!(EmMambaConfig::preset(Preset::M100).compat().parameter_count(), 112_534_403);
        assert_eq!(EmMambaConfig::preset(Preset::M200).compat().parameter_count(), 206_577_475);
        assert_eq!(EmMambaConfig::preset(Preset::Tiny).parameter_count(), 1_786_035);
    }

    #[test]
    fn z_is_halved_and_convolved_over_once_the_plane_has_caught_up() {
        let plan = |nm| ZPlan::of(nm).map(|plan| (plan.strides, plan.kernels));
        assert_eq!(plan([10.0; 3]), Some(([1, 2, 2, 2], [3; 5])));
        assert_eq!(plan([8.0, 4.0, 4.0]), Some(([1, 1, 2, 2], [1, 3, 3, 3, 3])));
        assert_eq!(plan([40.0, 10.0, 10.0]), Some(([1, 1, 1, 2], [1, 1, 3, 3, 3])));
        assert_eq!(plan([50.0, 3.0, 3.0]), Some(([1, 1, 1, 1], [1, 1, 1, 1, 3])));
        assert_eq!(plan([100.0, 3.0, 3.0]), None);
        // thinner than pixels are wide: the stem still keeps every slice
        assert_eq!(plan([5.0, 10.0, 10.0]), Some(([1, 2, 2, 2], [3; 5])));
    }

    #[test]
    fn plans_that_no_network_can_follow_are_refused_by_field() {
        let with = |strides, kernels| {
            let plan = Some(ZPlan { strides, kernels });
            EmMambaConfig { z_plan: plan, ..EmMambaConfig::preset(Preset::Tiny) }
        };
        assert_eq!(with([1, 2, 2, 2], [3; 5]).check(), Ok(()));
        for (config, field) in [
            (with([2, 2, 2, 2], [3; 5]), "z_plan.strides"),
            (with([1, 2, 2, 2], [3, 1, 3, 3, 3]), "z_plan.strides"),
            (with([1, 4, 2, 2], [3; 5]), "z_plan.strides"),
            (with([1, 2, 2, 2], [2; 5]), "z_plan.kernels % 2"),
            (EmMambaConfig { z_stride: 2, ..with([1, 2, 2, 2], [3; 5]) }, "z_stride"),
        ] {
            assert!(config.check().unwrap_err().to_string().contains(field), "{field}");
        }
        let planned = EmMambaConfig::preset(Preset::Tiny).planned_for([10.0; 3]);
        assert!(planned.check_window([24, 96, 96]).is_ok());
        assert!(planned.check_window([20, 96, 96]).unwrap_err().to_string().contains("multiple"));
    }

    #[test]
    fn windows_that_cannot_be_halved_four_times_are_refused() {
        let kept = EmMambaConfig::preset(Preset::Tiny);
        assert!(kept.check_window([7, 96, 160]).is_ok());
        assert!(kept.check_window([7, 90, 160]).is_err());
        assert!(kept.check_window([0, 96, 96]).is_err());
        let compat = kept.compat();
        assert!(compat.check_window([16, 160, 160]).is_ok());
        assert!(compat.check_window([8, 160, 160]).is_err());
        assert!(compat.check_window([16, 96, 96]).is_err());
    }

    #[test]
    fn preset_names_round_trip_and_unknown_ones_list_the_choices() {
        for preset in Preset::ALL {
            assert_eq!(preset.name().parse::<Preset>().unwrap(), preset);
        }
        assert!("huge".parse::<Preset>().unwrap_err().to_string().contains("tiny"));
    }
}
