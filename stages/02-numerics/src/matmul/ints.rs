//! Vectors of 8-bit integers, four to a 32-bit lane, and the choice of instruction set at run time.
//!
//! The one operation that matters: multiply unsigned bytes (weights) with signed ones (activations) and add the four products of a lane to
//! its 32-bit sum. With VNNI it is one instruction, in portable code a loop. With AVX2 it is four, and two for weights of 4 bits: their
//! products are so small that sums of pairs stay in 16 bits for a whole block, and are widened once.

use memory_hierarchy::simd::{Simd, portable};

/// One instruction set's vector of `LANES` times four bytes.
///
/// # Safety
/// Every method may use instructions that only [`IntIsa::run`] has made sure of, and pointers must be valid for what is read.
#[allow(clippy::missing_safety_doc)] // said above for all
pub(super) unsafe trait Ints: Copy {
    /// The vector of as many f32.
    type Floats: Simd;
    /// Lanes.
    const LANES: usize = Self::Floats::LANES;
    /// All lanes equal.
    unsafe fn splat(value: i32) -> Self;
    /// Reads `4 * LANES` bytes.
    unsafe fn load(from: *const u8) -> Self;
    /// Reads four bytes into every lane.
    unsafe fn broadcast(from: *const i8) -> Self;
    /// The low halves of all bytes.
    unsafe fn low_halves(self) -> Self;
    /// The high halves of all bytes.
    unsafe fn high_halves(self) -> Self;
    /// Where the sum of a block's [`dot_halves`](Self::dot_halves) begins, for a sum that begins at `begin`.
    unsafe fn begin_halves(begin: i32) -> Self;
    /// `sum + a[0] b[0] + … + a[3] b[3]` in every lane, `a` within 0 to 15, in a form of its own; a block's eight times at most.
    unsafe fn dot_halves(sum: Self, a: Self, b: Self) -> Self;
    /// The sum in 32 bits, which began at `begin`.
    unsafe fn end_halves(sum: Self, begin: i32) -> Self;
    /// `sum + a[0] b[0] + … + a[3] b[3]` in every lane for `a` of which 128 is taken first: it stands for -127 to 127.
    unsafe fn dot_offset_128(sum: Self, a: Self, b: Self) -> Self;
    /// Where the sum of [`dot_offset_128`](Self::dot_offset_128) begins, for activations whose sum is `sum`: the place to take 128 times
    /// them off where the instruction cannot.
    fn begin_128(sum: i32) -> i32;
    /// Lanes as numbers.
    unsafe fn to_floats(self) -> Self::Floats;
}

/// A computation that runs on any instruction set.
pub(super) trait IntKernel {
    /// Does it.
    ///
    /// # Safety
    /// Called by [`IntIsa::run`] alone, which has made sure that the CPU has what `I` uses.
    unsafe fn run<I: Ints>(self);
}

/// Instruction sets that integer products are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IntIsa {
    /// Any CPU.
    Portable,
    /// AVX2.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    Vnni,
}

impl IntIsa {
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
            if avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni")
            {
                found.push(Self::Vnni);
            }
            if avx2 {
                found.push(Self::Avx2);
            }
        }
        found.push(Self::Portable);
        found
    }

    /// Runs a kernel on this instruction set.
    pub(super) fn run(self, kernel: impl IntKernel) {
        match self {
            // SAFETY: portable code needs nothing.
            Self::Portable => unsafe { kernel.run::<Bytes>() },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a value of this variant comes from `available`, which looked.
            Self::Avx2 => unsafe { x86::run_avx2(kernel) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Self::Vnni => unsafe { x86::run_vnni(kernel) },
        }
    }
}

/// Eight lanes in an array. Bytes lie in a lane in the machine's own order of a little-endian integer.
#[derive(Clone, Copy)]
struct Bytes([i32; 8]);

impl Bytes {
    #[inline(always)]
    fn dot(sum: Self, a: Self, b: Self, offset: i32) -> Self {
        Self(std::array::from_fn(|lane| {
            let (a, b) = (a.0[lane].to_le_bytes(), b.0[lane].to_le_bytes());
            (0..4).fold(sum.0[lane], |sum, i| {
                sum + (i32::from(a[i]) - offset) * i32::from(b[i] as i8)
            })
        }))
    }
}

// SAFETY: no special instruction is used; pointers are the caller's promise.
unsafe impl Ints for Bytes {
    type Floats = portable::Lanes;
    #[inline(always)]
    unsafe fn splat(value: i32) -> Self {
        Self([value; 8])
    }
    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        // SAFETY: valid for 32 bytes.
        Self(std::array::from_fn(|i| unsafe {
            i32::from_le(from.cast::<i32>().add(i).read_unaligned())
        }))
    }
    #[inline(always)]
    unsafe fn broadcast(from: *const i8) -> Self {
        // SAFETY: valid for 4 bytes.
        Self([i32::from_le(unsafe { from.cast::<i32>().read_unaligned() }); 8])
    }
    #[inline(always)]
    unsafe fn low_halves(self) -> Self {
        Self(self.0.map(|lane| lane & 0x0f0f_0f0f))
    }
    #[inline(always)]
    unsafe fn high_halves(self) -> Self {
        Self(self.0.map(|lane| (lane >> 4) & 0x0f0f_0f0f))
    }
    #[inline(always)]
    unsafe fn begin_halves(begin: i32) -> Self {
        Self([begin; 8])
    }
    #[inline(always)]
    unsafe fn dot_halves(sum: Self, a: Self, b: Self) -> Self {
        Self::dot(sum, a, b, 0)
    }
    #[inline(always)]
    unsafe fn end_halves(sum: Self, _begin: i32) -> Self {
        sum
    }
    #[inline(always)]
    unsafe fn dot_offset_128(sum: Self, a: Self, b: Self) -> Self {
        Self::dot(sum, a, b, 128)
    }
    #[inline(always)]
    fn begin_128(_sum: i32) -> i32 {
        0
    }
    #[inline(always)]
    unsafe fn to_floats(self) -> portable::Lanes {
        portable::Lanes(self.0.map(|lane| lane as f32))
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{IntKernel, Ints};
    use memory_hierarchy::simd::x86::{Avx2, Avx512};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) unsafe fn run_avx2(kernel: impl IntKernel) {
        // SAFETY: the features are this function's own.
        unsafe { kernel.run::<Bytes256>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma,f16c")]
    pub(super) unsafe fn run_vnni(kernel: impl IntKernel) {
        // SAFETY: the features are this function's own.
        unsafe { kernel.run::<Bytes512>() }
    }

    #[derive(Clone, Copy)]
    struct Bytes256(__m256i);

    // SAFETY: used only inside `run_avx2`, which has the features; pointers are the caller's promise.
    unsafe impl Ints for Bytes256 {
        type Floats = Avx2;
        #[inline(always)]
        unsafe fn splat(value: i32) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm256_set1_epi32(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm256_loadu_si256(from.cast()) })
        }
        #[inline(always)]
        unsafe fn broadcast(from: *const i8) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm256_set1_epi32(from.cast::<i32>().read_unaligned()) })
        }
        #[inline(always)]
        unsafe fn low_halves(self) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm256_and_si256(self.0, _mm256_set1_epi8(15)) })
        }
        #[inline(always)]
        unsafe fn high_halves(self) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm256_and_si256(_mm256_srli_epi16::<4>(self.0), _mm256_set1_epi8(15)) })
        }
        #[inline(always)]
        unsafe fn begin_halves(_begin: i32) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm256_setzero_si256() })
        }
        #[inline(always)]
        unsafe fn dot_halves(sum: Self, a: Self, b: Self) -> Self {
            // SAFETY: as the implementation's. Sixteen products of 15 by 127 fit 16 bits.
            Self(unsafe { _mm256_add_epi16(sum.0, _mm256_maddubs_epi16(a.0, b.0)) })
        }
        #[inline(always)]
        unsafe fn end_halves(sum: Self, begin: i32) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe {
                let sum = _mm256_madd_epi16(sum.0, _mm256_set1_epi16(1));
                _mm256_add_epi32(sum, _mm256_set1_epi32(begin))
            })
        }
        #[inline(always)]
        unsafe fn dot_offset_128(sum: Self, a: Self, b: Self) -> Self {
            // The instruction wants one unsigned factor, and 255 by 127 twice overflows its 16 bits: the weight's sign goes over to
            // the activation.
            // SAFETY: as the implementation's.
            Self(unsafe {
                let a = _mm256_xor_si256(a.0, _mm256_set1_epi8(-128));
                let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(a), _mm256_sign_epi8(b.0, a));
                _mm256_add_epi32(sum.0, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
            })
        }
        #[inline(always)]
        fn begin_128(_sum: i32) -> i32 {
            0
        }
        #[inline(always)]
        unsafe fn to_floats(self) -> Avx2 {
            // SAFETY: as the implementation's.
            Avx2(unsafe { _mm256_cvtepi32_ps(self.0) })
        }
    }

    #[derive(Clone, Copy)]
    struct Bytes512(__m512i);

    // SAFETY: used only inside `run_vnni`, which has the features; pointers are the caller's promise.
    unsafe impl Ints for Bytes512 {
        type Floats = Avx512;
        #[inline(always)]
        unsafe fn splat(value: i32) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_set1_epi32(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const u8) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_loadu_si512(from.cast()) })
        }
        #[inline(always)]
        unsafe fn broadcast(from: *const i8) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_set1_epi32(from.cast::<i32>().read_unaligned()) })
        }
        #[inline(always)]
        unsafe fn low_halves(self) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_and_si512(self.0, _mm512_set1_epi8(15)) })
        }
        #[inline(always)]
        unsafe fn high_halves(self) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_and_si512(_mm512_srli_epi16::<4>(self.0), _mm512_set1_epi8(15)) })
        }
        #[inline(always)]
        unsafe fn begin_halves(begin: i32) -> Self {
            // SAFETY: as the implementation's.
            unsafe { Self::splat(begin) }
        }
        #[inline(always)]
        unsafe fn dot_halves(sum: Self, a: Self, b: Self) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_dpbusd_epi32(sum.0, a.0, b.0) })
        }
        #[inline(always)]
        unsafe fn end_halves(sum: Self, _begin: i32) -> Self {
            sum
        }
        #[inline(always)]
        unsafe fn dot_offset_128(sum: Self, a: Self, b: Self) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_dpbusd_epi32(sum.0, a.0, b.0) })
        }
        #[inline(always)]
        fn begin_128(sum: i32) -> i32 {
            -128 * sum
        }
        #[inline(always)]
        unsafe fn to_floats(self) -> Avx512 {
            // SAFETY: as the implementation's.
            Avx512(unsafe { _mm512_cvtepi32_ps(self.0) })
        }
    }
}
