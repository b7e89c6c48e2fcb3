//! A device as training uses it: with gradients, in a precision, and with what memory demands.

use burn::tensor::Device;
use tu_model::Precision;

use super::TrainError;

/// The device with gradients, after a check that it trains in `precision`. With `checkpoint_activations` results that are
/// cheap to compute (normalisations, activations, gates) are let go after the forward pass and computed again in the
/// backward pass: the gradients are the same, and activations take about a third less memory.
fn training_device(
    device: &Device,
    precision: Precision,
    checkpoint_activations: bool,
) -> Result<Device, TrainError> {
    let refuse = |why: &str| Err(TrainError::Config(format!("precision {precision}: {why}")));
    if precision == Precision::F16 {
        return refuse("gradients are too small for it; use bf16 or f32");
    }
    if !precision.is_offered_by(device) {
        return refuse("the device does not offer it; use f32");
    }
    let device = device.clone().autodiff();
    Ok(if checkpoint_activations { device.gradient_checkpointing() } else { device })
}

/// The devices of a run.
#[derive(Clone, Debug)]
pub(crate) struct TrainingDevices {
    /// Holds the network, and makes the optimiser's step.
    pub(crate) first: Device,
    /// Share the passes of a step with it.
    pub(crate) others: Vec<Device>,
}

impl TrainingDevices {
    /// [`training_device`] of all of them.
    pub(crate) fn new(
        first: &Device,
        others: &[Device],
        precision: Precision,
        checkpoint_activations: bool,
    ) -> Result<Self, TrainError> {
        let of = |device| training_device(device, precision, checkpoint_activations);
        Ok(Self { first: of(first)?, others: others.iter().map(of).collect::<Result<_, _>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn training_takes_f32_and_bf16_and_says_why_not_f16() {
        let device = Device::flex();
        assert!(training_device(&device, Precision::F32, false).unwrap().is_autodiff());
        training_device(&device, Precision::Bf16, true).unwrap();
        let message = training_device(&device, Precision::F16, false).unwrap_err().to_string();
        assert!(message.contains("f16") && message.contains("bf16"), "{message}");
    }
}
