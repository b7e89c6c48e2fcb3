//! Where each voxel of a crop comes from. An [`Orientation`] (axis order and reflections) maps the crop onto a block of
//! the volume without interpolation; within that block each section may be rotated, scaled, deformed and shifted in
//! plane: source = centre + s·R(θ)·(v − centre) + elastic(v) + shift(z). Raw is interpolated linearly, labels take the
//! nearest voxel, both from the same coordinates.

use rand::Rng;
use rand::seq::SliceRandom;

use super::augmentation::AugmentationConfig;

/// Axis order and reflections of a crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Orientation {
    /// Volume axis that each crop axis runs along, crop order z, y, x.
    pub source_axis: [usize; 3],
    /// Whether each crop axis runs backwards.
    pub reflect: [bool; 3],
}

impl Orientation {
    /// As stored.
    pub const IDENTITY: Self = Self { source_axis: [0, 1, 2], reflect: [false; 3] };

    /// Reflections of every axis and an exchange of y and x, or any axis order if `permute_axes`.
    pub fn draw(rng: &mut impl Rng, permute_axes: bool) -> Self {
        let mut source_axis = [0, 1, 2];
        if permute_axes {
            source_axis.shuffle(rng);
        } else if rng.random_bool(0.5) {
            source_axis = [0, 2, 1];
        }
        Self { source_axis, reflect: [rng.random(), rng.random(), rng.random()] }
    }

    /// Shape of the block of the volume that a crop of `shape_zyx` covers.
    #[must_use]
    pub fn block_shape(&self, shape_zyx: [usize; 3]) -> [usize; 3] {
        let mut block = [0; 3];
        for (axis, &source) in self.source_axis.iter().enumerate() {
            block[source] = shape_zyx[axis];
        }
        block
    }

    /// Rearranges a block of shape [`Self::block_shape`] into the crop.
    pub fn apply<T: Copy>(&self, block: &[T], shape_zyx: [usize; 3]) -> Vec<T> {
        if *self == Self::IDENTITY {
            return block.to_vec();
        }
        let source_shape = self.block_shape(shape_zyx);
        let source_stride = [source_shape[1] * source_shape[2], source_shape[2], 1];
        let stride = self.source_axis.map(|axis| source_stride[axis]);
        let at = |axis: usize, i: usize| {
            stride[axis] * if self.reflect[axis] { shape_zyx[axis] - 1 - i } else { i }
        };
        let mut out = Vec::with_capacity(block.len());
        for z in 0..shape_zyx[0] {
            for y in 0..shape_zyx[1] {
                let row = at(0, z) + at(1, y);
                out.extend((0..shape_zyx[2]).map(|x| block[row + at(2, x)]));
            }
        }
        out
    }
}

/// The in-plane warp of a crop, or none.
#[derive(Clone, Debug)]
pub struct Geometry {
    shape_zyx: [usize; 3],
    /// Source y and x of each voxel of a section, relative to the crop's own origin; empty without a warp.
    plane_yx: Vec<[f32; 2]>,
    /// Shift of each section, added to `plane_yx`.
    shift_yx: Vec<[f32; 2]>,
    /// Voxels that the source window begins before the crop's origin, y and x.
    before_yx: [usize; 2],
    /// Source window in y and x.
    window_yx: [usize; 2],
}

impl Geometry {
    /// Draws rotation, scale, deformation and misalignment.
    pub fn draw(rng: &mut impl Rng, config: &AugmentationConfig, shape_zyx: [usize; 3]) -> Self {
        let [depth, height, width] = shape_zyx;
        // Every coin is thrown before any is used, so that one setting does not reshuffle the others.
        let rotate = rng.random_bool(config.rotate);
        let angle: f32 = rng.random_range(0.0..std::f32::consts::TAU);
        let rescale = rng.random_bool(config.rescale);
        let scale_draw: f64 = rng.random_range(-1.0..1.0);
        let elastic = rng.random_bool(config.elastic);
        let misalign = rng.random_bool(config.misalign) && depth > 1 && config.misalign_max > 0;
        let mut geometry = Self {
            shape_zyx,
            plane_yx: Vec::new(),
            shift_yx: vec![[0.0; 2]; depth],
            before_yx: [0; 2],
            window_yx: [height, width],
        };
        if !(rotate || rescale || elastic || misalign) {
            return geometry;
        }
        let angle = if rotate { angle } else { 0.0 };
        let scale = if rescale { (1.0 + config.rescale_range * scale_draw) as f32 } else { 1.0 };
        let (sin, cos) = angle.sin_cos();
        let centre = [(height as f32 - 1.0) / 2.0, (width as f32 - 1.0) / 2.0];
        geometry.plane_yx = (0..height * width)
            .map(|i| {
                let dy = ((i / width) as f32 - centre[0]) * scale;
                let dx = ((i % width) as f32 - centre[1]) * scale;
                [centre[0] + cos * dy - sin * dx, centre[1] + sin * dy + cos * dx]
            })
            .collect();
        if elastic {
            for component in 0..2 {
                let field = smooth_noise(rng, height, width, config.elastic_sigma as f32);
                for (source, noise) in geometry.plane_yx.iter_mut().zip(field) {
                    source[component] += noise * config.elastic_alpha as f32;
                }
            }
        }
        if misalign {
            let limit = config.misalign_max as i64;
            let shift = [rng.random_range(-limit..=limit) as f32, rng.random_range(-limit..=limit) as f32];
            let from = rng.random_range(1..depth);
            let to = if rng.random_bool(0.5) { from + 1 } else { depth };
            geometry.shift_yx[from..to].fill(shift);
        }
        geometry.find_window();
        geometry
    }

    /// The smallest window that holds every source voxel and its right-hand neighbours.
    fn find_window(&mut self) {
        for component in 0..2 {
            let (mut low, mut high) = (f32::MAX, f32::MIN);
            for source in &self.plane_yx {
                low = low.min(source[component]);
                high = high.max(source[component]);
            }
            let shifts = self.shift_yx.iter().map(|s| s[component]);
            let (shift_low, shift_high) = shifts.fold((0f32, 0f32), |(a, b), s| (a.min(s), b.max(s)));
            let begin = (low + shift_low).floor().min(0.0);
            let end = (high + shift_high).floor() + 2.0;
            self.before_yx[component] = (-begin) as usize;
            self.window_yx[component] = (end - begin) as usize;
        }
    }

    /// Whether voxels are moved at all.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.plane_yx.is_empty()
    }

    /// Shape of the window that has to be read, zyx.
    #[must_use]
    pub fn window_zyx(&self) -> [usize; 3] {
        [self.shape_zyx[0], self.window_yx[0], self.window_yx[1]]
    }

    /// Voxels by which that window begins before the crop, zyx.
    #[must_use]
    pub fn before_zyx(&self) -> [usize; 3] {
        [0, self.before_yx[0], self.before_yx[1]]
    }

    fn sections<T>(&self, window: &[T], mut take: impl FnMut(&[T], f32, f32)) {
        let area = self.window_yx[0] * self.window_yx[1];
        for (z, shift) in self.shift_yx.iter().enumerate() {
            let section = &window[z * area..(z + 1) * area];
            for source in &self.plane_yx {
                take(
                    section,
                    source[0] + shift[0] + self.before_yx[0] as f32,
                    source[1] + shift[1] + self.before_yx[1] as f32,
                );
            }
        }
    }

    /// Raw values of the crop, linear between the four nearest voxels.
    pub fn warp_raw(&self, window: Vec<f32>) -> Vec<f32> {
        if self.is_identity() {
            return window;
        }
        let width = self.window_yx[1];
        let mut out = Vec::with_capacity(self.shape_zyx.iter().product());
        self.sections(&window, |section, y, x| {
            let (y0, x0) = (y.floor().max(0.0), x.floor().max(0.0));
            let (fy, fx) = (y - y0, x - x0);
            let row = y0 as usize * width + x0 as usize;
            let below = row + width;
            let top = section[row] * (1.0 - fx) + section[row + 1] * fx;
            let bottom = section[below] * (1.0 - fx) + section[below + 1] * fx;
            out.push(top * (1.0 - fy) + bottom * fy);
        });
        out
    }

    /// Labels of the crop, each from the nearest voxel.
    pub fn warp_labels(&self, window: Vec<u64>) -> Vec<u64> {
        if self.is_identity() {
            return window;
        }
        let width = self.window_yx[1];
        let mut out = Vec::with_capacity(self.shape_zyx.iter().product());
        self.sections(&window, |section, y, x| {
            out.push(section[y.round().max(0.0) as usize * width + x.round().max(0.0) as usize]);
        });
        out
    }
}

/// Uniform noise in (−1, 1) smoothed by a Gaussian of `sigma` voxels, wrapping at the border.
fn smooth_noise(rng: &mut impl Rng, height: usize, width: usize, sigma: f32) -> Vec<f32> {
    let noise: Vec<f32> = (0..height * width).map(|_| rng.random_range(-1.0..1.0)).collect();
    super::intensity::gaussian_plane(&noise, height, width, sigma)
}
