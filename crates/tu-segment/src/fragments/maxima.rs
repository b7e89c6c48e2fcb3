//! Regional maxima: plateaus without a higher neighbour, each numbered as one seed.

/// Which voxels count as neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Connectivity {
    /// Voxels of the same z slice that share an edge (4).
    Plane4,
    /// Voxels that share a corner at least (26).
    Volume26,
}

impl Connectivity {
    /// Steps to the neighbours, z y x.
    fn steps(self) -> Vec<[isize; 3]> {
        match self {
            Self::Plane4 => vec![[0, -1, 0], [0, 0, -1], [0, 0, 1], [0, 1, 0]],
            Self::Volume26 => {
                (0..27isize).filter(|&n| n != 13).map(|n| [n / 9 - 1, n / 3 % 3 - 1, n % 3 - 1]).collect()
            }
        }
    }
}

/// Numbers the regional maxima of `values` 1, 2, … in raster order of their first voxels, 0 elsewhere, and says
/// how many there are. A block of one value is one maximum.
pub(super) fn regional_maxima(
    values: &[f32],
    shape_zyx: [usize; 3],
    connectivity: Connectivity,
) -> (Vec<u32>, u32) {
    const REJECTED: u32 = u32::MAX;
    let neighbours = Neighbours::new(shape_zyx, connectivity);
    let mut seeds = vec![0u32; values.len()];
    let mut count = 0;
    let mut plateau: Vec<u32> = Vec::new();
    for start in 0..values.len() {
        if seeds[start] != 0 {
            continue;
        }
        let value = values[start];
        if neighbours.any(start, |other| values[other] > value) {
            // Lower voxels are the bulk; leaving their plateaus to their own members is cheaper than walking them.
            seeds[start] = REJECTED;
            continue;
        }
        // Walk the whole plateau, then decide.
        count += 1;
        let mut is_maximum = true;
        plateau.clear();
        plateau.push(start as u32);
        seeds[start] = count;
        let mut next = 0;
        while let Some(&v) = plateau.get(next) {
            next += 1;
            neighbours.any(v as usize, |other| {
                if values[other] > value || (values[other] == value && seeds[other] == REJECTED) {
                    is_maximum = false;
                } else if values[other] == value && seeds[other] == 0 {
                    seeds[other] = count;
                    plateau.push(other as u32);
                }
                false
            });
        }
        if !is_maximum {
            count -= 1;
            for &v in &plateau {
                seeds[v as usize] = REJECTED;
            }
        }
    }
    for seed in &mut seeds {
        if *seed == REJECTED {
            *seed = 0;
        }
    }
    (seeds, count)
}

/// The neighbours of a voxel inside a block.
struct Neighbours {
    shape_zyx: [usize; 3],
    steps: Vec<[isize; 3]>,
    offsets: Vec<isize>,
}

impl Neighbours {
    fn new(shape_zyx: [usize; 3], connectivity: Connectivity) -> Self {
        let [stride_z, stride_y, _] = crate::affinity::strides(shape_zyx).map(|stride| stride as isize);
        let steps = connectivity.steps();
        let offsets = steps.iter().map(|[z, y, x]| z * stride_z + y * stride_y + x).collect();
        Self { shape_zyx, steps, offsets }
    }

    /// Whether `test` holds for a neighbour of voxel `v`; stops at the first.
    #[inline]
    fn any(&self, v: usize, mut test: impl FnMut(usize) -> bool) -> bool {
        let [depth, height, width] = self.shape_zyx;
        let (z, y, x) = (v / width / height, v / width % height, v % width);
        let inner = |i: usize, n: usize| i > 0 && i + 1 < n;
        if inner(z, depth) && inner(y, height) && inner(x, width) {
            return self.offsets.iter().any(|offset| test((v as isize + offset) as usize));
        }
        let inside = |i: usize, step: isize, n: usize| i.checked_add_signed(step).is_some_and(|i| i < n);
        self.steps.iter().zip(&self.offsets).any(|(step, offset)| {
            inside(z, step[0], depth)
                && inside(y, step[1], height)
                && inside(x, step[2], width)
                && test((v as isize + offset) as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plateaus_are_single_maxima_and_shoulders_are_none() {
        let values = [2.0, 2.0, 1.0, 3.0, 3.0, 3.0, 3.0, 4.0, 0.0, 0.0];
        let (seeds, count) = regional_maxima(&values, [1, 1, 10], Connectivity::Volume26);
        assert_eq!(seeds, [1, 1, 0, 0, 0, 0, 0, 2, 0, 0]);
        assert_eq!(count, 2);
    }

    #[test]
    fn a_constant_block_is_one_maximum() {
        let (seeds, count) = regional_maxima(&[0.0; 24], [2, 3, 4], Connectivity::Volume26);
        assert_eq!((seeds, count), (vec![1; 24], 1));
    }

    #[test]
    fn corners_connect_in_the_volume_but_not_in_the_plane() {
        let values = [1.0, 0.0, 0.0, 1.0];
        assert_eq!(regional_maxima(&values, [1, 2, 2], Connectivity::Volume26).1, 1);
        assert_eq!(regional_maxima(&values, [1, 2, 2], Connectivity::Plane4).1, 2);
    }
}
