//! NEON, which every AArch64 has: vectors of four lanes, and 32 registers of them.
use super::{Kernel, Simd, bf16, f16};
use std::arch::aarch64::*;
use std::arch::asm;

#[target_feature(enable = "neon")]
pub(super) unsafe fn run_neon(kernel: impl Kernel) {
    // SAFETY: the feature is this function's own.
    unsafe { kernel.run::<Neon>() }
}

/// Four numbers.
#[derive(Clone, Copy, Debug)]
pub struct Neon(pub float32x4_t);

// SAFETY: used only inside `run_neon`, which has the feature; pointers are the caller's promise.
unsafe impl Simd for Neon {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vdupq_n_f32(value) })
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vld1q_f32(from) })
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> Self {
        // SAFETY: as the implementation's. A bfloat16 is the upper half of an f32.
        Self(unsafe { vreinterpretq_f32_u32(vshll_n_u16::<16>(vld1_u16(from.cast()))) })
    }
    #[inline(always)]
    unsafe fn load_f16(from: *const f16) -> Self {
        let wide: float32x4_t;
        // SAFETY: as the implementation's. The intrinsic for this instruction, part of every AArch64, is not stable.
        unsafe {
            asm!(
                "fcvtl {wide:v}.4s, {half:v}.4h",
                wide = out(vreg) wide,
                half = in(vreg) vld1_u16(from.cast()),
                options(pure, nomem, nostack, preserves_flags),
            );
        }
        Self(wide)
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as the implementation's.
        unsafe { vst1q_f32(to, self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vfmaq_f32(c.0, self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn mul(self, b: Self) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vmulq_f32(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        // SAFETY: as the implementation's.
        unsafe { vaddvq_f32(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vaddq_f32(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vdivq_f32(self.0, b.0) })
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        // SAFETY: as the implementation's. No comparison holds for what is not a number, so `self` is kept; FMAX would take either.
        Self(unsafe { vbslq_f32(vcgtq_f32(b.0, self.0), b.0, self.0) })
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        // SAFETY: as above.
        Self(unsafe { vbslq_f32(vcltq_f32(b.0, self.0), b.0, self.0) })
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // SAFETY: as the implementation's.
        Self(unsafe { vrndnq_f32(self.0) })
    }
    #[inline(always)]
    unsafe fn scale_by_power(self, n: Self) -> Self {
        // SAFETY: as the implementation's. Two steps, each within the exponents of normal numbers, of which the first is exact.
        unsafe {
            let n = vcvtq_s32_f32(n.0);
            let half = vshrq_n_s32::<1>(n);
            let bias = vdupq_n_s32(127);
            let power = |n| vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, bias)));
            let first = vmulq_f32(self.0, power(half));
            Self(vmulq_f32(first, power(vsubq_s32(n, half))))
        }
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        // SAFETY: as the implementation's. FMAXNM takes the number where the other is none.
        unsafe { vmaxnmvq_f32(vmaxnmq_f32(self.0, vdupq_n_f32(f32::NEG_INFINITY))) }
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: as the implementation's; four bytes are read.
        unsafe {
            let bytes = vcreate_s8(u64::from(from.cast::<u32>().read_unaligned()));
            let words = vmovl_s16(vget_low_s16(vmovl_s8(bytes)));
            Self(vcvtq_f32_s32(words))
        }
    }
}
