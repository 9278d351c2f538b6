//! Compressed sparse rows: the numbers that are not zero, the column of each, and where each row starts.
//!
//! Any pattern of zeros, at 8 bytes a number that stays. The invariant, which the kernels rely on: in each row the columns rise and
//! are below `k`.

use super::{FormatError, Weight, check_length, check_rows, start};
use memory_hierarchy::Buffer;
use memory_hierarchy::simd::Simd;

/// A weight `[n, k]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Csr {
    k: usize,
    /// `[n + 1]`: row `i` is entries `starts[i]..starts[i + 1]`.
    starts: Vec<u32>,
    columns: Buffer<u32>,
    values: Buffer<f32>,
}

impl Csr {
    /// From parts that may be wrong.
    ///
    /// # Errors
    /// If lengths disagree, starts fall, or columns do not rise within `k`.
    pub fn from_parts(
        n: usize,
        k: usize,
        starts: Vec<u32>,
        columns: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self, FormatError> {
        check_rows(&starts, &columns, n, k)?;
        check_length("values", values.len(), columns.len())?;
        Ok(Self {
            k,
            starts,
            columns: columns.as_slice().into(),
            values: values.as_slice().into(),
        })
    }

    /// The numbers of `weight`, `[n, k]`, that are not zero.
    ///
    /// # Panics
    /// If `weight` is not `n` rows of `k`.
    pub fn from_dense(weight: &[f32], n: usize, k: usize) -> Self {
        assert_eq!(weight.len(), n * k);
        let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        for row in 0..n {
            for (column, &value) in weight[row * k..(row + 1) * k].iter().enumerate() {
                if value != 0.0 {
                    columns.push(column as u32);
                    values.push(value);
                }
            }
            starts.push(start(values.len()));
        }
        Self::from_parts(n, k, starts, columns, values).expect("parts that fit")
    }

    /// Columns and values of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> (&[u32], &[f32]) {
        let range = self.starts[row] as usize..self.starts[row + 1] as usize;
        (&self.columns[range.clone()], &self.values[range])
    }
}

/// `sum of values[i] * x[columns[i]]`, in eight sums side by side: one alone would wait for each addition before the next.
///
/// # Safety
/// Every column must be within `x`.
#[inline(always)]
unsafe fn dot(columns: &[u32], values: &[f32], x: &[f32]) -> f32 {
    // ANCHOR: solve-csr-dot
    let mut sums = [0.0; 8];
    let entries = (columns.chunks_exact(8), values.chunks_exact(8));
    let rest = (entries.0.remainder(), entries.1.remainder());
    for (columns, values) in entries.0.zip(entries.1) {
        for i in 0..8 {
            // SAFETY: the caller's promise.
            sums[i] += values[i] * unsafe { x.get_unchecked(columns[i] as usize) };
        }
    }
    for (column, value) in rest.0.iter().zip(rest.1) {
        // SAFETY: as above.
        sums[0] += value * unsafe { x.get_unchecked(*column as usize) };
    }
    sums.iter().sum()
    // ANCHOR_END: solve-csr-dot
}

impl Weight for Csr {
    fn shape(&self) -> (usize, usize) {
        (self.starts.len() - 1, self.k)
    }

    fn bytes(&self) -> usize {
        4 * (self.starts.len() + self.columns.len() + self.values.len())
    }

    fn to_dense(&self) -> Vec<f32> {
        let (n, k) = self.shape();
        let mut dense = vec![0.0; n * k];
        for row in 0..n {
            let (columns, values) = self.row(row);
            for (column, value) in columns.iter().zip(values) {
                dense[row * k + *column as usize] = *value;
            }
        }
        dense
    }

    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, x: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(x.len(), self.k);
        for (i, out) in out.iter_mut().enumerate() {
            let (columns, values) = self.row(first + i);
            // SAFETY: columns are below k, which was checked when the weight was made.
            *out = unsafe { dot(columns, values, x) };
        }
    }

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, xt: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(xt.len(), self.k * S::LANES);
        for (i, out) in out.chunks_exact_mut(S::LANES).enumerate() {
            let (columns, values) = self.row(first + i);
            // SAFETY: columns are below k, so LANES numbers lie in `xt` at each; `out` has LANES.
            unsafe {
                let mut sums = [S::splat(0.0); 4];
                for (columns, values) in columns.chunks(4).zip(values.chunks(4)) {
                    for i in 0..columns.len() {
                        let x = S::load(xt.as_ptr().add(columns[i] as usize * S::LANES));
                        sums[i] = S::splat(values[i]).mul_add(x, sums[i]);
                    }
                }
                let [a, b, c, d] = sums;
                a.add(b).add(c.add(d)).store(out.as_mut_ptr());
            }
        }
    }
}
