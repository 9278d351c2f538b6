//! Eight lanes in an array, which a compiler may or may not vectorise.
use super::{Simd, bf16, f16};

/// Eight numbers.
#[derive(Clone, Copy, Debug)]
pub struct Lanes(pub [f32; 8]);

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
