//! The transforms of tiles, eight positions along y at a time, vectorised over x.
//!
//! With the points a = 0, 1, −1, 2, −2, ½, −½ and ∞, and N_a = 1/Π_{b≠a}(a − b) over the finite ones:
//!
//! ```text
//! input      V_a = Σ_j β_aj d_j        β_a: coefficients of Π_{b≠a}(x − b), and of Π_b (x − b) for ∞
//! weights    U_a = N_a Σ_j aʲ w_j      U_∞ = w_last
//! output     y_k = Σ_a aᵏ M_a          and M_∞ for the last k
//! ```
//! (Lavin and Gray 2016, "Fast algorithms for convolutional neural networks"; for the point 0 both signs are turned.) The
//! gradients pass through the transposed maps.

#![expect(unsafe_code, reason = "vector registers are reached through intrinsics and raw pointers")]

use super::POINTS;
use crate::conv::vector::{MAX_LANES, Vector, for_every_register};
use crate::cpu::simd::Level;

/// Most taps along y.
pub(super) const MAX_TAPS: usize = 5;

/// N_a · aʲ for the finite points; rows a, columns j.
const WEIGHTS: [[f32; MAX_TAPS]; POINTS - 1] = {
    const POWERS: [[f64; MAX_TAPS]; POINTS - 1] = [
        [1.0, 0.0, 0.0, 0.0, 0.0],
        [1.0, 1.0, 1.0, 1.0, 1.0],
        [1.0, -1.0, 1.0, -1.0, 1.0],
        [1.0, 2.0, 4.0, 8.0, 16.0],
        [1.0, -2.0, 4.0, -8.0, 16.0],
        [1.0, 0.5, 0.25, 0.125, 0.0625],
        [1.0, -0.5, 0.25, -0.125, 0.0625],
    ];
    const SCALES: [f64; POINTS - 1] =
        [1.0, -2.0 / 9.0, -2.0 / 9.0, 1.0 / 90.0, 1.0 / 90.0, 32.0 / 45.0, 32.0 / 45.0];
    let mut table = [[0.0; MAX_TAPS]; POINTS - 1];
    let mut a = 0;
    while a < POINTS - 1 {
        let mut j = 0;
        while j < MAX_TAPS {
            table[a][j] = (SCALES[a] * POWERS[a][j]) as f32;
            j += 1;
        }
        a += 1;
    }
    table
};

/// The factors of `taps` taps, three or five, in the transformed weight at every point; 0 past the last tap.
pub(super) fn weight_factors(taps: usize) -> [[f32; MAX_TAPS]; POINTS] {
    std::array::from_fn(|point| {
        std::array::from_fn(|j| match WEIGHTS.get(point) {
            Some(row) if j < taps => row[j],
            None if j + 1 == taps => 1.0,
            _ => 0.0,
        })
    })
}

/// Where the positions of a tile lie: in a plane of every point, `point_step` floats apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) point_step: usize,
    pub(super) z_step: usize,
    pub(super) tile_step: usize,
    pub(super) column_step: usize,
}

/// Rows of a plane with what lies around them, `step` floats apart, a multiple of [`MAX_LANES`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) values: &'a [f32],
    pub(super) step: usize,
    /// Columns that are of use.
    pub(super) columns: usize,
}

/// `V` of `tiles` tiles of eight rows, `rows_per_tile` apart. Where columns lie next to each other, as many as the rows have
/// are written, up to a register more than are of use.
///
/// # Panics
/// When a slice is too short.
pub(super) fn input_tiles(
    level: Level,
    rows: &Rows<'_>,
    tiles: usize,
    rows_per_tile: usize,
    place: &Place,
    out: &mut [f32],
) {
    check(rows, tiles * rows_per_tile + POINTS - rows_per_tile, tiles, place, out.len());
    // SAFETY: the lengths were checked.
    unsafe { input_tiles_on(level, rows, tiles, rows_per_tile, place, out) }
}

/// `A ∂y` of tiles of `outputs` rows each, written as [`input_tiles`] does.
///
/// # Panics
/// When a slice is too short.
pub(super) fn gradient_tiles(
    level: Level,
    rows: &Rows<'_>,
    tiles: usize,
    outputs: usize,
    place: &Place,
    out: &mut [f32],
) {
    check(rows, tiles * outputs, tiles, place, out.len());
    // SAFETY: the lengths were checked.
    unsafe {
        match outputs {
            4 => gradient_tiles_of_4(level, rows, tiles, place, out),
            6 => gradient_tiles_of_6(level, rows, tiles, place, out),
            _ => unreachable!("tiles have four or six rows"),
        }
    }
}

fn check(rows: &Rows<'_>, count: usize, tiles: usize, place: &Place, room: usize) {
    assert!(rows.step.is_multiple_of(MAX_LANES) && rows.columns <= rows.step);
    assert!(tiles > 0 && rows.values.len() >= count * rows.step, "every tile has its rows");
    let last = if place.column_step == 1 { rows.step } else { (rows.columns - 1) * place.column_step + 1 };
    assert!(room >= (POINTS - 1) * place.point_step + (tiles - 1) * place.tile_step + last);
}

for_every_register! {
    unsafe fn input_tiles_on = input_tiles_body[](
        rows: &Rows<'_>,
        tiles: usize,
        rows_per_tile: usize,
        place: &Place,
        out: &mut [f32],
    )
}

for_every_register! {
    unsafe fn gradient_tiles_of_4 = gradient_tiles_body[baseline: 4; avx2: 4; avx512: 4](
        rows: &Rows<'_>,
        tiles: usize,
        place: &Place,
        out: &mut [f32],
    )
}

for_every_register! {
    unsafe fn gradient_tiles_of_6 = gradient_tiles_body[baseline: 6; avx2: 6; avx512: 6](
        rows: &Rows<'_>,
        tiles: usize,
        place: &Place,
        out: &mut [f32],
    )
}

/// Safety: the instruction set of `V` is there, and lengths are as [`check`] asserts.
#[inline(always)]
unsafe fn input_tiles_body<V: Vector>(
    rows: &Rows<'_>,
    tiles: usize,
    rows_per_tile: usize,
    place: &Place,
    out: &mut [f32],
) {
    for t in 0..tiles {
        for x in (0..rows.columns).step_by(V::LANES) {
            // SAFETY: x ends a register before `step`, a multiple of the lanes; rows and room were asserted.
            unsafe {
                let from = rows.values.as_ptr().add(t * rows_per_tile * rows.step + x);
                let mut d = [V::splat(0.0); POINTS];
                for (j, d) in d.iter_mut().enumerate() {
                    *d = V::load(from.add(j * rows.step));
                }
                put(&input_transform(d), t, x, rows.columns, place, out);
            }
        }
    }
}

/// Safety: as [`input_tiles_body`].
#[inline(always)]
unsafe fn gradient_tiles_body<V: Vector, const OUTPUTS: usize>(
    rows: &Rows<'_>,
    tiles: usize,
    place: &Place,
    out: &mut [f32],
) {
    for t in 0..tiles {
        for x in (0..rows.columns).step_by(V::LANES) {
            // SAFETY: as in `input_tiles_body`.
            unsafe {
                let from = rows.values.as_ptr().add(t * OUTPUTS * rows.step + x);
                let mut g = [V::splat(0.0); OUTPUTS];
                for (k, g) in g.iter_mut().enumerate() {
                    *g = V::load(from.add(k * rows.step));
                }
                put(&gradient_transform(g), t, x, rows.columns, place, out);
            }
        }
    }
}

/// Writes a register of every point, of tile `t` from column `x` on.
///
/// Safety: as [`input_tiles_body`].
#[inline(always)]
unsafe fn put<V: Vector>(
    values: &[V; POINTS],
    t: usize,
    x: usize,
    columns: usize,
    place: &Place,
    out: &mut [f32],
) {
    let at = t * place.tile_step + x * place.column_step;
    for (point, value) in values.iter().enumerate() {
        // SAFETY: room was asserted for the registers where columns lie next to each other, and for every
        // column that is of use elsewhere.
        unsafe {
            let to = out.as_mut_ptr().add(point * place.point_step + at);
            if place.column_step == 1 {
                value.store(to);
            } else {
                let mut lanes = [0.0f32; MAX_LANES];
                value.store(lanes.as_mut_ptr());
                for (lane, value) in lanes.iter().enumerate().take((columns - x).min(V::LANES)) {
                    *to.add(lane * place.column_step) = *value;
                }
            }
        }
    }
}

/// Where the rows of one tile after the other are written: `outputs` rows a tile, `rows` in all, `width` floats each.
#[derive(Clone, Copy, Debug)]
pub(super) struct OutputRows {
    pub(super) to: *mut f32,
    pub(super) width: usize,
    pub(super) rows: usize,
    pub(super) outputs: usize,
}

/// `y` of tiles whose sums of products lie in `sums`; rows past the last are left out.
///
/// # Safety
/// `output.to` points to `rows · width` floats that nobody else uses.
///
/// # Panics
/// When `sums` is too short.
pub(super) unsafe fn output_tiles(level: Level, sums: &[f32], place: &Place, output: OutputRows) {
    let tiles = output.rows.div_ceil(output.outputs);
    if tiles == 0 || output.width == 0 {
        return;
    }
    let columns = if place.column_step == 1 {
        output.width.next_multiple_of(MAX_LANES)
    } else {
        (output.width - 1) * place.column_step + 1
    };
    assert!(sums.len() >= (POINTS - 1) * place.point_step + (tiles - 1) * place.tile_step + columns);
    // SAFETY: the length was asserted, the caller answers for the output.
    unsafe {
        match output.outputs {
            4 => output_tiles_of_4(level, sums, place, output),
            6 => output_tiles_of_6(level, sums, place, output),
            _ => unreachable!("tiles have four or six rows"),
        }
    }
}

for_every_register! {
    unsafe fn output_tiles_of_4 = output_tiles_body[baseline: 4; avx2: 4; avx512: 4](
        sums: &[f32],
        place: &Place,
        output: OutputRows,
    )
}

for_every_register! {
    unsafe fn output_tiles_of_6 = output_tiles_body[baseline: 6; avx2: 6; avx512: 6](
        sums: &[f32],
        place: &Place,
        output: OutputRows,
    )
}

/// Safety: the instruction set of `V` is there, and lengths are as [`output_tiles`] asserts and asks for.
#[inline(always)]
unsafe fn output_tiles_body<V: Vector, const OUTPUTS: usize>(
    sums: &[f32],
    place: &Place,
    output: OutputRows,
) {
    let OutputRows { to, width, rows, .. } = output;
    for t in 0..rows.div_ceil(OUTPUTS) {
        for x in (0..width).step_by(V::LANES) {
            let used = (width - x).min(V::LANES);
            let at = t * place.tile_step + x * place.column_step;
            // SAFETY: `output_tiles` asserted that every register, or every column that is of use, can be read;
            // rows and columns that are written lie within the output.
            unsafe {
                let mut m = [V::splat(0.0); POINTS];
                for (point, m) in m.iter_mut().enumerate() {
                    let from = sums.as_ptr().add(point * place.point_step + at);
                    if place.column_step == 1 {
                        *m = V::load(from);
                    } else {
                        let mut lanes = [0.0f32; MAX_LANES];
                        for (lane, value) in lanes.iter_mut().enumerate().take(used) {
                            *value = *from.add(lane * place.column_step);
                        }
                        *m = V::load(lanes.as_ptr());
                    }
                }
                let y: [V; OUTPUTS] = output_transform(m);
                for (k, y) in y.iter().enumerate().take(rows - t * OUTPUTS) {
                    let to = to.add((t * OUTPUTS + k) * width + x);
                    if used == V::LANES {
                        y.store(to);
                    } else {
                        let mut lanes = [0.0f32; MAX_LANES];
                        y.store(lanes.as_mut_ptr());
                        to.copy_from_nonoverlapping(lanes.as_ptr(), used);
                    }
                }
            }
        }
    }
}

/// sum + factor · value.
///
/// Safety: the instruction set of `V` is there.
#[inline(always)]
unsafe fn plus<V: Vector>(sum: V, factor: f32, value: V) -> V {
    // SAFETY: passed on from the caller.
    unsafe { sum.add_product(V::splat(factor), value) }
}

/// The values at a and −a of a polynomial whose even and odd parts at a are given.
///
/// Safety: as [`plus`].
#[inline(always)]
unsafe fn at_both_signs<V: Vector>(even: V, odd: V) -> [V; 2] {
    // SAFETY: passed on from the caller.
    unsafe { [plus(even, 1.0, odd), plus(even, -1.0, odd)] }
}

/// Safety: as [`plus`].
#[inline(always)]
unsafe fn input_transform<V: Vector>(d: [V; POINTS]) -> [V; POINTS] {
    // SAFETY: passed on from the caller.
    unsafe {
        let nothing = V::splat(0.0);
        let zero = plus(plus(d[0], -1.0, d[6]), 5.25, plus(d[4], -1.0, d[2]));
        let infinity = plus(plus(d[7], -1.0, d[1]), 5.25, plus(d[3], -1.0, d[5]));
        // even and odd coefficients of the polynomials with the roots of all points but ±a
        let [one, minus_one] =
            at_both_signs(plus(plus(d[6], 1.0, d[2]), -4.25, d[4]), plus(plus(d[5], 1.0, d[1]), -4.25, d[3]));
        let [two, minus_two] = at_both_signs(
            plus(plus(d[6], 0.25, d[2]), -1.25, d[4]),
            plus(plus(plus(nothing, 2.0, d[5]), 0.5, d[1]), -2.5, d[3]),
        );
        let [half, minus_half] = at_both_signs(
            plus(plus(d[6], 4.0, d[2]), -5.0, d[4]),
            plus(plus(plus(nothing, 0.5, d[5]), 2.0, d[1]), -2.5, d[3]),
        );
        [zero, one, minus_one, two, minus_two, half, minus_half, infinity]
    }
}

/// Safety: as [`plus`].
#[inline(always)]
unsafe fn output_transform<V: Vector, const OUTPUTS: usize>(m: [V; POINTS]) -> [V; OUTPUTS] {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut y = [V::splat(0.0); OUTPUTS];
        for (k, y) in y.iter_mut().enumerate() {
            let sign = if k % 2 == 0 { 1.0 } else { -1.0 };
            let power = (1u32 << k) as f32;
            let [one, two, half] = [plus(m[1], sign, m[2]), plus(m[3], sign, m[4]), plus(m[5], sign, m[6])];
            *y = plus(plus(one, power, two), 1.0 / power, half);
        }
        y[0] = plus(y[0], 1.0, m[0]);
        y[OUTPUTS - 1] = plus(y[OUTPUTS - 1], 1.0, m[POINTS - 1]);
        y
    }
}

/// Safety: as [`plus`].
#[inline(always)]
unsafe fn gradient_transform<V: Vector, const OUTPUTS: usize>(g: [V; OUTPUTS]) -> [V; POINTS] {
    // SAFETY: passed on from the caller.
    unsafe {
        let mut z = [V::splat(0.0); POINTS];
        (z[0], z[POINTS - 1]) = (g[0], g[OUTPUTS - 1]);
        for (pair, base) in [1.0f32, 2.0, 0.5].into_iter().enumerate() {
            let (mut even, mut odd, mut power) = (V::splat(0.0), V::splat(0.0), 1.0f32);
            for (k, g) in g.iter().enumerate() {
                if k % 2 == 0 {
                    even = plus(even, power, *g);
                } else {
                    odd = plus(odd, power, *g);
                }
                power *= base;
            }
            [z[2 * pair + 1], z[2 * pair + 2]] = at_both_signs(even, odd);
        }
        z
    }
}
