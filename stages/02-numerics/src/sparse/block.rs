//! Block-sparse rows: whole blocks of 16 outputs by `width` columns, the column of each, and where each row of blocks starts.
//!
//! The height is 16 because that is the widest vector: the numbers of one column of a block fill it, one number of `x` is spread
//! over it, and no lane is gathered or summed across. Narrower vectors take it in two or four. The width is free. At 1 a block is the
//! smallest that runs at the dense code's speed, so the choice of blocks costs the least accuracy, and its column is a sixteenth
//! of its bytes; wider blocks save that and the reading of it.
//!
//! The invariant: in each row of blocks the block columns rise and are below `ceil(k / width)`. What a block holds past `n` or `k` is
//! never used.

use super::{FormatError, Weight, check_length, check_rows, start};
use memory_hierarchy::Buffer;
use memory_hierarchy::simd::Simd;

/// Outputs of a block.
pub const HEIGHT: usize = 16;

/// A weight `[n, k]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    n: usize,
    k: usize,
    width: usize,
    /// `[ceil(n / 16) + 1]`.
    starts: Vec<u32>,
    /// In blocks.
    columns: Buffer<u32>,
    /// `[blocks, width, 16]`.
    values: Buffer<f32>,
}

impl Blocks {
    /// From parts that may be wrong: `columns` count blocks, `values` is `[blocks, width, 16]`.
    ///
    /// # Errors
    /// If the width is 0, lengths disagree, starts fall, or columns do not rise within the weight.
    pub fn from_parts(
        n: usize,
        k: usize,
        width: usize,
        starts: Vec<u32>,
        columns: Vec<u32>,
        values: Vec<f32>,
    ) -> Result<Self, FormatError> {
        if width == 0 {
            return Err(FormatError::Shape("a block is at least one column wide"));
        }
        check_rows(&starts, &columns, n.div_ceil(HEIGHT), k.div_ceil(width))?;
        check_length("values", values.len(), columns.len() * width * HEIGHT)?;
        Ok(Self {
            n,
            k,
            width,
            starts,
            columns: columns.as_slice().into(),
            values: values.as_slice().into(),
        })
    }

    /// The blocks of `weight`, `[n, k]`, that are not all zero.
    ///
    /// # Panics
    /// If `weight` is not `n` rows of `k`, or `width` is 0.
    pub fn from_dense(weight: &[f32], n: usize, k: usize, width: usize) -> Self {
        assert_eq!(weight.len(), n * k);
        let (mut starts, mut columns, mut values) = (vec![0], Vec::new(), Vec::new());
        let mut block = vec![0.0; width * HEIGHT];
        for top in (0..n).step_by(HEIGHT) {
            for column in 0..k.div_ceil(width) {
                for (at, value) in block.iter_mut().enumerate() {
                    let (row, col) = (top + at % HEIGHT, column * width + at / HEIGHT);
                    let inside = row < n && col < k;
                    *value = if inside { weight[row * k + col] } else { 0.0 };
                }
                if block.iter().any(|value| *value != 0.0) {
                    columns.push(column as u32);
                    values.extend_from_slice(&block);
                }
            }
            starts.push(start(columns.len()));
        }
        Self::from_parts(n, k, width, starts, columns, values).expect("parts that fit")
    }

    /// The blocks of a row of blocks.
    #[inline(always)]
    fn row(&self, row: usize) -> std::ops::Range<usize> {
        self.starts[row] as usize..self.starts[row + 1] as usize
    }

    /// The first column of a block, and how many it has within the weight.
    #[inline(always)]
    fn columns(&self, block: usize) -> (usize, usize) {
        let first = self.columns[block] as usize * self.width;
        (first, self.width.min(self.k - first))
    }

    /// `T` outputs, from `offset` in each block of row `row` on, for as many rows of `x` as there are lanes.
    #[inline(always)]
    unsafe fn panel_tile<S: Simd, const T: usize>(
        &self,
        xt: &[f32],
        row: usize,
        offset: usize,
    ) -> [S; T] {
        // SAFETY: columns are below k, and a block has `width` columns of 16 numbers.
        unsafe {
            let mut sums = [S::splat(0.0); T];
            for block in self.row(row) {
                let (first, count) = self.columns(block);
                for column in 0..count {
                    let at = (block * self.width + column) * HEIGHT + offset;
                    let values = self.values.as_ptr().add(at);
                    let x = S::load(xt.as_ptr().add((first + column) * S::LANES));
                    for i in 0..T {
                        sums[i] = S::splat(*values.add(i)).mul_add(x, sums[i]);
                    }
                }
            }
            sums
        }
    }

    #[inline(always)]
    unsafe fn panel_of<S: Simd, const T: usize>(&self, xt: &[f32], first: usize, out: &mut [f32]) {
        for (i, out) in out.chunks_mut(T * S::LANES).enumerate() {
            let at = first + i * T;
            // SAFETY: T divides 16, and `first` is a multiple of it; each part of `out` has LANES.
            unsafe {
                let sums: [S; T] = self.panel_tile(xt, at / HEIGHT, at % HEIGHT);
                for (out, sum) in out.chunks_exact_mut(S::LANES).zip(sums) {
                    sum.store(out.as_mut_ptr());
                }
            }
        }
    }
}

impl Weight for Blocks {
    const TILE: usize = HEIGHT;

    fn shape(&self) -> (usize, usize) {
        (self.n, self.k)
    }

    fn bytes(&self) -> usize {
        4 * (self.starts.len() + self.columns.len() + self.values.len())
    }

    fn to_dense(&self) -> Vec<f32> {
        let mut dense = vec![0.0; self.n * self.k];
        for row in 0..self.n {
            for block in self.row(row / HEIGHT) {
                let (first, count) = self.columns(block);
                for column in 0..count {
                    let at = (block * self.width + column) * HEIGHT + row % HEIGHT;
                    dense[row * self.k + first + column] = self.values[at];
                }
            }
        }
        dense
    }

    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, x: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(x.len(), self.k);
        let (x_at, values_at) = (x.as_ptr(), self.values.as_ptr());
        for (i, out) in out.chunks_mut(HEIGHT).enumerate() {
            let blocks = self.row(first / HEIGHT + i);
            // Four sums for each output, so that no block waits for the one before it; a block that ends past k is the last.
            let mut sums = [[0.0f32; HEIGHT]; 4];
            for part in 0..HEIGHT / S::LANES {
                // SAFETY: columns are below k, and a block has `width` columns of 16 numbers.
                unsafe {
                    let mut chains = [S::splat(0.0); 4];
                    // Narrow blocks go four at a time, one to a chain; columns of a wide one take turns, so that memory is read in order.
                    let side_by_side = if self.width < 4 {
                        blocks.len().saturating_sub(1) & !3
                    } else {
                        0
                    };
                    let (fours, rest) = (
                        blocks.start..blocks.start + side_by_side,
                        blocks.start + side_by_side..blocks.end,
                    );
                    for block in fours.step_by(4) {
                        for column in 0..self.width {
                            for i in 0..4 {
                                let x = self.columns[block + i] as usize * self.width + column;
                                let at = ((block + i) * self.width + column) * HEIGHT;
                                let values = S::load(values_at.add(at + part * S::LANES));
                                chains[i] = S::splat(*x_at.add(x)).mul_add(values, chains[i]);
                            }
                        }
                    }
                    for block in rest {
                        let (first, count) = self.columns(block);
                        let x = x_at.add(first);
                        let from = values_at.add(block * self.width * HEIGHT + part * S::LANES);
                        for column in (0..count).step_by(4) {
                            for i in 0..4 {
                                if column + i < count {
                                    let values = S::load(from.add((column + i) * HEIGHT));
                                    chains[i] =
                                        S::splat(*x.add(column + i)).mul_add(values, chains[i]);
                                }
                            }
                        }
                    }
                    for (sums, chain) in sums.iter_mut().zip(chains) {
                        chain.store(sums.as_mut_ptr().add(part * S::LANES));
                    }
                }
            }
            for (i, out) in out.iter_mut().enumerate() {
                *out = (sums[0][i] + sums[1][i]) + (sums[2][i] + sums[3][i]);
            }
        }
    }

    #[inline(always)]
    unsafe fn panel<S: Simd>(&self, xt: &[f32], first: usize, out: &mut [f32]) {
        assert_eq!(xt.len(), self.k * S::LANES);
        // As many sums as the registers hold: AVX-512 has 32 of them, others 16.
        // SAFETY: the caller's promise.
        unsafe {
            if S::LANES == 16 {
                self.panel_of::<S, 16>(xt, first, out);
            } else {
                self.panel_of::<S, 8>(xt, first, out);
            }
        }
    }
}
