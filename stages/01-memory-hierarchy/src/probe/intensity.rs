//! Operations for each byte, from few to many: the same data read once, and more arithmetic done to it.
//!
//! Each element passes through `DEPTH` fused multiply-adds, the last of which adds it to a sum, so the intensity is `2 * DEPTH / 4`
//! operations a byte. At low depth the rate
//! is that of the memory, at high depth that of the arithmetic units, and between them the roof bends: the roofline, measured.
//! The invariant: every element is read once a pass and takes part in the result.

use super::fastest;
use crate::simd::{Isa, Kernel, Simd};
use std::hint::black_box;
use std::time::Duration;

/// FMAs for each element that are compiled.
pub const DEPTHS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];

/// FLOP/byte of that many FMAs for each f32.
pub fn flops_a_byte(depth: usize) -> f64 {
    2.0 * depth as f64 / size_of::<f32>() as f64
}

/// GFLOP/s of one core with `depth` FMAs for each element of `data`, of which there are at least a few thousand.
///
/// # Panics
/// If `depth` is none of [`DEPTHS`].
pub fn gflops(isa: Isa, depth: usize, data: &[f32], budget: Duration) -> f64 {
    let passes = (1usize << 16).div_ceil(data.len().max(1));
    let ns = fastest(budget, || {
        for _ in 0..passes {
            black_box(polynomial(isa, depth, black_box(data)));
        }
    });
    (2 * depth * data.len() * passes) as f64 / ns
}

/// The sum over all elements `x` of `x/2 + 1/2`, applied `depth - 1` times over.
///
/// # Panics
/// If `depth` is none of [`DEPTHS`].
pub fn polynomial(isa: Isa, depth: usize, data: &[f32]) -> f32 {
    let mut result = f32::NAN;
    macro_rules! dispatch {
        ($($depth:literal)*) => {
            match depth {
                $($depth => isa.run(Horner::<$depth>(data, &mut result)),)*
                _ => panic!("no loop of depth {depth} is compiled"),
            }
        };
    }
    dispatch!(1 2 4 8 16 32 64 128);
    result
}

/// Vectors in work at once, as many as fill the pipeline.
const CHAINS: usize = 8;

struct Horner<'a, const DEPTH: usize>(&'a [f32], &'a mut f32);

impl<const DEPTH: usize> Kernel for Horner<'_, DEPTH> {
    #[inline(always)]
    unsafe fn run<S: Simd>(self) {
        let chunks = self.0.chunks_exact(CHAINS * S::LANES);
        let step = |x: f32| x * 0.5 + 0.5;
        let rest = chunks.remainder().iter();
        let rest: f32 = rest.map(|&x| (1..DEPTH).fold(x, |x, _| step(x))).sum();
        // SAFETY: `Isa::run` has made sure of the instructions, and each chunk has CHAINS vectors.
        unsafe {
            let (half, one) = (S::splat(black_box(0.5)), S::splat(black_box(1.0)));
            let mut sums = [S::splat(0.0); CHAINS];
            for chunk in chunks {
                let mut x = sums;
                for (i, x) in x.iter_mut().enumerate() {
                    *x = S::load(chunk.as_ptr().add(i * S::LANES));
                }
                for _ in 1..DEPTH {
                    for x in &mut x {
                        *x = x.mul_add(half, half);
                    }
                }
                for (sum, x) in sums.iter_mut().zip(x) {
                    *sum = x.mul_add(one, *sum);
                }
            }
            *self.1 = sums.iter().map(|sum| sum.sum()).sum::<f32>() + rest;
        }
    }
}
