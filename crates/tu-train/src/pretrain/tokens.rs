//! The token grid of a crop: patches of voxels in raster order (x fastest), and the path π that visits them.
//!
//! Token t of a grid `(gz, gy, gx)` lies at `(t / (gy·gx), t / gx mod gy, t mod gx)`; its values are the patch's voxels in
//! raster order. A path drawn anew is the raster of the grid after reflections and an exchange of y and x: one of 16.

use burn::tensor::Tensor;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::training::TrainError;

/// How tokens are ordered for the cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// z, then y, then x, ascending.
    Raster,
    /// Raster of a grid whose axes are reflected and whose y and x are exchanged at random, per sample.
    Drawn,
}

/// A crop as a grid of patches that do not overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenGrid {
    crop_zyx: [usize; 3],
    patch_zyx: [usize; 3],
    grid_zyx: [usize; 3],
}

impl TokenGrid {
    /// The grid of a crop, both in voxels zyx.
    ///
    /// # Errors
    /// The crop is no whole number of patches along an axis, or holds less than two.
    pub fn new(crop_zyx: [usize; 3], patch_zyx: [usize; 3]) -> Result<Self, TrainError> {
        let refuse = |cause: &str| {
            Err(TrainError::Config(format!("crop_zyx {crop_zyx:?} and patch_zyx {patch_zyx:?}: {cause}")))
        };
        if patch_zyx.contains(&0) || (0..3).any(|d| !crop_zyx[d].is_multiple_of(patch_zyx[d])) {
            return refuse("a crop must be a whole number of patches along each axis");
        }
        let grid_zyx: [usize; 3] = std::array::from_fn(|d| crop_zyx[d] / patch_zyx[d]);
        match crop_zyx.iter().try_fold(1usize, |n, &s| n.checked_mul(s)) {
            Some(voxels) if voxels <= 1 << 31 => {}
            _ => return refuse("more than 2^31 voxels; use smaller crops"),
        }
        if grid_zyx.iter().product::<usize>() < 2 {
            return refuse("there must be at least two tokens; use smaller patches or larger crops");
        }
        Ok(Self { crop_zyx, patch_zyx, grid_zyx })
    }

    /// Crop in voxels, zyx.
    #[must_use]
    pub fn crop_zyx(&self) -> [usize; 3] {
        self.crop_zyx
    }

    /// Patch in voxels, zyx.
    #[must_use]
    pub fn patch_zyx(&self) -> [usize; 3] {
        self.patch_zyx
    }

    /// Tokens along each axis, zyx.
    #[must_use]
    pub fn grid_zyx(&self) -> [usize; 3] {
        self.grid_zyx
    }

    /// K, the number of tokens.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.grid_zyx.iter().product()
    }

    /// P, voxels of a token.
    #[must_use]
    pub fn patch_voxels(&self) -> usize {
        self.patch_zyx.iter().product()
    }

    /// Place of a token in the grid, zyx.
    #[must_use]
    pub fn position(&self, token: usize) -> [usize; 3] {
        let [_, gy, gx] = self.grid_zyx;
        [token / (gy * gx), token / gx % gy, token % gx]
    }

    /// First voxels, in the crop's raster order, of the rows along x that make up a token; each row is as long as the patch.
    fn row_begins(&self, token: usize) -> impl Iterator<Item = usize> + use<> {
        let [_, height, width] = self.crop_zyx;
        let [pz, py, px] = self.patch_zyx;
        let [z, y, x] = self.position(token);
        (0..pz).flat_map(move |dz| {
            (0..py).map(move |dy| ((z * pz + dz) * height + y * py + dy) * width + x * px)
        })
    }

    /// Calls `change` on the voxels of a token in a crop, one row along x after the other.
    pub fn for_each_row<T>(&self, crop: &mut [T], token: usize, mut change: impl FnMut(&mut [T])) {
        for begin in self.row_begins(token) {
            change(&mut crop[begin..begin + self.patch_zyx[2]]);
        }
    }

    /// Voxels `[z, y, x]` to tokens `[K, P]`.
    #[must_use]
    pub fn gather<T: Copy>(&self, crop: &[T]) -> Vec<T> {
        let mut tokens = Vec::with_capacity(crop.len());
        for token in 0..self.tokens() {
            for begin in self.row_begins(token) {
                tokens.extend_from_slice(&crop[begin..begin + self.patch_zyx[2]]);
            }
        }
        tokens
    }

    /// Tokens `[K, P]` to voxels `[z, y, x]`; the inverse of [`Self::gather`].
    #[must_use]
    pub fn scatter<T: Copy + Default>(&self, tokens: &[T]) -> Vec<T> {
        let mut crop = vec![T::default(); tokens.len()];
        let mut rows = tokens.chunks_exact(self.patch_zyx[2]);
        for token in 0..self.tokens() {
            self.for_each_row(&mut crop, token, |row| {
                if let Some(values) = rows.next() {
                    row.copy_from_slice(values);
                }
            });
        }
        crop
    }

    /// [`Self::gather`] on the device: `[B, C, D, H, W]` to `[B, K, C, P]`.
    #[must_use]
    pub fn gather_tensor(&self, volume: Tensor<5>) -> Tensor<4> {
        let [b, c, ..] = volume.dims();
        let [gz, gy, gx] = self.grid_zyx;
        let [pz, py, px] = self.patch_zyx;
        volume
            .reshape([b * c, gz, pz, gy, py, gx, px])
            .permute([0, 1, 3, 5, 2, 4, 6])
            .reshape([b, c, self.tokens(), self.patch_voxels()])
            .swap_dims(1, 2)
    }

    /// Mean of the voxels of each token: features `[B, C, D, H, W]` to `[B, K, C]`.
    #[must_use]
    pub fn pool_tensor(&self, features: Tensor<5>) -> Tensor<3> {
        let [b, c, ..] = features.dims();
        self.gather_tensor(features).mean_dim(3).reshape([b, self.tokens(), c])
    }

    /// The tokens in the order of a path.
    pub fn path(&self, kind: PathKind, rng: &mut impl Rng) -> Vec<usize> {
        if kind == PathKind::Raster {
            return (0..self.tokens()).collect();
        }
        let reflect: [bool; 3] = [rng.random(), rng.random(), rng.random()];
        let outer_inner = if rng.random() { [2, 1] } else { [1, 2] };
        let grid = self.grid_zyx;
        let along = |axis: usize, i: usize| if reflect[axis] { grid[axis] - 1 - i } else { i };
        let mut order = Vec::with_capacity(self.tokens());
        for z in 0..grid[0] {
            for outer in 0..grid[outer_inner[0]] {
                for inner in 0..grid[outer_inner[1]] {
                    let mut at = [along(0, z), 0, 0];
                    at[outer_inner[0]] = along(outer_inner[0], outer);
                    at[outer_inner[1]] = along(outer_inner[1], inner);
                    order.push((at[0] * grid[1] + at[1]) * grid[2] + at[2]);
                }
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Device, TensorData};
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn grids() -> impl Strategy<Value = TokenGrid> {
        let sides = || [1usize..5, 1usize..5, 1usize..5];
        (sides(), sides()).prop_filter_map("two tokens at least", |(patch, grid)| {
            TokenGrid::new(std::array::from_fn(|d| patch[d] * grid[d]), patch).ok()
        })
    }

    proptest! {
        #[test]
        fn scattering_undoes_gathering(grid in grids()) {
            let crop: Vec<u32> = (0..grid.crop_zyx().iter().product::<usize>() as u32).collect();
            let tokens = grid.gather(&crop);
            prop_assert_eq!(grid.scatter(&tokens), crop);
        }

        #[test]
        fn a_token_holds_the_voxels_of_its_patch_in_raster_order(grid in grids()) {
            let crop: Vec<usize> = (0..grid.crop_zyx().iter().product()).collect();
            let tokens = grid.gather(&crop);
            let ([_, h, w], p) = (grid.crop_zyx(), grid.patch_zyx());
            for (i, &voxel) in tokens.iter().enumerate() {
                let (token, inner) = (i / grid.patch_voxels(), i % grid.patch_voxels());
                let at = [voxel / (h * w), voxel / w % h, voxel % w];
                let patch: [usize; 3] = std::array::from_fn(|d| at[d] / p[d]);
                prop_assert_eq!(patch, grid.position(token));
                prop_assert_eq!(((at[0] % p[0]) * p[1] + at[1] % p[1]) * p[2] + at[2] % p[2], inner);
            }
        }

        #[test]
        fn host_and_device_gather_alike(grid in grids()) {
            let [d, h, w] = grid.crop_zyx();
            let values: Vec<f32> = (0..2 * d * h * w).map(|v| v as f32).collect();
            let tensor = Tensor::from_data(TensorData::new(values.clone(), [2, 1, d, h, w]), &Device::flex());
            let gathered = grid.gather_tensor(tensor).into_data().try_into_vec::<f32>().unwrap();
            let expected: Vec<f32> = values.chunks(d * h * w).flat_map(|crop| grid.gather(crop)).collect();
            prop_assert_eq!(gathered, expected);
        }

        #[test]
        fn every_path_visits_every_token_once(grid in grids(), step in 0u64..50) {
            let mut rng = crate::data::sample_rng(1, step, 0);
            let path = grid.path(PathKind::Drawn, &mut rng);
            prop_assert_eq!(path.len(), grid.tokens());
            prop_assert_eq!(path.into_iter().collect::<BTreeSet<_>>().len(), grid.tokens());
        }
    }

    #[test]
    fn the_default_crop_has_400_tokens_of_1024_voxels_and_raster_order_runs_along_x_first() {
        let grid = TokenGrid::new([16, 160, 160], [4, 16, 16]).unwrap();
        assert_eq!((grid.tokens(), grid.patch_voxels()), (400, 1024));
        let path = grid.path(PathKind::Raster, &mut crate::data::sample_rng(1, 1, 1));
        assert_eq!(
            [path[1], path[10], path[100]].map(|t| grid.position(t)),
            [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
        );
    }

    #[test]
    fn sixteen_different_paths_are_drawn() {
        let grid = TokenGrid::new([2, 2, 2], [1, 1, 1]).unwrap();
        let paths: BTreeSet<Vec<usize>> = (0..400)
            .map(|step| grid.path(PathKind::Drawn, &mut crate::data::sample_rng(1, step, 0)))
            .collect();
        assert_eq!(paths.len(), 16);
    }

    #[test]
    fn the_mean_of_a_token_is_over_its_own_voxels() {
        let grid = TokenGrid::new([1, 2, 4], [1, 2, 2]).unwrap();
        let values = vec![1.0, 2.0, 10.0, 20.0, 3.0, 4.0, 30.0, 40.0];
        let volume = Tensor::from_data(TensorData::new(values, [1, 1, 1, 2, 4]), &Device::flex());
        assert_eq!(grid.pool_tensor(volume).into_data().try_into_vec::<f32>().unwrap(), [2.5, 25.0]);
    }

    #[test]
    fn crops_that_are_no_whole_number_of_patches_are_refused() {
        for (crop, patch) in
            [([16, 160, 168], [4, 16, 16]), ([4, 16, 16], [0, 16, 16]), ([4, 16, 16], [4, 16, 16])]
        {
            let message = TokenGrid::new(crop, patch).unwrap_err().to_string();
            assert!(message.contains("crop_zyx"), "{message}");
        }
    }
}
