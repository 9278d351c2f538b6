//! Vectors of f32 lanes, and the choice of instruction set at run time.
//!
//! A kernel is written once over [`Simd`] and run by [`Isa::run`], which enters it through a function compiled for the chosen
//! instruction set; everything in a kernel is `inline(always)` so that it is compiled there too.

pub mod dot;
pub mod math;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod pick;
pub mod portable;
#[cfg(target_arch = "x86_64")]
pub mod x86;

use half::{bf16, f16};

/// One instruction set's vector of f32.
///
/// # Safety
/// Every method may use instructions that only [`Isa::run`] has made sure of, and pointers must be valid for
/// [`Simd::LANES`] elements.
#[allow(clippy::missing_safety_doc)] // the trait says it for all
pub unsafe trait Simd: Copy + pick::Pick {
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
    /// `self + b`.
    unsafe fn add(self, b: Self) -> Self;
    /// `self / b`.
    unsafe fn div(self, b: Self) -> Self;
    /// The larger of each pair; where `self` is not a number, that.
    unsafe fn max(self, b: Self) -> Self;
    /// The smaller of each pair; where `self` is not a number, that.
    unsafe fn min(self, b: Self) -> Self;
    /// To the nearest whole number, ties to even.
    unsafe fn round(self) -> Self;
    /// `self * 2^n` rounded once, for whole numbers `n` of at most 252 in size and `self` between 1/2 and 2.
    unsafe fn scale_by_power(self, n: Self) -> Self;
    /// The largest lane; what is not a number is passed over.
    unsafe fn largest(self) -> f32;
    /// Reads signed bytes, widened.
    unsafe fn load_i8(from: *const i8) -> Self;
}

/// A weight's element type.
pub trait Element: Copy + Send + Sync + Into<f32> {
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
element!(i8, 0, load_i8);

/// Asks for the cache line at an address, which may lie anywhere, to come to L1: a hint, that reads nothing.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64; faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: part of every AArch64; faults at no address.
    unsafe {
        std::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// [`prefetch`] to L2: it takes no place among the few lines that L1 waits for.
#[inline(always)]
pub fn prefetch_to_l2<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64; faults at no address.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T1>(address.cast());
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: part of every AArch64; faults at no address.
    unsafe {
        std::arch::asm!("prfm pldl2keep, [{}]", in(reg) address, options(nostack, readonly, preserves_flags));
    }
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    let _ = address;
}

/// A computation that runs on any instruction set.
pub trait Kernel {
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
    /// NEON, which every AArch64 has.
    #[cfg(target_arch = "aarch64")]
    Neon,
}

impl Isa {
    /// The best that this CPU has.
    pub fn detect() -> Self {
        Self::available()[0]
    }

    /// What it is called in options and records.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
        }
    }

    /// All that this CPU has, best first.
    pub fn available() -> Vec<Self> {
        let mut found = Vec::new();
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("fma")
                && is_x86_feature_detected!("f16c")
                && is_x86_feature_detected!("popcnt");
            if avx2 && is_x86_feature_detected!("avx512f") {
                found.push(Self::Avx512);
            }
            if avx2 {
                found.push(Self::Avx2);
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found.push(Self::Portable);
        found
    }

    /// Lanes of its vectors.
    pub fn lanes(self) -> usize {
        match self {
            Self::Portable => portable::Lanes::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => x86::Avx2::LANES,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => x86::Avx512::LANES,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => neon::Neon::LANES,
        }
    }

    /// Runs a kernel on this instruction set.
    pub fn run(self, kernel: impl Kernel) {
        match self {
            // SAFETY: portable code needs nothing.
            Self::Portable => unsafe { kernel.run::<portable::Lanes>() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value of this variant comes from `available`, which looked.
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Avx512 => unsafe { x86::run_avx512(kernel) },
            #[cfg(target_arch = "aarch64")]
            // SAFETY: every AArch64 has it.
            Self::Neon => unsafe { neon::run_neon(kernel) },
        }
    }
}
