//! ℓ = Σ w·e / normaliser with e = (p − a)² on probabilities, or cross-entropy on logits in its stable form
//! max(x, 0) − x·a + ln(1 + exp(−|x|)). Weights and normaliser come with the batch ([`crate::data::Batch`]).

use burn::tensor::activation::sigmoid;
use burn::tensor::{Device, Tensor, TensorData};

use super::config::LossKind;
use crate::data::Batch;

/// A batch as tensors.
pub struct BatchTensors {
    /// `[B, 1, z, y, x]`, values in `[0, 1]`.
    pub input: Tensor<5>,
    /// `[B, 3, z, y, x]`.
    pub affinities: Tensor<5>,
    /// `[B, 3, z, y, x]`.
    pub weights: Tensor<5>,
    /// Divisor of the weighted sum.
    pub normaliser: f32,
}

impl BatchTensors {
    /// Moves a batch to a device.
    #[must_use]
    pub fn new(batch: Batch, device: &Device) -> Self {
        let [z, y, x] = batch.shape_zyx;
        let tensor = |values: Vec<f32>, channels: usize| {
            Tensor::from_data(TensorData::new(values, [batch.size, channels, z, y, x]), device)
        };
        Self {
            input: tensor(batch.input, 1),
            affinities: tensor(batch.affinities, 3),
            weights: tensor(batch.weights, 3),
            normaliser: batch.normaliser,
        }
    }
}

/// The scalar loss of logits `[B, 3, z, y, x]`.
pub fn loss_of_logits(
    kind: LossKind,
    logits: Tensor<5>,
    affinities: Tensor<5>,
    weights: Tensor<5>,
    normaliser: f32,
) -> Tensor<1> {
    let error = match kind {
        LossKind::Mse | LossKind::WeightedMse => (sigmoid(logits) - affinities).square(),
        LossKind::Bce => {
            let soft = logits.clone().abs().neg().exp().add_scalar(1.0).log();
            logits.clone().clamp_min(0.0) - logits * affinities + soft
        }
    };
    (error * weights).sum().div_scalar(normaliser)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Crop, TargetConfig};

    /// The affinity example of the method: mean of the targets 2/3, so positives weigh 1 and negatives 2.
    fn golden_batch(loss: LossKind) -> Batch {
        let labels = vec![1, 1, 2, 1, 0, 2, 1, 3, 2, 3, 3, 2];
        let crop = Crop { raw: vec![0.5; 12], labels, volume: "example".into(), origin_zyx: [0; 3] };
        let target = TargetConfig { loss, ignore_unlabelled: false, widen_borders: false };
        Batch::of_crops(vec![crop], 0, [2, 2, 3], target)
    }

    fn value(batch: Batch, kind: LossKind, logit: f32) -> f32 {
        let t = BatchTensors::new(batch, &Device::flex());
        let logits = Tensor::full([1, 3, 2, 2, 3], logit, &Device::flex());
        loss_of_logits(kind, logits, t.affinities, t.weights, t.normaliser).into_scalar::<f32>()
    }

    #[test]
    fn weighted_mse_of_the_reference_example() {
        let batch = golden_batch(LossKind::WeightedMse);
        let positive = batch.affinities.iter().filter(|a| **a > 0.0).count();
        assert_eq!((positive, batch.affinities.len()), (24, 36));
        for (a, w) in batch.affinities.iter().zip(&batch.weights) {
            assert!((w - if *a > 0.0 { 1.0 } else { 2.0 }).abs() < 1e-6);
        }
        // p = 1/2 everywhere: (24·1 + 12·2)·¼ / 12 voxels.
        assert!((value(batch, LossKind::WeightedMse, 0.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn plain_mse_is_a_mean_over_elements() {
        assert!((value(golden_batch(LossKind::Mse), LossKind::Mse, 0.0) - 0.25).abs() < 1e-6);
    }

    #[test]
    fn cross_entropy_stays_finite_for_extreme_logits() {
        let at_zero = value(golden_batch(LossKind::Bce), LossKind::Bce, 0.0);
        assert!((at_zero - (48.0 / 36.0) * std::f32::consts::LN_2).abs() < 1e-5);
        for logit in [-200.0f32, 200.0] {
            let v = value(golden_batch(LossKind::Bce), LossKind::Bce, logit);
            assert!(v.is_finite() && v > 50.0);
        }
    }

    #[test]
    fn ignored_voxels_change_neither_the_loss_nor_the_class_balance() {
        let labels = vec![1, 1, 2, 1, 0, 2, 1, 3, 2, 3, 3, 2];
        let target = TargetConfig { loss: LossKind::Mse, ignore_unlabelled: true, widen_borders: false };
        let crop = Crop { raw: vec![0.5; 12], labels, volume: "example".into(), origin_zyx: [0; 3] };
        let batch = Batch::of_crops(vec![crop], 0, [2, 2, 3], target);
        // The voxel itself in 3 channels, and its successors along z, y (none) and x.
        assert_eq!(batch.weights.iter().filter(|w| **w == 0.0).count(), 5);
        assert!((batch.normaliser - 31.0).abs() < 1e-6);
        assert!((value(batch, LossKind::Mse, 0.0) - 0.25).abs() < 1e-6);
    }
}
