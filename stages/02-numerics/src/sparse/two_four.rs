//! 2:4: of every four columns two stay, with two bits each for their positions.
//!
//! The pattern of NVIDIA's sparse tensor cores (Mishra et al., "Accelerating Sparse Deep Neural Networks", 2021): half the numbers and
//! an eighth of a byte a weight for positions. Where a number lies follows from its index, so nothing is searched: a permutation
//! by the positions takes the matching two of four from `x`, and half the multiply-adds are left.
//!
//! The invariant: the two positions of a group rise.

use super::{FormatError, Weight, check_length};
use memory_hierarchy::Buffer;
use memory_hierarchy::simd::Simd;

/// A weight `[n, k]`.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoFour {
    n: usize,
    k: usize,
    /// `[n, k / 2]`.
    values: Buffer<f32>,
    /// `[n, ceil(k / 8)]`: number `i` of a row is at the two bits from `2 (i % 4)` on of byte `i / 4`.
    positions: Buffer<u8>,
}

impl TwoFour {
    /// From parts that may be wrong: `values` is `[n, k / 2]`, `positions` is `[n, ceil(k / 8)]`.
    ///
    /// # Errors
    /// If `k` is not a multiple of 4, lengths disagree, two positions do not rise, or bits of a last half byte are set.
    pub fn from_parts(
        n: usize,
        k: usize,
        values: Vec<f32>,
        positions: Vec<u8>,
    ) -> Result<Self, FormatError> {
        check_k(k)?;
        check_length("values", values.len(), n * k / 2)?;
        check_length("positions", positions.len(), n * k.div_ceil(8))?;
        for (row, bytes) in positions.chunks_exact(k.div_ceil(8).max(1)).enumerate() {
            let rises = |group: usize| {
                let pair = bytes[group / 2] >> (4 * (group % 2)) & 15;
                pair & 3 < pair >> 2
            };
            let half = !k.is_multiple_of(8) && bytes[k / 8] >> 4 != 0;
            if half || !(0..k / 4).all(rises) {
                return Err(FormatError::Bits { row });
            }
        }
        Ok(Self {
            n,
            k,
            values: values.as_slice().into(),
            positions: positions.as_slice().into(),
        })
    }

    /// From a weight `[n, k]` that is 2:4 already: see [`n_of_m`](super::prune::n_of_m).
    ///
    /// # Errors
    /// If `k` is not a multiple of 4, or a group has more than two numbers that are not zero.
    ///
    /// # Panics
    /// If `weight` is not `n` rows of `k`.
    pub fn from_dense(weight: &[f32], n: usize, k: usize) -> Result<Self, FormatError> {
        assert_eq!(weight.len(), n * k);
        check_k(k)?;
        let mut values = Vec::with_capacity(n * k / 2);
        let mut positions = vec![0; n * k.div_ceil(8)];
        for row in 0..n {
            for group in 0..k / 4 {
                let four = &weight[row * k + 4 * group..][..4];
                let pair = pair(four.try_into().expect("four"))
                    .ok_or(FormatError::NotTwoOfFour { row, group })?;
                values.extend(pair.map(|position| four[position]));
                positions[row * k.div_ceil(8) + group / 2] |=
                    ((pair[0] | pair[1] << 2) as u8) << (4 * (group % 2));
            }
        }
        Self::from_parts(n, k, values, positions)
    }

    /// The column of number `index` of a row with these positions.
    #[inline(always)]
    fn column(positions: &[u8], index: usize) -> usize {
        let position = positions[index / 4] >> (2 * (index % 4)) & 3;
        4 * (index / 2) + usize::from(position)
    }

    /// Values and positions of a row.
    #[inline(always)]
    fn row(&self, row: usize) -> (&[f32], &[u8]) {
        let (half, bytes) = (self.k / 2, self.k.div_ceil(8));
        (
            &self.values[row * half..(row + 1) * half],
            &self.positions[row * bytes..(row + 1) * bytes],
        )
    }

    /// One output for one row of `x`. Rows of the weight are read one after the other, as they lie: four at a time would share the
    /// loads of `x` and be slower from memory, where each stream of lines is one more to follow.
    #[inline(always)]
    unsafe fn dot<S: Simd>(&self, x: &[f32], row: usize) -> f32 {
        let (values, positions) = self.row(row);
        let steps = self.k / (2 * S::LANES);
        // Two sums, so that a step does not wait for the one before it.
        // SAFETY: `steps` times twice the lanes are at most k; a row has half as many values and an eighth as many bytes.
        let sum = unsafe {
            let mut sums = [S::splat(0.0); 2];
            for pair in (0..steps).step_by(2) {
                for i in 0..2 {
                    let step = pair + i;
                    if step < steps {
                        let at = x.as_ptr().add(step * 2 * S::LANES);
                        let (low, high) = (S::load(at), S::load(at.add(S::LANES)));
                        let mut bits = [0; 4];
                        let from = positions.as_ptr().add(step * (S::LANES / 4));
                        from.copy_to_nonoverlapping(bits.as_mut_ptr(), S::LANES / 4);
                        let x = S::two_of_four(low, high, u32::from_le_bytes(bits));
                        let values = S::load(values.as_ptr().add(step * S::LANES));
                        sums[i] = x.mul_add(values, sums[i]);
                    }
                }
            }
            sums[0].add(sums[1]).sum()
        };
        let rest = steps * S::LANES..values.len();
        let term = |index| values[index] * x[Self::column(positions, index)];
        sum + rest.map(term).sum::<f32>()
    }

    /// `T` outputs for as many rows of `x` as there are lanes. They go through `x` together, so that it is read from the cache
    /// once for all of them.
    #[inline(always)]
    unsafe fn panel_tile<S: Simd, const T: usize>(&self, xt: &[f32], first: usize) -> [S; T] {
        let rows: [_; T] = std::array::from_fn(|i| self.row(first + i));
        // SAFETY: columns are below k, since positions are below 4.
        unsafe {
            let mut sums = [S::splat(0.0); T];
            for group in 0..self.k / 4 {
                for i in 0..T {
                    let (values, positions) = rows[i];
                    let pair = *positions.get_unchecked(group / 2) >> (4 * (group % 2));
                    for (j, position) in [pair & 3, pair >> 2 & 3].into_iter().enumerate() {
                        let at = (4 * group + usize::from(position)) * S::LANES;
                        let value = S::splat(*values.get_unchecked(2 * group + j));
                        sums[i] = value.mul_add(S::load(xt.as_ptr().add(at)), sums[i]);
                    }
                }
            }
            sums
        }
    }
}

fn check_k(k: usize) -> Result<(), FormatError> {
    if k.is_multiple_of(4) {
        Ok(())
    } else {
        Err(FormatError::Shape(
            "2:4 needs columns in whole groups of four",
        ))
    }
}

/// The rising positions of the two that stay, with zeros taken along if fewer than two are not zero; `None` if more are.
fn pair(four: [f32; 4]) -> Option<[usize; 2]> {
    // ANCHOR: solve-two-four
    let mut taken: Vec<usize> = (0..4).filter(|&i| four[i] != 0.0).collect();
    let zeros = (0..4).filter(|&i| four[i] == 0.0);
    taken.extend(zeros.take(2usize.saturating_sub(taken.len())));
    taken.sort();
    taken.try_into().ok()
    // ANCHOR_END: solve-two-four
}

impl Weight for TwoFour {
    const TILE: usize = 8;

    fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    fn bytes(&self) -> usize {
        4 * self.values.len() + self.positions.len()
    }

    fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.n * self.k];
        for row in 0..self.n {
            let (values, positions) = self.row(row);
            for (index, value) in values.iter().enumerate() {
                dense[row * self.k + Self::column(positions, index)] = *value;
            }
        }
        dense
    }

    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, x: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(x.len(), self.k);
        for (i, out) in out.iter_mut().enumerate() {
            // SAFETY: the caller's promise.
            *out = unsafe { self.dot::<S>(x, first + i) };
        }
    }

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, xt: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(xt.len(), self.k * S::LANES);
        let mut at = first;
        let mut eights = out.chunks_exact_mut(8 * S::LANES);
        // SAFETY: the caller's promise; each part of `out` has LANES.
        unsafe {
            for out in &mut eights {
                let sums: [S; 8] = self.panel_tile(xt, at);
                for (out, sum) in out.chunks_exact_mut(S::LANES).zip(sums) {
                    sum.store(out.as_mut_ptr());
                }
                at += 8;
            }
            for out in eights.into_remainder().chunks_exact_mut(S::LANES) {
                let [sum] = self.panel_tile::<S, 1>(xt, at);
                sum.store(out.as_mut_ptr());
                at += 1;
            }
        }
    }
}
