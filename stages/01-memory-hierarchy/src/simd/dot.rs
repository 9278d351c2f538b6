//! Dot products of narrow numbers: a lane of 32 bits holds four bytes or two bfloat16, and one instruction multiplies them all with
//! another lane's and adds the products to a sum of 32 bits. A vector register thus does four or two times the work of f32.
//!
//! - VPDPBUSD (AVX-512 VNNI): unsigned bytes of `x` by signed bytes of the weight, to i32.
//! - VDPBF16PS (AVX-512 BF16): pairs of bfloat16, to f32. Subnormals count as zero.
//! - TDPBUSD and TDPBF16PS (AMX): the same for 16 x 16 outputs at once, in `gemm/amx.rs`.
//!
//! The invariant: on any CPU the integer sums are the same; those of bfloat16 differ by rounding alone.

use half::bf16;
use std::marker::PhantomData;

/// Numbers of which several fit 32 bits.
pub trait Narrow: Copy + Send + Sync + 'static {
    /// In a word of 32 bits.
    const PER_WORD: usize;
    /// Whether sums are i32; f32 otherwise.
    const INTEGER: bool;
    /// Exclusive or of this makes a number of `x` what the instruction wants: 128 turns signed bytes into unsigned ones, larger by 128.
    const OFFSET: u16;
    /// The bits.
    fn bits(self) -> u16;
    /// `sum` and the products of the numbers in a word of `x` with those in a word of a weight, in plain code.
    fn dot(x: u32, w: u32, sum: u32) -> u32;
}

impl Narrow for i8 {
    const PER_WORD: usize = 4;
    const INTEGER: bool = true;
    const OFFSET: u16 = 0x80;
    #[inline(always)]
    fn bits(self) -> u16 {
        u16::from(self.cast_unsigned())
    }
    #[inline(always)]
    fn dot(x: u32, w: u32, sum: u32) -> u32 {
        let products = x.to_le_bytes().into_iter().zip(w.to_le_bytes());
        products.fold(sum, |sum, (x, w)| {
            // The byte of `x` is unsigned.
            sum.wrapping_add_signed(i32::from(x) * i32::from(w.cast_signed()))
        })
    }
}

impl Narrow for bf16 {
    const PER_WORD: usize = 2;
    const INTEGER: bool = false;
    const OFFSET: u16 = 0;
    #[inline(always)]
    fn bits(self) -> u16 {
        self.to_bits()
    }
    #[inline(always)]
    fn dot(x: u32, w: u32, sum: u32) -> u32 {
        let low = |word: u32| f32::from_bits(word << 16);
        let high = |word: u32| f32::from_bits(word & 0xffff_0000);
        let odd = high(x) * high(w) + f32::from_bits(sum);
        (low(x) * low(w) + odd).to_bits()
    }
}

/// Words in plain code.
#[derive(Clone, Copy)]
pub(crate) struct Words<N>(pub [f32; 8], pub PhantomData<N>);

/// Words in a register of AVX-512.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) struct Words512<N>(pub std::arch::x86_64::__m512, pub PhantomData<N>);

/// Where dot products of `N` are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DotIsa {
    /// Any CPU.
    Portable,
    /// AVX-512 VNNI for bytes, AVX-512 BF16 for bfloat16.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// Tiles, of bytes or bfloat16.
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl DotIsa {
    /// All that this CPU has for `N`, best first.
    pub fn available<N: Narrow>() -> Vec<Self> {
        let mut found = Vec::from(Self::ALL);
        found.retain(|isa| isa.computes::<N>());
        found
    }

    /// The best that this CPU has for `N`.
    pub fn detect<N: Narrow>() -> Self {
        Self::available::<N>()[0]
    }

    #[cfg(target_arch = "x86_64")]
    const ALL: [Self; 3] = [Self::Amx, Self::Avx512, Self::Portable];
    #[cfg(not(target_arch = "x86_64"))]
    const ALL: [Self; 1] = [Self::Portable];

    /// Whether this CPU has it for `N`.
    pub fn computes<N: Narrow>(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 if N::INTEGER => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Amx => crate::gemm::amx::available::<N>(),
        }
    }

    /// Words in a vector, or in the rows of two tiles.
    pub(crate) fn lanes(self) -> usize {
        match self {
            Self::Portable => 8,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Amx => 32,
        }
    }
}
