//! The type in which volumes pass through the network.
//!
//! Volumes (the convolutional encoder and decoder, gated spatial convolutions, down-samplers, MLPs) carry nine tenths
//! of the arithmetic and of the bytes; with half precision their values and weights have 16 bits. Sums of products
//! and the statistics of normalisation stay f32, and so do the Mamba layers as a whole, Δ, A and the state included, and
//! the head.

use std::fmt;
use std::str::FromStr;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::network::EmMamba;

/// A floating-point type for volumes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// 32 bits.
    #[default]
    F32,
    /// IEEE half: 11 bits of significand, values up to 65,504. What GPUs offer browsers (`shader-f16`).
    F16,
    /// Brain float: 8 bits of significand, the range of f32. What training on CUDA uses.
    Bf16,
}

/// A name that stands for no precision.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("precision `{0}`: there is no such type; choose f32, f16 or bf16")]
pub struct UnknownPrecision(String);

impl Precision {
    /// The type of the tensors.
    pub fn dtype(self) -> FloatDType {
        match self {
            Self::F32 => FloatDType::F32,
            Self::F16 => FloatDType::F16,
            Self::Bf16 => FloatDType::BF16,
        }
    }

    /// Whether a device computes in it.
    pub fn is_offered_by(self, device: &Device) -> bool {
        self == Self::F32 || device.supports_dtype(DType::from(self.dtype()))
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        })
    }
}

impl FromStr for Precision {
    type Err = UnknownPrecision;

    fn from_str(name: &str) -> Result<Self, UnknownPrecision> {
        match name {
            "f32" => Ok(Self::F32),
            "f16" => Ok(Self::F16),
            "bf16" => Ok(Self::Bf16),
            other => Err(UnknownPrecision(other.to_owned())),
        }
    }
}

impl EmMamba {
    /// The network with volumes in another precision. Its weights stay as they are and are converted whenever they are
    /// used, as training wants it.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// The network with volumes, and once for all the weights applied to them, in another precision: for inference,
    /// [`Self::prepared`].
    #[must_use]
    pub fn converted_to(self, precision: Precision) -> Self {
        let mut converter = Converter { path: Vec::new(), dtype: precision.dtype() };
        self.map(&mut converter).with_precision(precision).prepared()
    }
}

/// Converts every weight but those of the Mamba layers (`vit.stages`) and of the head (`out`).
struct Converter {
    path: Vec<String>,
    dtype: FloatDType,
}

impl ModuleMapper for Converter {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.to_owned());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let keeps = path.starts_with(&["vit", "stages"]) || path.starts_with(&["out"]);
        if keeps { parameter } else { parameter.map(|weight| weight.cast(self.dtype)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{EmMambaConfig, Preset};

    fn small() -> (EmMamba, Device) {
        let config = EmMambaConfig {
            features: [4, 4, 8, 8],
            hidden: 8,
            depths: [1; 4],
            ..EmMambaConfig::preset(Preset::Tiny)
        };
        let device = Device::flex();
        (config.init_seeded(&device, 3), device)
    }

    fn window(device: &Device) -> Tensor<5> {
        let values: Vec<f32> = (0..3 * 32 * 32).map(|i| ((i * 61) % 127) as f32 / 127.0).collect();
        Tensor::<1>::from_floats(values.as_slice(), device).reshape([1, 1, 3, 32, 32])
    }

    fn affinities(network: &EmMamba, device: &Device) -> Vec<f32> {
        network.forward(window(device)).into_data().try_into_vec::<f32>().unwrap()
    }

    fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn half_precision_is_close_to_f32_by_the_bits_it_keeps() {
        let (network, device) = small();
        let exact = affinities(&network, &device);
        for (precision, limit) in [(Precision::F16, 6e-3), (Precision::Bf16, 5e-2)] {
            let found = affinities(&network.clone().converted_to(precision), &device);
            let difference = largest_difference(&exact, &found);
            assert!(difference > 0.0, "{precision} must round");
            assert!(difference < limit, "{precision}: {difference}");
        }
    }

    #[test]
    fn weights_converted_before_or_at_use_give_the_same() {
        let (network, device) = small();
        for precision in [Precision::F16, Precision::Bf16] {
            let at_use = affinities(&network.clone().with_precision(precision), &device);
            let before = affinities(&network.clone().converted_to(precision), &device);
            assert_eq!(at_use, before, "{precision}");
        }
    }

    #[test]
    fn mamba_layers_and_head_keep_their_f32_weights() {
        let (network, _) = small();
        let half = network.converted_to(Precision::F16);
        let layer = &half.vit.stages[0][0];
        assert_eq!(layer.mamba.forward_direction.a_log.val().dtype(), DType::F32);
        assert_eq!(layer.norm.weight.val().dtype(), DType::F32);
        assert_eq!(half.out.weight.val().dtype(), DType::F32);
        assert_eq!(half.encoder1.conv1.weight.val().dtype(), DType::F16);
        assert_eq!(half.vit.gscs[0].proj.weight.val().dtype(), DType::F16);
    }

    #[test]
    fn gradients_in_half_precision_are_f32_and_point_where_those_of_f32_do() {
        let (network, device) = small();
        let device = device.autodiff();
        let gradient = |precision: Precision| {
            let network = network.clone().train().with_precision(precision);
            let loss = network.forward_logits(window(&device)).powi_scalar(2).mean();
            let gradients = loss.backward();
            let gradient = network.encoder2.conv1.weight.grad(&gradients).unwrap();
            assert_eq!(gradient.dtype(), DType::F32);
            gradient.into_data().try_into_vec::<f32>().unwrap()
        };
        let exact = gradient(Precision::F32);
        for (precision, least) in [(Precision::F16, 0.99), (Precision::Bf16, 0.9)] {
            let found = gradient(precision);
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = dot(&exact, &found) / (dot(&exact, &exact) * dot(&found, &found)).sqrt();
            assert!(cosine > least, "{precision}: cosine {cosine}");
        }
    }

    #[test]
    fn names_are_read_as_they_are_written_and_others_are_answered_with_the_choice() {
        for precision in [Precision::F32, Precision::F16, Precision::Bf16] {
            assert_eq!(precision.to_string().parse(), Ok(precision));
            assert_eq!(serde_json::to_value(precision).unwrap(), precision.to_string());
        }
        assert!("f8".parse::<Precision>().unwrap_err().to_string().contains("f16"));
    }
}
