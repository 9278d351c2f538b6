//! AVX2 with FMA, and AVX-512.
use super::{Kernel, Simd, bf16, f16};
use std::arch::x86_64::*;

#[target_feature(enable = "avx2,fma,f16c,popcnt")]
pub(super) unsafe fn run_avx2(kernel: impl Kernel) {
    // SAFETY: the features are this function's own.
    unsafe { kernel.run::<Avx2>() }
}

#[target_feature(enable = "avx512f,avx2,fma,f16c,popcnt")]
pub(super) unsafe fn run_avx512(kernel: impl Kernel) {
    // SAFETY: the features are this function's own.
    unsafe { kernel.run::<Avx512>() }
}

/// Eight numbers in a 256-bit register.
#[derive(Clone, Copy, Debug)]
pub struct Avx2(pub __m256);

/// Sixteen numbers in a 512-bit register.
#[derive(Clone, Copy, Debug)]
pub struct Avx512(pub __m512);

/// The methods of [`Simd`] as one intrinsic each. `$wide` widens 16-bit lanes by shifting (bfloat16), `$half` by conversion.
macro_rules! simd {
    ($name:ident, $lanes:literal, $splat:ident, $load:ident, $store:ident, $fma:ident, $mul:ident,
     $add:ident, $div:ident, $max:ident, $min:ident,
     round: $r:ident => $round:expr, power: $p:ident, $n:ident => $power:expr, largest: $l:ident => $largest:expr,
     i8: $from8:ident => $i8:expr, bf16: $from:ident => $bf16:expr, f16: $from16:ident => $f16:expr, sum: $v:ident => $sum:expr) => {
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
            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: as the implementation's.
                Self(unsafe { $add(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn div(self, b: Self) -> Self {
                // SAFETY: as the implementation's.
                Self(unsafe { $div(self.0, b.0) })
            }
            #[inline(always)]
            unsafe fn max(self, b: Self) -> Self {
                // SAFETY: as the implementation's. The instruction gives its second operand where one is not a number.
                Self(unsafe { $max(b.0, self.0) })
            }
            #[inline(always)]
            unsafe fn min(self, b: Self) -> Self {
                // SAFETY: as the implementation's. The instruction gives its second operand where one is not a number.
                Self(unsafe { $min(b.0, self.0) })
            }
            #[inline(always)]
            unsafe fn round(self) -> Self {
                let $r = self.0;
                // SAFETY: as the implementation's.
                Self(unsafe { $round })
            }
            #[inline(always)]
            unsafe fn scale_by_power(self, n: Self) -> Self {
                let ($p, $n) = (self.0, n.0);
                // SAFETY: as the implementation's.
                Self(unsafe { $power })
            }
            #[inline(always)]
            unsafe fn largest(self) -> f32 {
                let $l = self.0;
                // SAFETY: as the implementation's.
                unsafe { $largest }
            }
            #[inline(always)]
            unsafe fn load_i8($from8: *const i8) -> Self {
                // SAFETY: as the implementation's.
                Self(unsafe { $i8 })
            }
        }
    };
}

simd!(Avx2, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps, _mm256_mul_ps,
_mm256_add_ps, _mm256_div_ps, _mm256_max_ps, _mm256_min_ps,
round: v => _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v),
power: v, n => {
    // Two steps, each within the exponents of normal numbers, of which the first is exact.
    let n = _mm256_cvtps_epi32(n);
    let half = _mm256_srai_epi32::<1>(n);
    let bias = _mm256_set1_epi32(127);
    let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
    let second = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias));
    _mm256_mul_ps(_mm256_mul_ps(v, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second))
},
largest: v => {
    // A lane that is not a number gives way to minus infinity.
    let v = _mm256_max_ps(v, _mm256_set1_ps(f32::NEG_INFINITY));
    let half = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
    let quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
    _mm_cvtss_f32(_mm_max_ss(quarter, _mm_movehdup_ps(quarter)))
},
i8: from => _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast()))),
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
    _mm512_add_ps, _mm512_div_ps, _mm512_max_ps, _mm512_min_ps,
    round: v => _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v),
    power: v, n => _mm512_scalef_ps(v, n),
    largest: v => _mm512_reduce_max_ps(_mm512_max_ps(v, _mm512_set1_ps(f32::NEG_INFINITY))),
    i8: from => _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast()))),
    bf16: from => {
        let wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast()));
        _mm512_castsi512_ps(_mm512_slli_epi32::<16>(wide))
    },
    f16: from => _mm512_cvtph_ps(_mm256_loadu_si256(from.cast())),
    sum: v => _mm512_reduce_add_ps(v));
