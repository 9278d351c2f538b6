//! Vectors of f32 lanes, and the choice of instruction set at run time.
//!
//! A kernel is written once over [`Simd`] and run by [`Isa::run`], which enters it through a function compiled for the chosen
//! instruction set; everything in a kernel is `inline(always)` so that it is compiled there too.

use half::{bf16, f16};

/// One instruction set's vector of f32.
///
/// # Safety
/// Every method may use instructions that only [`Isa::run`] has made sure of, and pointers must be valid for
/// [`Simd::LANES`] elements.
pub(super) unsafe trait Simd: Copy {
    /// Lanes in a vector.
    const LANES: usize;
    /// All lanes equal.
    unsafe fn splat(value: f32) -> Self;
    /// Reads lanes.
    unsafe fn load(from: *const f32) -> Self;
    /// Reads bfloat16, widened.
    unsafe fn load_bf16(from: *const bf16) -> Self;
    /// Reads half precision, widened.
    unsafe fn load_f16(from: *const f16) -> Self;
    /// Writes lanes.
    unsafe fn store(self, to: *mut f32);
    /// `self * b + c`.
    unsafe fn mul_add(self, b: Self, c: Self) -> Self;
    /// `self * b`.
    unsafe fn mul(self, b: Self) -> Self;
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;
}

/// A weight's element type.
pub(super) trait Element: Copy + Send + Sync {
    /// Zero, to pad with.
    const ZERO: Self;
    /// Reads lanes, widened.
    ///
    /// # Safety
    /// As for [`Simd`].
    unsafe fn load<S: Simd>(from: *const Self) -> S;
}

macro_rules! element {
    ($type:ty, $zero:expr, $load:ident) => {
        impl Element for $type {
            const ZERO: Self = $zero;
            #[inline(always)]
            unsafe fn load<S: Simd>(from: *const Self) -> S {
                // SAFETY: the caller's promise.
                unsafe { S::$load(from) }
            }
        }
    };
}
element!(f32, 0.0, load);
element!(bf16, bf16::ZERO, load_bf16);
element!(f16, f16::ZERO, load_f16);

/// A computation that runs on any instruction set.
pub(super) trait Kernel {
    /// Does it.
    ///
    /// # Safety
    /// Called by [`Isa::run`] alone, which has made sure that the CPU has what `S` uses.
    unsafe fn run<S: Simd>(self);
}

/// Instruction sets that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Isa {
    /// Any CPU.
    Portable,
    /// AVX2, FMA and F16C.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 F.
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// All that this CPU has, best first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c");
            if avx2 && is_x86_feature_detected!("avx512f") {
                found.push(Self::Avx512);
            }
            if avx2 {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }

    /// Runs a kernel on this instruction set.
    pub(super) fn run(self, kernel: impl Kernel) {
        match self {
            // SAFETY: portable code needs nothing.
            Self::Portable => unsafe { kernel.run::<portable::Lanes>() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value of this variant comes from `available`, which looked.
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { x86::run_avx512(kernel) },
        }
    }
}

mod portable {
    //! Eight lanes in an array, which a compiler may or may not vectorise.
    use super::{Simd, bf16, f16};

    #[derive(Clone, Copy)]
    pub(super) struct Lanes([f32; 8]);

    // SAFETY: no special instruction is used; pointers are the caller's promise.
    unsafe impl Simd for Lanes {
        const LANES: usize = 8;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Self([value; 8])
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: valid for 8 elements.
            Self(std::array::from_fn(|i| unsafe { *from.add(i) }))
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            // SAFETY: valid for 8 elements.
            Self(std::array::from_fn(|i| unsafe { (*from.add(i)).to_f32() }))
        }
        #[inline(always)]
        unsafe fn load_f16(from: *const f16) -> Self {
            // SAFETY: valid for 8 elements.
            Self(std::array::from_fn(|i| unsafe { (*from.add(i)).to_f32() }))
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: valid for 8 elements.
            unsafe { to.copy_from_nonoverlapping(self.0.as_ptr(), 8) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, b: Self, c: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] * b.0[i] + c.0[i]))
        }
        #[inline(always)]
        unsafe fn mul(self, b: Self) -> Self {
            Self(std::array::from_fn(|i| self.0[i] * b.0[i]))
        }
        #[inline(always)]
        unsafe fn sum(self) -> f32 {
            let [a, b, c, d, e, f, g, h] = self.0;
            ((a + e) + (c + g)) + ((b + f) + (d + h))
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    //! AVX2 with FMA, and AVX-512.
    use super::{Kernel, Simd, bf16, f16};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn run_avx2(kernel: impl Kernel) {
        // SAFETY: the features are this function's own.
        unsafe { kernel.run::<Avx2>() }
    }

    #[target_feature(enable = "avx512f,avx2,fma,f16c")]
    pub(super) unsafe fn run_avx512(kernel: impl Kernel) {
        // SAFETY: the features are this function's own.
        unsafe { kernel.run::<Avx512>() }
    }

    #[derive(Clone, Copy)]
    struct Avx2(__m256);

    #[derive(Clone, Copy)]
    struct Avx512(__m512);

    /// The methods of [`Simd`] as one intrinsic each. `$wide` widens 16-bit lanes by shifting (bfloat16), `$half` by conversion.
    macro_rules! simd {
        ($name:ident, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $mul:ident,
         bf16: $from:ident => $bf16:expr, f16: $from16:ident => $f16:expr, sum: $v:ident => $sum:expr) => {
            // SAFETY: used only inside `run_*`, which have the features; pointers are the caller's promise.
            unsafe impl Simd for $name {
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    // SAFETY: as the implementation's.
                    Self(unsafe { $splat(value) })
                }
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    // SAFETY: as the implementation's.
                    Self(unsafe { $load(from) })
                }
                #[inline(always)]
                unsafe fn load_bf16($from: *const bf16) -> Self {
                    // SAFETY: as the implementation's.
                    Self(unsafe { $bf16 })
                }
                #[inline(always)]
                unsafe fn load_f16($from16: *const f16) -> Self {
                    // SAFETY: as the implementation's.
                    Self(unsafe { $f16 })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    // SAFETY: as the implementation's.
                    unsafe { $store(to, self.0) }
                }
                #[inline(always)]
                unsafe fn mul_add(self, b: Self, c: Self) -> Self {
                    // SAFETY: as the implementation's.
                    Self(unsafe { $fma(self.0, b.0, c.0) })
                }
                #[inline(always)]
                unsafe fn mul(self, b: Self) -> Self {
                    // SAFETY: as the implementation's.
                    Self(unsafe { $mul(self.0, b.0) })
                }
                #[inline(always)]
                unsafe fn sum(self) -> f32 {
                    let $v = self.0;
                    // SAFETY: as the implementation's.
                    unsafe { $sum }
                }
            }
        };
    }

    simd!(Avx2, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_mul_ps,
    bf16: from => {
        let wide = _mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast()));
        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(wide))
    },
    f16: from => _mm256_cvtph_ps(_mm_loadu_si128(from.cast())),
    sum: v => {
        let half = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
        let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
        _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
    });

    simd!(Avx512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps, _mm512_mul_ps,
        bf16: from => {
            let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
        },
        f16: from => _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
        sum: v => _mm512_reduce_add_ps(v));
}
