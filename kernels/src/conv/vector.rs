//! The vector registers of each instruction set behind one small trait.

#![expect(unsafe_code, reason = "vector registers are reached through intrinsics and raw pointers")]

/// A register of `LANES` floats.
///
/// Methods are unsafe because they may only run where the processor has the instruction set, and because
/// pointers must be valid for `LANES` floats.
pub(super) trait Vector: Copy {
    /// Floats per register.
    const LANES: usize;
    /// The same value in every lane.
    unsafe fn splat(value: f32) -> Self;
    /// Reads `LANES` floats, unaligned.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` floats, unaligned.
    unsafe fn store(self, to: *mut f32);
    /// self + a·b, fused where that is one instruction.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
    /// Sum of the lanes in one fixed order.
    unsafe fn sum(self) -> f32;
}

/// Most floats of a register.
pub(super) const MAX_LANES: usize = 16;

/// Defines `unsafe fn $name(level, arguments…)`, which runs `$body::<register, counts…>(arguments…)` compiled for the
/// level's instruction set. The counts are constants of the body, so that accumulators stay in registers.
///
/// The defined function is as safe as its body: the level comes from [`Level::detect`](crate::cpu::simd::Level::detect),
/// so the instruction set is there.
macro_rules! for_every_register {
    ($(#[$doc:meta])* unsafe fn $name:ident = $body:ident
        [$(baseline: $($b:literal),*; avx2: $($x:literal),*; avx512: $($z:literal),*)?]
        ($($arg:ident: $ty:ty),* $(,)?)) => {
        $(#[$doc])*
        unsafe fn $name(level: $crate::cpu::simd::Level, $($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2($($arg: $ty),*) {
                // SAFETY: passed on from the caller.
                unsafe { $body::<std::arch::x86_64::__m256 $($(, $x)*)?>($($arg),*) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
            unsafe fn avx512($($arg: $ty),*) {
                // SAFETY: passed on from the caller.
                unsafe { $body::<std::arch::x86_64::__m512 $($(, $z)*)?>($($arg),*) }
            }
            #[cfg(target_arch = "wasm32")]
            #[target_feature(enable = "simd128")]
            unsafe fn baseline($($arg: $ty),*) {
                // SAFETY: passed on from the caller.
                unsafe { $body::<std::arch::wasm32::v128 $($(, $b)*)?>($($arg),*) }
            }
            #[cfg(not(target_arch = "wasm32"))]
            unsafe fn baseline($($arg: $ty),*) {
                // SAFETY: passed on from the caller.
                unsafe { $body::<$crate::conv::vector::Plain $($(, $b)*)?>($($arg),*) }
            }
            // SAFETY: the level says that the processor has the instruction set; the rest is passed on from the caller.
            unsafe {
                match level {
                    $crate::cpu::simd::Level::Baseline => baseline($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::cpu::simd::Level::Avx2 => avx2($($arg),*),
                    #[cfg(target_arch = "x86_64")]
                    $crate::cpu::simd::Level::Avx512 => avx512($($arg),*),
                }
            }
        }
    };
}
pub(super) use for_every_register;

/// Four floats that the compiler vectorises as it can: the twin for every other processor.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 4]);

#[cfg(not(target_arch = "wasm32"))]
impl Vector for Plain {
    const LANES: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Plain([value; 4])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives four readable floats.
        Plain(unsafe { from.cast::<[f32; 4]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives room for four floats.
        unsafe { to.cast::<[f32; 4]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        let mut sum = self;
        for lane in 0..4 {
            sum.0[lane] += a.0[lane] * b.0[lane];
        }
        sum
    }

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self.0.iter().sum()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::{
        __m256, __m512, _mm_add_ps, _mm_add_ss, _mm_cvtss_f32, _mm_movehl_ps, _mm_shuffle_ps,
        _mm256_castps256_ps128, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps,
        _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_reduce_add_ps, _mm512_set1_ps,
        _mm512_storeu_ps,
    };

    macro_rules! register {
        ($register:ty, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $sum:ident) => {
            // SAFETY (of every block): the caller runs on a processor with the instruction set, and gives
            // pointers that are valid for the register's width.
            impl Vector for $register {
                const LANES: usize = $lanes;

                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: see above.
                    unsafe { $splat(value) }
                }

                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: see above.
                    unsafe { $load(from) }
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: see above.
                    unsafe { $store(to, self) }
                }

                #[inline(always)]
                unsafe fn add_product(self, a: Self, b: Self) -> Self {
                    // SAFETY: see above.
                    unsafe { $fma(a, b, self) }
                }

                #[inline(always)]
                unsafe fn sum(self) -> f32 {
                    // SAFETY: see above.
                    unsafe { $sum(self) }
                }
            }
        };
    }

    register!(__m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, sum_of_8);
    register!(
        __m512,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_reduce_add_ps
    );

    /// Halves added to each other until one float is left.
    #[target_feature(enable = "avx2,fma")]
    fn sum_of_8(register: __m256) -> f32 {
        let four = _mm_add_ps(_mm256_castps256_ps128(register), _mm256_extractf128_ps::<1>(register));
        let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
        _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
    }
}

#[cfg(target_arch = "wasm32")]
mod wasm {
    use super::Vector;
    use std::arch::wasm32::{f32x4_add, f32x4_mul, f32x4_splat, v128, v128_load, v128_store};

    // SAFETY (of every block): the caller gives pointers that are valid for four floats; an engine without
    // simd128 refuses the whole module when it is loaded.
    impl Vector for v128 {
        const LANES: usize = 4;

        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            // SAFETY: see above.
            #[allow(unused_unsafe, reason = "safe where simd128 is enabled for the whole module")]
            unsafe {
                f32x4_splat(value)
            }
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: see above.
            unsafe { v128_load(from.cast()) }
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: see above.
            unsafe { v128_store(to.cast(), self) }
        }

        #[inline(always)]
        unsafe fn add_product(self, a: Self, b: Self) -> Self {
            // SAFETY: see above.
            #[allow(unused_unsafe, reason = "safe where simd128 is enabled for the whole module")]
            unsafe {
                f32x4_add(self, f32x4_mul(a, b))
            }
        }

        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            let mut lanes = [0.0f32; 4];
            // SAFETY: the array has the register's width.
            unsafe { v128_store(lanes.as_mut_ptr().cast(), self) }
            lanes.iter().sum()
        }
    }
}
