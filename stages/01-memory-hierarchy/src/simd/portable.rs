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
    #[inline(always)]
    unsafe fn add(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + b.0[i]))
    }
    #[inline(always)]
    unsafe fn div(self, b: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] / b.0[i]))
    }
    #[inline(always)]
    unsafe fn max(self, b: Self) -> Self {
        let larger = |a: f32, b: f32| if b > a { b } else { a };
        Self(std::array::from_fn(|i| larger(self.0[i], b.0[i])))
    }
    #[inline(always)]
    unsafe fn min(self, b: Self) -> Self {
        let smaller = |a: f32, b: f32| if b < a { b } else { a };
        Self(std::array::from_fn(|i| smaller(self.0[i], b.0[i])))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        // Adding 1.5 * 2^23 leaves no bit for a fraction; larger numbers have none.
        const SHIFT: f32 = 12_582_912.0;
        let round = |x: f32| {
            if x.abs() < 4_194_304.0 {
                (x + SHIFT) - SHIFT
            } else {
                x
            }
        };
        Self(std::array::from_fn(|i| round(self.0[i])))
    }
    #[inline(always)]
    unsafe fn scale_by_power(self, n: Self) -> Self {
        // Two steps, each within the exponents of normal numbers, of which the first is exact.
        let power = |n: i32| f32::from_bits(((n + 127) << 23) as u32);
        Self(std::array::from_fn(|i| {
            let n = n.0[i] as i32;
            self.0[i] * power(n >> 1) * power(n - (n >> 1))
        }))
    }
    #[inline(always)]
    unsafe fn largest(self) -> f32 {
        self.0.into_iter().fold(f32::NEG_INFINITY, f32::max)
    }
    #[inline(always)]
    unsafe fn load_i8(from: *const i8) -> Self {
        // SAFETY: valid for 8 elements.
        Self(std::array::from_fn(|i| f32::from(unsafe { *from.add(i) })))
    }
}
