//! One body of a loop compiled for several instruction sets, the best chosen at run time.

/// Instruction sets a loop body is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    /// What the target always has.
    Baseline,
    /// AVX2 with fused multiply-add.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F, VL, DQ, BW.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Whether multiply-add is a single instruction on every machine of this target.
pub(crate) const BASELINE_FUSED: bool = cfg!(target_arch = "aarch64");

impl Level {
    /// The best that this machine has, or `TU_CPU_LEVEL` (`baseline`, `avx2`), which lets a measurement stand for an older
    /// processor.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn detect() -> Self {
        use std::sync::OnceLock;
        static FOUND: OnceLock<Level> = OnceLock::new();
        *FOUND.get_or_init(|| {
            let asked = std::env::var("TU_CPU_LEVEL").unwrap_or_default();
            let mut best = Self::available().into_iter().rev();
            best.find(|level| asked.is_empty() || level.name() == asked).unwrap_or(Self::Baseline)
        })
    }

    /// The levels that this machine has, the best last.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn available() -> Vec<Self> {
        use std::arch::is_x86_feature_detected as has;
        let mut levels = vec![Self::Baseline];
        if has!("avx2") && has!("fma") {
            levels.push(Self::Avx2);
            if has!("avx512f") && has!("avx512vl") && has!("avx512dq") && has!("avx512bw") {
                levels.push(Self::Avx512);
            }
        }
        levels
    }

    /// As `TU_CPU_LEVEL` has it.
    #[cfg(target_arch = "x86_64")]
    fn name(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// The best that this machine has.
    #[cfg(not(target_arch = "x86_64"))]
    pub(crate) fn detect() -> Self {
        Self::Baseline
    }

    /// The levels that this machine has.
    #[cfg(all(test, not(target_arch = "x86_64")))]
    pub(crate) fn available() -> Vec<Self> {
        vec![Self::Baseline]
    }
}

/// Defines `$name(level, arguments…)`, which runs `$body::<FUSED>(arguments…)` compiled for the level.
macro_rules! for_every_level {
    ($(#[$doc:meta])* fn $name:ident = $body:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)?) => {
        $(#[$doc])*
        #[allow(clippy::needless_pass_by_value, reason = "the signature is shared by all levels")]
        fn $name(level: $crate::cpu::simd::Level, $($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($arg: $ty),*) $(-> $ret)? {
                $body::<true>($($arg),*)
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,fma")]
            fn avx512($($arg: $ty),*) $(-> $ret)? {
                $body::<true>($($arg),*)
            }
            match level {
                // SAFETY: `Level::detect` saw these features on this machine
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::simd::Level::Avx512 => unsafe { avx512($($arg),*) },
                // SAFETY: `Level::detect` saw these features on this machine
                #[cfg(target_arch = "x86_64")]
                $crate::cpu::simd::Level::Avx2 => unsafe { avx2($($arg),*) },
                $crate::cpu::simd::Level::Baseline => {
                    $body::<{ $crate::cpu::simd::BASELINE_FUSED }>($($arg),*)
                }
            }
        }
    };
}
pub(crate) use for_every_level;
