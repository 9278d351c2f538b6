//! Products of int8 with int8, summed in i32, and of bfloat16 with bfloat16, summed in f32.
//!
//! A word of 32 bits takes the place of an f32: `k` counts words, panels and packed rows hold words, and the tile, the blocks and the
//! threads are those of f32. Only the instruction differs ([`DotIsa`]), and does four or two times as much. That is also what this should
//! gain over f32: no more, since the FMA units are the limit there, and less where memory is.
//!
//! VPDPBUSD wants one factor unsigned. Rows of `x` are therefore shifted by 128 when they are packed; every sum is then too large by 128
//! times the sum of the weight's row, which is known when the weight is packed and is taken off at the end.
//!
//! Rows of f32 may also become bfloat16 while they are packed, which has to copy them anyway ([`multiply_rounded`]): so the engine
//! multiplies weights in bfloat16.
//!
//! The invariant: integer results are exact as long as they fit 32 bits, which they do up to `k` of 2^17; a result in bfloat16 is one sum in
//! ascending order, as those of f32 are, so that it does not depend on the other rows.

#[cfg(target_arch = "x86_64")]
use super::amx::{self, Amx};
use super::multiply::{Bias, Out, Rows, Source, Task, Work};
use super::panels::{NR, Panels, pack_panel};
use super::tile::Tile;
use crate::pool::Pool;
use crate::simd::Element;
use crate::simd::dot::{DotIsa, Narrow, Words};
use half::bf16;
use std::marker::PhantomData;

/// A weight of narrow numbers, packed once.
#[derive(Debug)]
pub struct NarrowPanels<N> {
    /// `[n / NR][words][NR]`; each word holds neighbours of a row.
    words: Panels<f32>,
    /// What each sum of shifted rows is off by, negated; empty for floating point.
    correction: Vec<i32>,
    k: usize,
    of: PhantomData<N>,
}

impl NarrowPanels<i8> {
    /// Packs a weight `[n, k]`, whose rows follow one another.
    ///
    /// # Panics
    /// If `weight` has another length than `n * k`.
    pub fn pack(weight: &[i8], n: usize, k: usize) -> Self {
        Self::from_rows(weight, n, k, offset_correction(weight, n, k))
    }
}

impl NarrowPanels<bf16> {
    /// Packs a weight `[n, k]`, whose rows follow one another.
    ///
    /// # Panics
    /// If `weight` has another length than `n * k`.
    pub fn pack(weight: &[bf16], n: usize, k: usize) -> Self {
        Self::from_rows(weight, n, k, Vec::new())
    }
}

impl<N: Narrow> NarrowPanels<N> {
    fn from_rows(weight: &[N], n: usize, k: usize, correction: Vec<i32>) -> Self {
        assert_eq!(weight.len(), n * k, "a weight of {n} rows of {k}");
        // Whole tiles of AMX.
        let len = k.div_ceil(N::PER_WORD).next_multiple_of(16);
        // The rows of a panel, as words.
        let mut words = vec![0.0; NR * len];
        let mut rows = weight.chunks((k * NR).max(1));
        let words = Panels::pack_each(n, len, |panel| {
            let rows = rows.next().unwrap_or(&[]).chunks_exact(k);
            let count = rows.len();
            for (to, row) in words.chunks_exact_mut(len).zip(rows) {
                to_words(to, row, 0);
            }
            pack_panel(panel, &words[..count * len], len);
        });
        Self {
            words,
            correction,
            k,
            of: PhantomData,
        }
    }

    /// Outputs: rows of the weight.
    pub fn n(&self) -> usize {
        self.words.n()
    }

    /// Inputs: numbers of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes that one pass over the weight reads.
    pub fn bytes(&self) -> usize {
        self.words.bytes()
    }
}

impl NarrowPanels<bf16> {
    /// Row `index` of the weight, widened: what an embedding looks up.
    ///
    /// # Panics
    /// If there is no such row, or `out` has another length than `k`.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(index < self.n() && out.len() == self.k);
        for (word, out) in out.chunks_mut(2).enumerate() {
            let bits = self.words.element(index, word).to_bits();
            for (out, bits) in out.iter_mut().zip([bits << 16, bits & 0xffff_0000]) {
                *out = f32::from_bits(bits);
            }
        }
    }
}

/// What to add to the sums of a row of `x` whose numbers were all made larger by 128: one number for each of the weight's `n` rows of `k`.
pub fn offset_correction(weight: &[i8], n: usize, k: usize) -> Vec<i32> {
    // ANCHOR: solve-offset-correction
    let rows = (0..n).map(|row| &weight[row * k..][..k]);
    rows.map(|row| -128 * row.iter().map(|w| i32::from(*w)).sum::<i32>())
        .collect()
    // ANCHOR_END: solve-offset-correction
}

/// `out[r, n] = sum_k x[r, k] * w[n, k]` in 32-bit integers. Rows of `x` and of `out` follow one another.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn multiply_i8(
    pool: &Pool,
    isa: DotIsa,
    out: &mut [i32],
    x: &[i8],
    rows: usize,
    weight: &NarrowPanels<i8>,
) {
    assert!(rows * weight.n() <= out.len(), "out is short");
    let correction = Some(Bias::I32(&weight.correction));
    let out = Out {
        start: out.as_mut_ptr().cast(),
        stride: weight.n(),
    };
    multiply_words(
        pool,
        isa,
        out,
        &Numbers::of(x, rows, weight),
        weight,
        correction,
    );
}

/// `out[r, n] = sum_k x[r, k] * w[n, k]` in f32. Rows of `x` and of `out` follow one another.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn multiply_bf16(
    pool: &Pool,
    isa: DotIsa,
    out: &mut [f32],
    x: &[bf16],
    rows: usize,
    weight: &NarrowPanels<bf16>,
) {
    assert!(rows * weight.n() <= out.len(), "out is short");
    let out = Out {
        start: out.as_mut_ptr(),
        stride: weight.n(),
    };
    multiply_words(pool, isa, out, &Numbers::of(x, rows, weight), weight, None);
}

/// [`multiply()`](super::multiply()) of `x` rounded to bfloat16, to the nearest, ties to even.
///
/// # Panics
/// If a slice is too short for its shape, or rows of `out` overlap.
pub fn multiply_rounded(
    pool: &Pool,
    isa: DotIsa,
    out: &mut [f32],
    out_stride: usize,
    x: Rows<'_>,
    weight: &NarrowPanels<bf16>,
    bias: Option<&[f32]>,
) {
    let (n, k) = (weight.n(), weight.k);
    if x.rows == 0 || n == 0 {
        return;
    }
    assert!((x.rows - 1) * out_stride + n <= out.len(), "out is short");
    assert!(x.rows == 1 || out_stride >= n, "rows of out overlap");
    x.check(k);
    let out = Out {
        start: out.as_mut_ptr(),
        stride: out_stride,
    };
    let x = Rounded { x, k, isa };
    multiply_words(pool, isa, out, &x, weight, bias.map(Bias::F32));
}

/// All products. The rows of `out` may be written.
fn multiply_words<N: Narrow>(
    pool: &Pool,
    isa: DotIsa,
    out: Out,
    x: &impl Source,
    weight: &NarrowPanels<N>,
    bias: Option<Bias<'_>>,
) {
    assert!(
        isa.computes::<N>(),
        "this CPU lacks {isa:?} for these numbers"
    );
    let weight = &weight.words;
    let work = Work { weight, bias, out };
    work.run(pool, x, isa.lanes(), |task| run::<N>(isa, task));
}

/// Rows `[rows, k]` of narrow numbers.
struct Numbers<'a, N> {
    x: &'a [N],
    k: usize,
    rows: usize,
}

impl<'a, N: Narrow> Numbers<'a, N> {
    fn of(x: &'a [N], rows: usize, weight: &NarrowPanels<N>) -> Self {
        let k = weight.k;
        assert!(rows * k <= x.len(), "x is short");
        Self { x, k, rows }
    }
}

impl<N: Narrow> Source for Numbers<'_, N> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn copy(&self, row: usize, first: usize, to: &mut [f32]) {
        let row = &self.x[row * self.k..][..self.k];
        let numbers = part(row, first * N::PER_WORD, to.len() * N::PER_WORD);
        to_words(to, numbers, N::OFFSET);
    }
    fn row(&self, _row: usize) -> Option<&[f32]> {
        None
    }
}

/// Rows of f32, `k` of each, that are bfloat16 once they are packed.
struct Rounded<'a> {
    x: Rows<'a>,
    k: usize,
    isa: DotIsa,
}

impl Source for Rounded<'_> {
    fn rows(&self) -> usize {
        self.x.rows
    }
    fn copy(&self, row: usize, first: usize, to: &mut [f32]) {
        let row = &self.x.values[row * self.x.stride..][..self.k];
        let values = part(row, first * 2, to.len() * 2);
        let (to, rest) = to.split_at_mut(values.len().div_ceil(2));
        rest.fill(0.0);
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the CPU was asked.
            DotIsa::Avx512 | DotIsa::Amx if DotIsa::Avx512.computes::<bf16>() => unsafe {
                x86::round(to, values);
            },
            _ => round(to, values),
        }
    }
    fn row(&self, _row: usize) -> Option<&[f32]> {
        None
    }
}

/// At most `len` numbers of a row, from `first` on; none behind its end.
fn part<T>(row: &[T], first: usize, len: usize) -> &[T] {
    let first = first.min(row.len());
    &row[first..row.len().min(first + len)]
}

/// Rounds numbers to words of two bfloat16.
#[inline(always)]
fn round(words: &mut [f32], values: &[f32]) {
    let bits = |value: f32| u32::from(bf16::from_f32(value).to_bits());
    let mut pairs = values.chunks_exact(2);
    for (word, pair) in words.iter_mut().zip(&mut pairs) {
        *word = f32::from_bits(bits(pair[0]) | bits(pair[1]) << 16);
    }
    if let [last] = pairs.remainder() {
        words[values.len() / 2] = f32::from_bits(bits(*last));
    }
}

/// Enters a task on an instruction set.
fn run<N: Narrow>(isa: DotIsa, task: Task<'_, f32>) {
    match isa {
        // SAFETY: plain code needs nothing.
        DotIsa::Portable => unsafe { task.compute::<Words<N>>() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the product comes from a caller who was asked whether the CPU computes it.
        DotIsa::Avx512 => unsafe {
            if N::INTEGER {
                x86::run_vnni(task);
            } else {
                x86::run_bf16(task);
            }
        },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above, and the system was asked.
        DotIsa::Amx => unsafe { amx::with_tiles(|| task.compute::<Amx<N>>()) },
    }
}

/// Numbers to words, the first in the lowest bits. What is left of the words is zero.
fn to_words<N: Narrow>(words: &mut [f32], numbers: &[N], offset: u16) {
    let width = 32 / N::PER_WORD;
    let (words, rest) = words.split_at_mut(numbers.len().div_ceil(N::PER_WORD));
    rest.fill(0.0);
    for (word, group) in words.iter_mut().zip(numbers.chunks(N::PER_WORD)) {
        let mut bits = 0;
        for (i, number) in group.iter().enumerate() {
            bits |= u32::from(number.bits() ^ offset) << (i * width);
        }
        *word = f32::from_bits(bits);
    }
}

// SAFETY: no special instruction is used; pointers are the caller's promise.
unsafe impl<N: Narrow> Tile for Words<N> {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn splat(word: f32) -> Self {
        Self([word; 8], PhantomData)
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: valid for 8 words.
        Self(unsafe { from.cast::<[f32; 8]>().read() }, PhantomData)
    }
    #[inline(always)]
    unsafe fn widen<E: Element>(from: *const E) -> Self {
        const { assert!(size_of::<E>() == 4) };
        // SAFETY: words are not widened.
        unsafe { <Self as Tile>::load(from.cast()) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: valid for 8 words.
        unsafe { to.cast::<[f32; 8]>().write(self.0) }
    }
    #[inline(always)]
    unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
        let word = |i: usize| N::dot(x.0[i].to_bits(), self.0[i].to_bits(), sum.0[i].to_bits());
        Self(
            std::array::from_fn(|i| f32::from_bits(word(i))),
            PhantomData,
        )
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Element, Narrow, PhantomData, Task, Tile, bf16};
    use crate::simd::dot::Words512;
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) unsafe fn run_vnni(task: Task<'_, f32>) {
        // SAFETY: the features are this function's own.
        unsafe { task.compute::<Words512<i8>>() }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn run_bf16(task: Task<'_, f32>) {
        // SAFETY: the features are this function's own.
        unsafe { task.compute::<Words512<bf16>>() }
    }

    /// [`super::round`], a vector at a time. The instruction also makes subnormals zero, which the product would.
    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) unsafe fn round(words: &mut [f32], values: &[f32]) {
        let (values, tail) = values.as_chunks::<32>();
        let (words, rest) = words.split_at_mut(values.len() * 16);
        for (words, values) in words.chunks_exact_mut(16).zip(values) {
            // SAFETY: 32 numbers are read and 16 words written, which there are.
            unsafe {
                let low = _mm512_loadu_ps(values.as_ptr());
                let high = _mm512_loadu_ps(values[16..].as_ptr());
                let pairs = _mm512_cvtne2ps_pbh(high, low);
                _mm512_storeu_ps(
                    words.as_mut_ptr(),
                    std::mem::transmute::<__m512bh, __m512>(pairs),
                );
            }
        }
        super::round(rest, tail);
    }

    // SAFETY: used only inside `run_*`, which have the features; pointers are the caller's promise.
    unsafe impl<N: Narrow> Tile for Words512<N> {
        const LANES: usize = 16;
        #[inline(always)]
        unsafe fn splat(word: f32) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_set1_ps(word) }, PhantomData)
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            // SAFETY: as the implementation's.
            Self(unsafe { _mm512_loadu_ps(from) }, PhantomData)
        }
        #[inline(always)]
        unsafe fn widen<E: Element>(from: *const E) -> Self {
            const { assert!(size_of::<E>() == 4) };
            // SAFETY: as the implementation's; words are not widened.
            unsafe { <Self as Tile>::load(from.cast()) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            // SAFETY: as the implementation's.
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, x: Self, sum: Self) -> Self {
            // SAFETY: as the implementation's; the casts move no bits.
            let sum = unsafe {
                if N::INTEGER {
                    let (x, w) = (_mm512_castps_si512(x.0), _mm512_castps_si512(self.0));
                    _mm512_castsi512_ps(_mm512_dpbusd_epi32(_mm512_castps_si512(sum.0), x, w))
                } else {
                    let pairs = |v| std::mem::transmute::<__m512, __m512bh>(v);
                    _mm512_dpbf16_ps(sum.0, pairs(x.0), pairs(self.0))
                }
            };
            Self(sum, PhantomData)
        }
    }
}
