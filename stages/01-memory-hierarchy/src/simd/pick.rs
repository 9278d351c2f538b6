//! Lanes chosen by bits: what sparse weights need of a vector, in which a few numbers stand for many places.
//!
//! There is no gather here: tried on the AMD Zen 4 on which this was written, it was no faster than loads one after the other.

use super::Simd;
use super::portable::Lanes;
#[cfg(target_arch = "x86_64")]
use super::x86::{Avx2, Avx512};
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Choosing lanes.
///
/// # Safety
/// As for [`Simd`]; what a method reads beyond a vector's lanes it says itself.
#[allow(clippy::missing_safety_doc)] // the trait says it for all
pub unsafe trait Pick: Sized {
    /// Lane `i` is 0 where bit `i` of `mask` is clear, and the next number at `from` where it is set. The pointer must be valid for
    /// all lanes however few bits are set; bits past the lanes must be clear.
    unsafe fn expand(mask: u32, from: *const f32) -> Self;
    /// Two of every four columns. `low` and `high` hold the columns from 0 to twice the lanes; lane `2 g + i` is column
    /// `4 g + p`, where `p` is the two bits of `positions` from `2 (2 g + i)` on.
    unsafe fn two_of_four(low: Self, high: Self, positions: u32) -> Self;
}

// SAFETY: no special instruction is used; pointers are the caller's promise.
unsafe impl Pick for Lanes {
    #[inline(always)]
    unsafe fn expand(mask: u32, from: *const f32) -> Self {
        let mut next = 0;
        Self(std::array::from_fn(|i| {
            let set = mask >> i & 1 == 1;
            // SAFETY: at most as many as there are lanes.
            let value = if set { unsafe { *from.add(next) } } else { 0.0 };
            next += usize::from(set);
            value
        }))
    }
    #[inline(always)]
    unsafe fn two_of_four(low: Self, high: Self, positions: u32) -> Self {
        Self(std::array::from_fn(|i| {
            let column = 4 * (i / 2) + (positions >> (2 * i) & 3) as usize;
            let half = if column < Self::LANES { low } else { high };
            half.0[column % Self::LANES]
        }))
    }
}

/// For each mask of eight lanes the place of every lane among the packed numbers, a byte each; the top bit where the lane is 0.
#[cfg(target_arch = "x86_64")]
static PLACES: [u64; 256] = {
    let mut table = [0; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < 8 {
            let set = mask >> lane & 1 == 1;
            table[mask] |= (if set { next } else { 0x80 }) << (8 * lane);
            next += set as u64;
            lane += 1;
        }
        mask += 1;
    }
    table
};

// SAFETY: used only where `Isa::run` made sure of the features; pointers are the caller's promise.
#[cfg(target_arch = "x86_64")]
unsafe impl Pick for Avx2 {
    #[inline(always)]
    unsafe fn expand(mask: u32, from: *const f32) -> Self {
        // SAFETY: as the implementation's; the entry is eight bytes.
        unsafe {
            let places = _mm_loadl_epi64(PLACES[(mask & 255) as usize..].as_ptr().cast());
            let places = _mm256_cvtepi8_epi32(places);
            let packed = _mm256_permutevar8x32_ps(_mm256_loadu_ps(from), places);
            // A lane that is 0 has its sign bit set.
            let zero = _mm256_castsi256_ps(places);
            Self(_mm256_blendv_ps(packed, _mm256_setzero_ps(), zero))
        }
    }
    #[inline(always)]
    unsafe fn two_of_four(low: Self, high: Self, positions: u32) -> Self {
        // SAFETY: as the implementation's.
        unsafe {
            // Each 128-bit lane of the result takes from two groups, so put the first of the two in one register and the second in
            // another. `vpermilps` then looks at two bits of each control lane, which are the position.
            let even = _mm256_permute2f128_ps::<0x20>(low.0, high.0);
            let odd = _mm256_permute2f128_ps::<0x31>(low.0, high.0);
            let shifts = _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14);
            let control = _mm256_srlv_epi32(_mm256_set1_epi32(positions as i32), shifts);
            let even = _mm256_permutevar_ps(even, control);
            let odd = _mm256_permutevar_ps(odd, control);
            Self(_mm256_blend_ps::<0b1100_1100>(even, odd))
        }
    }
}

// SAFETY: as above.
#[cfg(target_arch = "x86_64")]
unsafe impl Pick for Avx512 {
    #[inline(always)]
    unsafe fn expand(mask: u32, from: *const f32) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { _mm512_maskz_expand_ps(mask as u16, _mm512_loadu_ps(from)) })
    }
    #[inline(always)]
    unsafe fn two_of_four(low: Self, high: Self, positions: u32) -> Self {
        // SAFETY: as the implementation's.
        unsafe {
            let shifts =
                _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let groups =
                _mm512_setr_epi32(0, 0, 4, 4, 8, 8, 12, 12, 16, 16, 20, 20, 24, 24, 28, 28);
            let shifted = _mm512_srlv_epi32(_mm512_set1_epi32(positions as i32), shifts);
            // groups | (shifted & 3), in one instruction.
            let columns = _mm512_ternarylogic_epi32::<0xF8>(groups, shifted, _mm512_set1_epi32(3));
            Self(_mm512_permutex2var_ps(low.0, columns, high.0))
        }
    }
}

// SAFETY: `store` and `load` are the type's own; pointers are the caller's promise.
#[cfg(target_arch = "aarch64")]
unsafe impl Pick for super::neon::Neon {
    #[inline(always)]
    unsafe fn expand(mask: u32, from: *const f32) -> Self {
        let mut lanes = [0.0f32; 4];
        let mut next = 0;
        for (i, lane) in lanes.iter_mut().enumerate() {
            if mask >> i & 1 == 1 {
                // SAFETY: at most as many as there are lanes.
                *lane = unsafe { *from.add(next) };
                next += 1;
            }
        }
        // SAFETY: four lanes.
        unsafe { Self::load(lanes.as_ptr()) }
    }
    #[inline(always)]
    unsafe fn two_of_four(low: Self, high: Self, positions: u32) -> Self {
        let (mut columns, mut lanes) = ([0.0f32; 8], [0.0f32; 4]);
        // SAFETY: four lanes each.
        unsafe {
            low.store(columns.as_mut_ptr());
            high.store(columns.as_mut_ptr().add(4));
        }
        for (i, lane) in lanes.iter_mut().enumerate() {
            *lane = columns[4 * (i / 2) + (positions >> (2 * i) & 3) as usize];
        }
        // SAFETY: four lanes.
        unsafe { Self::load(lanes.as_ptr()) }
    }
}
