//! What the arithmetic units can do: fused multiply-adds on registers, with no memory in sight.
//!
//! An FMA takes some four cycles and one or two start in each, so a chain in which each waits for the last runs at a fraction of the peak.
//! Independent chains fill the gaps: as many as latency times rate. The invariant: the loop holds nothing but `CHAINS` such instructions
//! and its counter, its operands are unknown to the compiler, and its results are used.

use super::fastest;
use crate::simd::{Isa, Kernel, Simd};
use std::hint::black_box;
use std::time::Duration;

/// Instructions in each chain between two looks at the clock: tens of microseconds.
const ROUNDS: usize = 8_192;

/// Numbers of chains that are compiled. More than 12 and their operands do not fit the 16 registers of AVX2.
pub const CHAINS: [usize; 5] = [1, 2, 4, 8, 12];

/// One instruction that multiplies and adds, and how fast it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Peak {
    /// Element type of the factors: `f32`, `bf16` or `int8`.
    pub dtype: &'static str,
    /// Instruction set.
    pub isa: &'static str,
    /// Multiplications and additions, each counted, in a ns: GFLOP/s, or GOP/s for integers.
    pub gflops: f64,
}

/// GFLOP/s of one core in f32 on an instruction set, as many chains as serve best. Takes a tenth of a second.
pub fn fma_peak(isa: Isa) -> f64 {
    let budget = Duration::from_millis(25);
    [4, 8, 12]
        .map(|chains| fma_rate(isa, chains, budget))
        .into_iter()
        .fold(0.0, f64::max)
}

/// GFLOP/s of `chains` independent chains of f32 FMAs on one core.
///
/// # Panics
/// If `chains` is none of [`CHAINS`].
pub fn fma_rate(isa: Isa, chains: usize, budget: Duration) -> f64 {
    let ns = fastest(budget, || match chains {
        1 => fma::<1>(isa),
        2 => fma::<2>(isa),
        4 => fma::<4>(isa),
        8 => fma::<8>(isa),
        12 => fma::<12>(isa),
        _ => panic!("no loop of {chains} chains is compiled"),
    });
    (2 * isa.lanes() * chains * ROUNDS) as f64 / ns
}

fn fma<const CHAINS: usize>(isa: Isa) {
    struct Chains<const CHAINS: usize>;
    impl<const CHAINS: usize> Kernel for Chains<CHAINS> {
        #[inline(always)]
        unsafe fn run<S: Simd>(self) {
            // SAFETY: `Isa::run` has made sure of the instructions.
            unsafe {
                // x = 0.5 x + 0.5 tends to 1: neither infinite nor denormal, both of which may be slow.
                let half = S::splat(black_box(0.5));
                let mut chains: [S; CHAINS] =
                    std::array::from_fn(|i| S::splat(black_box(i as f32)));
                for _ in 0..ROUNDS {
                    for chain in &mut chains {
                        *chain = chain.mul_add(half, half);
                    }
                }
                black_box(chains.map(|chain| chain.sum()));
            }
        }
    }
    isa.run(Chains::<CHAINS>);
}

/// The peaks of one core on all instruction sets and element types that it has. Takes half a second.
pub fn peaks() -> Vec<Peak> {
    let peaks = Isa::available().into_iter().map(|isa| Peak {
        dtype: "f32",
        isa: isa.name(),
        gflops: fma_peak(isa),
    });
    #[cfg(target_arch = "x86_64")]
    let peaks = peaks.chain(x86::dots());
    peaks.collect()
}

/// Products of short types summed in 32 bits: one instruction multiplies two or four pairs for each lane.
#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Peak, ROUNDS};
    use crate::probe::fastest;
    use std::arch::x86_64::*;
    use std::hint::black_box;
    use std::time::Duration;

    /// Enough for a latency of five cycles at two instructions a cycle.
    const CHAINS: usize = 12;

    macro_rules! chains {
        ($name:ident, $features:literal, $zero:expr, $factor:expr, $dot:expr) => {
            #[target_feature(enable = $features)]
            fn $name() {
                let factor = black_box($factor);
                let mut chains = [black_box($zero); CHAINS];
                for _ in 0..ROUNDS {
                    for chain in &mut chains {
                        *chain = $dot(*chain, factor, factor);
                    }
                }
                black_box(chains);
            }
        };
    }

    chains!(
        bf16,
        "avx512f,avx512bf16",
        _mm512_setzero_ps(),
        // Each lane of 32 bits holds two bfloat16 of 2^-10 (0x3a80): sums stay finite.
        _mm512_set1_epi32(0x3a80_3a80),
        |sum, a, b| {
            // SAFETY: vectors of one size, for which any bits are values.
            let pairs = |it| unsafe { std::mem::transmute::<__m512i, __m512bh>(it) };
            _mm512_dpbf16_ps(sum, pairs(a), pairs(b))
        }
    );
    chains!(
        int8,
        "avx512f,avx512vnni",
        _mm512_setzero_si512(),
        _mm512_set1_epi8(1),
        |sum, a, b| _mm512_dpbusd_epi32(sum, a, b)
    );

    /// The peaks of the dot products that this CPU has.
    pub(super) fn dots() -> Vec<Peak> {
        let avx512 = is_x86_feature_detected!("avx512f");
        // 16 lanes, a multiplication and an addition for each pair.
        let rate = |pairs: usize, run: &dyn Fn()| {
            let ns = fastest(Duration::from_millis(50), run);
            (2 * 16 * pairs * CHAINS * ROUNDS) as f64 / ns
        };
        let mut peaks = Vec::new();
        if avx512 && is_x86_feature_detected!("avx512bf16") {
            peaks.push(Peak {
                dtype: "bf16",
                isa: "avx512bf16",
                // SAFETY: the CPU has the features.
                gflops: rate(2, &|| unsafe { bf16() }),
            });
        }
        if avx512 && is_x86_feature_detected!("avx512vnni") {
            peaks.push(Peak {
                dtype: "int8",
                isa: "avx512vnni",
                // SAFETY: the CPU has the features.
                gflops: rate(4, &|| unsafe { int8() }),
            });
        }
        peaks
    }
}

/// GHz at which the core runs now: cycles of a chain of additions, each of which waits one cycle for the last. The time stamp counter is
/// no help, since it ticks at one rate whatever the core does. `None` on an architecture for which the chain is not written.
pub fn clock_ghz(budget: Duration) -> Option<f64> {
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    {
        const CHAIN: usize = 64;
        let (mut sum, one) = (0u64, black_box(1u64));
        let ns = fastest(budget, || {
            for _ in 0..256 {
                // SAFETY: adds registers, and names both. Two registers: some cores fold the addition of a constant away.
                #[cfg(target_arch = "x86_64")]
                unsafe {
                    std::arch::asm!(".rept 64", "add {sum}, {one}", ".endr", sum = inout(reg) sum, one = in(reg) one, options(pure, nomem, nostack));
                }
                // SAFETY: as above.
                #[cfg(target_arch = "aarch64")]
                unsafe {
                    std::arch::asm!(".rept 64", "add {sum}, {sum}, {one}", ".endr", sum = inout(reg) sum, one = in(reg) one, options(pure, nomem, nostack));
                }
            }
            black_box(sum);
        });
        Some((CHAIN * 256) as f64 / ns)
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    {
        let _ = budget;
        None
    }
}
