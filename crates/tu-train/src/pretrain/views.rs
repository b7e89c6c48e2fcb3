//! Two views of one crop that a network should describe alike: the crop, and the crop after reflections and, where its
//! sides allow it, an exchange of y and x; each with grey values of its own.
//!
//! The second view is a rearrangement of whole tokens, so that its token i shows what token `places[i]` of the first shows.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::TokenGrid;
use crate::data::{AugmentationConfig, Orientation, change_intensity};

/// Two views of the crops of a forward pass.
#[derive(Clone, Debug, PartialEq)]
pub struct ViewPair {
    /// Network inputs, each `[B, 1, z, y, x]`.
    pub inputs: [Vec<f32>; 2],
    /// For each token of the second view, the token of the first that shows the same place.
    pub places: Vec<usize>,
}

impl ViewPair {
    /// Draws views of crops, each with its own generator; the orientation is drawn from the first and holds for all, so
    /// that `places` does.
    pub fn draw<'c>(
        crops: impl Iterator<Item = (&'c [f32], ChaCha8Rng)>,
        grid: &TokenGrid,
        stream: u64,
    ) -> Self {
        let mut pair = Self { inputs: [Vec::new(), Vec::new()], places: Vec::new() };
        let mut orientation = None;
        let config = greys();
        for (crop, mut rng) in crops {
            rng.set_stream(stream);
            let orientation = *orientation.get_or_insert_with(|| draw_orientation(&mut rng, grid));
            let shape = grid.crop_zyx();
            let mut views = [crop.to_vec(), orientation.apply(crop, shape)];
            for (view, input) in views.iter_mut().zip(&mut pair.inputs) {
                change_intensity(&mut rng, &config, view, shape);
                input.extend_from_slice(view);
            }
        }
        let tokens: Vec<usize> = (0..grid.tokens()).collect();
        pair.places = orientation.map_or(tokens.clone(), |o| o.apply(&tokens, grid.grid_zyx()));
        pair
    }
}

/// Reflections, and an exchange of y and x where crop and patch have the same sides.
fn draw_orientation(rng: &mut impl Rng, grid: &TokenGrid) -> Orientation {
    let drawn = Orientation::draw(rng, false);
    let square = |shape: [usize; 3]| shape[1] == shape[2];
    if square(grid.crop_zyx()) && square(grid.patch_zyx()) {
        drawn
    } else {
        Orientation { source_axis: [0, 1, 2], ..drawn }
    }
}

/// How grey values of a view change.
fn greys() -> AugmentationConfig {
    AugmentationConfig { grayscale: 1.0, blur: 0.5, noise: 0.5, missing: 0.2, ..AugmentationConfig::none() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::sample_rng;

    #[test]
    fn tokens_of_the_second_view_show_the_places_that_are_named() {
        for (crop, patch) in [([4, 32, 32], [2, 8, 8]), ([4, 16, 32], [2, 8, 8]), ([4, 32, 32], [2, 8, 4])] {
            let grid = TokenGrid::new(crop, patch).unwrap();
            for step in 0..20 {
                let orientation = draw_orientation(&mut sample_rng(1, step, 0), &grid);
                // Every voxel of a token holds the token's number.
                let voxels = grid.patch_voxels();
                let numbered: Vec<usize> = (0..grid.tokens()).flat_map(|t| vec![t; voxels]).collect();
                let turned = grid.gather(&orientation.apply(&grid.scatter(&numbered), crop));
                let tokens: Vec<usize> = (0..grid.tokens()).collect();
                let places = orientation.apply(&tokens, grid.grid_zyx());
                for (token, place) in turned.chunks(voxels).zip(places) {
                    assert!(token.iter().all(|number| *number == place));
                }
            }
        }
    }

    #[test]
    fn views_differ_from_each_other_and_depend_on_the_generator_alone() {
        let grid = TokenGrid::new([4, 32, 32], [2, 8, 8]).unwrap();
        let crop: Vec<f32> = (0..4096).map(|i| (i as f32 * 0.37).sin().abs()).collect();
        let draw = |step| {
            let crops = [0, 1].map(|sample| (crop.as_slice(), sample_rng(1, step, sample)));
            ViewPair::draw(crops.into_iter(), &grid, 9)
        };
        let pair = draw(1);
        assert_eq!(pair, draw(1));
        assert_ne!(pair, draw(2));
        assert_eq!([pair.inputs[0].len(), pair.inputs[1].len()], [8192; 2]);
        assert_ne!(pair.inputs[0], pair.inputs[1]);
        assert!(pair.inputs.iter().flatten().all(|v| (0.0..=1.0).contains(v)));
    }
}
