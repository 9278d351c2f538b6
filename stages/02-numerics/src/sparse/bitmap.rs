//! A bit for every weight, and the numbers whose bit is set, one after the other.
//!
//! Any pattern of zeros, as CSR, at 4 bytes a number that stays and a bit for each place: less than CSR above a density of 1/32.
//! The kernel reads `x` in order and spreads the packed numbers over the places of their bits, so that the rest is dense code; its
//! arithmetic does not fall with the density. SparAMX (AbouElhamayed et al., 2025) keeps weights for Intel's AMX in this way.
//!
//! The invariant: bits past `k` are clear, the bits set are as many as the numbers, and a vector of zeros follows the last number,
//! since the kernels load whole vectors.

use super::{FormatError, Weight, check_length, start};
use memory_hierarchy::Buffer;
use memory_hierarchy::simd::Simd;

/// Places of a word.
const WORD: usize = 64;
/// As many as the widest vector has lanes.
const PADDING: usize = 16;

/// A weight `[n, k]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bitmap {
    n: usize,
    k: usize,
    /// `[n, words]`: column `c` is bit `c % 64` of word `c / 64` of its row.
    masks: Buffer<u64>,
    /// `[n + 1]`: the first number of each row.
    starts: Vec<u32>,
    /// With the padding.
    values: Buffer<f32>,
}

impl Bitmap {
    /// From parts that may be wrong: `masks` is `[n, ceil(k / 64)]`, `values` are as many as bits are set.
    ///
    /// # Errors
    /// If lengths disagree, or bits past `k` are set.
    pub fn from_parts(
        n: usize,
        k: usize,
        masks: Vec<u64>,
        mut values: Vec<f32>,
    ) -> Result<Self, FormatError> {
        let words = k.div_ceil(WORD);
        check_length("masks", masks.len(), n * words)?;
        let (mut starts, mut total) = (vec![0], 0);
        for row in 0..n {
            let masks = &masks[row * words..(row + 1) * words];
            if !k.is_multiple_of(WORD) && masks[words - 1] >> (k % WORD) != 0 {
                return Err(FormatError::Bits { row });
            }
            total += masks.iter().map(|m| m.count_ones() as usize).sum::<usize>();
            starts.push(start(total));
        }
        check_length("values", values.len(), total)?;
        values.resize(total + PADDING, 0.0);
        Ok(Self {
            n,
            k,
            masks: masks.as_slice().into(),
            starts,
            values: values.as_slice().into(),
        })
    }

    /// The numbers of `weight`, `[n, k]`, that are not zero.
    ///
    /// # Panics
    /// If `weight` is not `n` rows of `k`.
    pub fn from_dense(weight: &[f32], n: usize, k: usize) -> Self {
        assert_eq!(weight.len(), n * k);
        let bits = |places: &[f32]| {
            let bit = |(i, value): (usize, &f32)| u64::from(*value != 0.0) << i;
            places.iter().enumerate().map(bit).sum()
        };
        let masks = weight
            .chunks_exact(k.max(1))
            .flat_map(|row| row.chunks(WORD))
            .map(bits)
            .collect();
        let values = weight.iter().filter(|value| **value != 0.0).copied();
        Self::from_parts(n, k, masks, values.collect()).expect("parts that fit")
    }

    /// The words of a row, and its numbers with what follows them.
    #[inline(always)]
    fn row(&self, row: usize) -> (&[u64], &[f32]) {
        let words = self.k.div_ceil(WORD);
        (
            &self.masks[row * words..(row + 1) * words],
            &self.values[self.starts[row] as usize..],
        )
    }
}

impl Weight for Bitmap {
    fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    fn bytes(&self) -> usize {
        8 * self.masks.len() + 4 * (self.starts.len() + self.values.len() - PADDING)
    }

    fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.n * self.k];
        for row in 0..self.n {
            let (masks, values) = self.row(row);
            let mut values = values.iter();
            for column in 0..self.k {
                if masks[column / WORD] >> (column % WORD) & 1 == 1 {
                    dense[row * self.k + column] = *values.next().expect("a number for each bit");
                }
            }
        }
        dense
    }

    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, x: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(x.len(), self.k);
        let whole = self.k / WORD;
        let mut tail = [0.0; WORD];
        tail[..self.k % WORD].copy_from_slice(&x[whole * WORD..]);
        for (i, out) in out.iter_mut().enumerate() {
            let (masks, values) = self.row(first + i);
            let mut from = values.as_ptr();
            // SAFETY: `Isa::run` chose S.
            let mut sums = unsafe { [S::splat(0.0); 2] };
            for (word, &mask) in masks.iter().enumerate() {
                // SAFETY: a whole word has 64 numbers of `x`, the last may take them from `tail`. As many numbers are passed as bits
                // are set, and a vector's worth of padding follows the last.
                unsafe {
                    let x = if word < whole {
                        x.as_ptr().add(word * WORD)
                    } else {
                        tail.as_ptr()
                    };
                    for part in 0..WORD / S::LANES {
                        let bits = (mask >> (part * S::LANES)) as u32 & ((1 << S::LANES) - 1);
                        let weights = S::expand(bits, from);
                        from = from.add(bits.count_ones() as usize);
                        let sum = &mut sums[part % 2];
                        *sum = weights.mul_add(S::load(x.add(part * S::LANES)), *sum);
                    }
                }
            }
            // SAFETY: `Isa::run` chose S.
            *out = unsafe { sums[0].add(sums[1]).sum() };
        }
    }

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, xt: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(xt.len(), self.k * S::LANES);
        for (i, out) in out.chunks_exact_mut(S::LANES).enumerate() {
            let (masks, values) = self.row(first + i);
            let mut from = values.as_ptr();
            // SAFETY: columns are below k and numbers as many as bits; `out` has LANES.
            unsafe {
                let mut sum = S::splat(0.0);
                for (word, &mask) in masks.iter().enumerate() {
                    let mut left = mask;
                    while left != 0 {
                        let column = word * WORD + left.trailing_zeros() as usize;
                        let x = S::load(xt.as_ptr().add(column * S::LANES));
                        sum = S::splat(*from).mul_add(x, sum);
                        from = from.add(1);
                        left &= left - 1;
                    }
                }
                sum.store(out.as_mut_ptr());
            }
        }
    }
}
