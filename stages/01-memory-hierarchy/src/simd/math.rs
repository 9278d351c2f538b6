//! Elementary functions on vectors.
//!
//! The invariant: a lane's result depends on that lane alone and is the same on every instruction set with a fused multiply-add.

use super::Simd;

/// `exp(x)` to about 1e-7 of its value: subnormal below -87.3, 0 from about -104 on (minus infinity too), infinity above 88.73, and
/// not a number where `x` is none.
///
/// `exp(x) = 2^n exp(r)` with `n` the whole number nearest `x / ln 2`, so that `r` is at most `ln 2 / 2` in size. `ln 2` is taken off in
/// two parts, of which the first has so few bits that its product with `n` is exact (Cody and Waite, 1980). For `exp(r)`,
/// `(exp(r) - 1 - r) / r^2` is interpolated at Chebyshev nodes by a polynomial of degree 4, which is 1e-8 off at most; one less would be 4e-7.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub unsafe fn exp<S: Simd>(x: S) -> S {
    const LN_2_HIGH: f32 = 0.693_359_4; // 355 / 512
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    const COEFFICIENTS: [f32; 5] = [
        1.392_621_3e-3,
        8.363_203e-3,
        4.166_655_4e-2,
        0.166_665_77,
        0.5,
    ];
    // SAFETY: the caller's promise.
    unsafe {
        // Beyond these the result is 0 or infinity whatever x is, and 2^n can still be formed.
        let x = x.max(S::splat(-105.0)).min(S::splat(89.0));
        let n = x.mul(S::splat(std::f32::consts::LOG2_E)).round();
        let r = n.mul_add(S::splat(-LN_2_HIGH), x);
        let r = n.mul_add(S::splat(-LN_2_LOW), r);
        let mut tail = S::splat(COEFFICIENTS[0]);
        for coefficient in &COEFFICIENTS[1..] {
            tail = tail.mul_add(r, S::splat(*coefficient));
        }
        let one_and_r = r.add(S::splat(1.0));
        tail.mul(r).mul_add(r, one_and_r).scale_by_power(n)
    }
}

/// `x / (1 + exp(-y))`: `x` times the logistic function of `y`; SiLU where both are one.
///
/// # Safety
/// As for [`Simd`].
#[inline(always)]
pub unsafe fn logistic_gate<S: Simd>(x: S, y: S) -> S {
    // SAFETY: the caller's promise.
    unsafe { x.div(exp(y.mul(S::splat(-1.0))).add(S::splat(1.0))) }
}
