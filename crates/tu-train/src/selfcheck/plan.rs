//! What a self-check runs.

use burn::tensor::Device;
use thiserror::Error;
use tu_kernels::selfcheck::NetworkSizes;
use tu_model::{EmMamba, EmMambaConfig, ModelFileError, Precision};

/// Training steps that are compared.
pub const STEPS: u64 = 3;

/// Seed of weights.
const SEED: u64 = 1;

/// Why a plan cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlanError {
    /// The window does not pass through the network.
    #[error(transparent)]
    Window(#[from] tu_model::ConfigError),
    /// The model cannot be read.
    #[error(transparent)]
    Model(#[from] ModelFileError),
    /// The model gives something else than affinities.
    #[error("it gives {0} channels and not three affinities: choose a model that has been fine-tuned")]
    Channels(usize),
    /// The device lacks the type.
    #[error("the device does not offer {0}: use f32")]
    Precision(Precision),
}

/// A network, a window, a precision and the device that has to agree with the CPU.
pub struct Plan {
    pub(super) device: Device,
    pub(super) precision: Precision,
    pub(super) architecture: EmMambaConfig,
    pub(super) window_zyx: [usize; 3],
    /// The file of a trained network; seeded weights without one.
    model: Option<Vec<u8>>,
}

impl Plan {
    /// A plan for an architecture with seeded weights.
    ///
    /// # Errors
    /// The window does not fit, or the device lacks the precision.
    pub fn of_architecture(
        device: &Device,
        precision: Precision,
        architecture: EmMambaConfig,
        window_zyx: [usize; 3],
    ) -> Result<Self, PlanError> {
        architecture.check_window(window_zyx)?;
        if architecture.out_channels != 3 {
            return Err(PlanError::Channels(architecture.out_channels));
        }
        if !precision.is_offered_by(device) {
            return Err(PlanError::Precision(precision));
        }
        Ok(Self {
            device: device.clone().without_autodiff(),
            precision,
            architecture,
            window_zyx,
            model: None,
        })
    }

    /// A plan for a model file, in its own window unless another is asked for.
    ///
    /// # Errors
    /// The file is no model of affinities, or as [`Self::of_architecture`].
    pub fn of_model(
        device: &Device,
        precision: Precision,
        bytes: Vec<u8>,
        window_zyx: Option<[usize; 3]>,
    ) -> Result<Self, PlanError> {
        let metadata = tu_model::model_file::read_metadata(&bytes)?;
        let window_zyx = window_zyx.unwrap_or_else(|| metadata.window_zyx());
        let plan = Self::of_architecture(device, precision, metadata.architecture, window_zyx)?;
        Ok(Self { model: Some(bytes), ..plan })
    }

    /// The window, in voxels.
    #[must_use]
    pub fn window_zyx(&self) -> [usize; 3] {
        self.window_zyx
    }

    /// How many rows there will be.
    #[must_use]
    pub fn rows(&self) -> usize {
        let training = if self.trains() { 2 * STEPS as usize } else { 0 };
        self.sizes().checks().len() + 2 + training
    }

    /// Whether the precision is one to train in: gradients are too small for f16.
    pub(super) fn trains(&self) -> bool {
        self.precision != Precision::F16
    }

    /// Whether the device is what it is compared with.
    pub(super) fn is_cpu(&self) -> bool {
        self.device == Device::flex()
    }

    /// The network in f32 on a device.
    pub(super) fn network(&self, device: &Device) -> Result<EmMamba, String> {
        match &self.model {
            None => Ok(self.architecture.init_seeded(device, SEED)),
            Some(bytes) => Ok(tu_model::load(bytes, device).map_err(|error| error.to_string())?.0),
        }
    }

    /// The sizes of its operations, for one window.
    pub(super) fn sizes(&self) -> NetworkSizes {
        let a = &self.architecture;
        let [c0, c1, c2, c3] = a.features;
        NetworkSizes {
            in_channels: a.in_channels,
            out_channels: a.out_channels,
            widths: [c0, c1, c2, c3, a.hidden],
            kernels: a.block_kernels(),
            z_strides: a.z_strides(),
            z_down_kernels: a.z_down_kernels(),
            slices: a.nslices,
            states: a.d_state,
            taps: a.d_conv,
            expand: a.expand,
            window_zyx: self.window_zyx,
            batch: 1,
        }
    }
}
