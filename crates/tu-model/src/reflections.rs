//! Affinities averaged over the mirror images of a window in its plane.
//!
//! A network is trained on crops that are mirrored at random, so that it owes the same answer to all images of a window;
//! the mean of four such answers is steadier than one, at four times the work. An affinity joins a voxel with its predecessor:
//! in the image that is mirrored along an axis, with its successor. So what the network says of the axis in the image
//! belongs, mirrored back, one voxel further on; the first voxel, whose predecessor lies outside, keeps its own.

use burn::tensor::Tensor;

/// The axis of y and x in `[B, C, D, H, W]`, and the channel of the affinity along it.
const AXES: [(usize, usize); 2] = [(3, 1), (4, 2)];

/// The mean over the four mirror images in y and x of logits `[B, 3, D, H, W]` of a window `[B, 1, D, H, W]`.
pub(crate) fn mean_over_reflections(
    window: &Tensor<5>,
    logits: impl Fn(Tensor<5>) -> Tensor<5>,
) -> Tensor<5> {
    let images = [[false, false], [true, false], [false, true], [true, true]];
    let sum = images
        .into_iter()
        .map(|mirrored| {
            let along =
                || AXES.into_iter().zip(mirrored).filter_map(|(axis, mirrored)| mirrored.then_some(axis));
            let image = along().fold(window.clone(), |image, (axis, _)| image.flip([axis]));
            along().fold(logits(image), |found, (axis, channel)| mirrored_back(found, axis, channel))
        })
        .reduce(|a, b| a + b)
        .unwrap_or_else(|| unreachable!("there are four images"));
    sum.mul_scalar(0.25)
}

fn mirrored_back(logits: Tensor<5>, axis: usize, channel: usize) -> Tensor<5> {
    let flipped = logits.flip([axis]);
    let own = flipped.clone().narrow(1, channel, 1);
    let length = own.dims()[axis];
    let moved = Tensor::cat(vec![own.clone().narrow(axis, 0, 1), own.narrow(axis, 0, length - 1)], axis);
    let mut channels: Vec<Tensor<5>> = (0..3).map(|c| flipped.clone().narrow(1, c, 1)).collect();
    channels[channel] = moved;
    Tensor::cat(channels, 1)
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, Distribution};

    use super::*;

    /// Affinities of a labelling: 1 where a voxel and its predecessor are alike; the first has none.
    fn of_labels(x: Tensor<5>) -> Tensor<5> {
        let along = |axis: usize| {
            let length = x.dims()[axis];
            let first = x.clone().narrow(axis, 0, 1).zeros_like();
            let (own, before) =
                (x.clone().narrow(axis, 1, length - 1), x.clone().narrow(axis, 0, length - 1));
            Tensor::cat(vec![first, own.equal(before).float()], axis)
        };
        Tensor::cat(vec![along(2), along(3), along(4)], 1)
    }

    #[test]
    fn what_does_not_depend_on_the_image_is_its_own_mean() {
        let device = Device::flex();
        let labels = Tensor::<5>::random([1, 1, 3, 6, 8], Distribution::Uniform(0.0, 3.0), &device).floor();
        let (own, mean) = (of_labels(labels.clone()), mean_over_reflections(&labels, of_labels));
        // Beyond the first voxel of an axis the images have an answer that the window has not.
        let inside = |x: Tensor<5>| x.narrow(3, 1, 5).narrow(4, 1, 7);
        inside(own).into_data().assert_eq(&inside(mean).into_data(), true);
    }

    #[test]
    fn every_image_is_asked_once() {
        let device = Device::flex();
        let window = Tensor::<5>::random([1, 1, 1, 4, 6], Distribution::Uniform(0.0, 1.0), &device);
        let count = std::cell::Cell::new(0);
        let mean = mean_over_reflections(&window, |x| {
            count.set(count.get() + 1);
            let corner = x.narrow(3, 0, 1).narrow(4, 0, 1).reshape([1]);
            corner.reshape([1, 1, 1, 1, 1]).expand([1, 3, 1, 4, 6])
        });
        assert_eq!(count.get(), 4);
        let at = |y: usize, x: usize| window.clone().narrow(3, y, 1).narrow(4, x, 1).into_scalar::<f32>();
        let expected = (at(0, 0) + at(0, 5) + at(3, 0) + at(3, 5)) / 4.0;
        let found = mean.narrow(1, 2, 1).narrow(3, 2, 1).narrow(4, 3, 1).into_scalar::<f32>();
        assert!((found - expected).abs() < 1e-6);
    }
}
