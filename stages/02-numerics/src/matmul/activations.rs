//! Rows of activations rounded to 8 bits, a scale for each block of 32, anew for every product: dynamic quantisation.

use crate::blocks::BLOCK;
use crate::matmul::ints::{IntIsa, IntKernel, Ints};
use memory_hierarchy::{Buffer, Pool};

/// Rows that were rounded, and room for more.
#[derive(Debug)]
pub struct Activations {
    /// `[rows, k]`, within -127 to 127.
    quants: Buffer<i8>,
    /// `[rows, k / 32]`.
    scales: Buffer<f32>,
    /// The sum of each block's quants, `[rows, k / 32]`.
    sums: Buffer<i32>,
    /// -8 times each sum, and -128 times: where the integer sums with offset weights begin, `[2, rows, k / 32]`.
    begins: [Buffer<i32>; 2],
    rows: usize,
    k: usize,
}

/// Numbers below which a second thread costs more than it brings.
const SERIAL: usize = 16 * 1024;

impl Default for Activations {
    fn default() -> Self {
        Self::with_capacity(0)
    }
}

impl Activations {
    /// Room for `numbers` numbers, so that rounding as many allocates nothing.
    pub fn with_capacity(numbers: usize) -> Self {
        Self {
            quants: Buffer::zeroed(numbers),
            scales: Buffer::zeroed(numbers / BLOCK),
            sums: Buffer::zeroed(numbers / BLOCK),
            begins: std::array::from_fn(|_| Buffer::zeroed(numbers / BLOCK)),
            rows: 0,
            k: 0,
        }
    }

    /// Numbers that fit without allocation.
    pub fn capacity(&self) -> usize {
        self.quants.len()
    }

    /// Rows held.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Numbers in a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Takes `rows` rows of `k` numbers that begin `stride` apart in `values`. A block with a NaN or an infinity becomes NaN.
    ///
    /// # Panics
    /// If `k` is not whole blocks of 32, or `values` is too short.
    pub fn quantise(
        &mut self,
        pool: &Pool,
        isa: IntIsa,
        values: &[f32],
        stride: usize,
        rows: usize,
        k: usize,
    ) {
        assert!(k.is_multiple_of(BLOCK), "whole blocks of {BLOCK}");
        assert!(rows == 0 || (rows - 1) * stride + k <= values.len());
        if rows * k > self.capacity() {
            *self = Self::with_capacity(rows * k);
        }
        (self.rows, self.k) = (rows, k);
        let blocks = k / BLOCK;
        let to = Parts {
            quants: self.quants.as_mut_ptr(),
            scales: self.scales.as_mut_ptr(),
            sums: self.sums.as_mut_ptr(),
            begins: self.begins.each_mut().map(|begins| begins.as_mut_ptr()),
        };
        let round = |range: std::ops::Range<usize>| {
            // The whole, not its fields: the pointers are shared between threads as `Parts`.
            let to = &to;
            isa.run(Round {
                range,
                values,
                stride,
                blocks,
                to,
            });
        };
        let work = rows * blocks;
        if work * BLOCK < SERIAL {
            return round(0..work);
        }
        pool.for_each_chunk(work, work.div_ceil(pool.threads() * 4), round);
    }

    /// Quants of a row.
    #[inline(always)]
    pub(super) fn quants(&self) -> &[i8] {
        &self.quants[..self.rows * self.k]
    }

    /// Scales of all rows.
    #[inline(always)]
    pub(super) fn scales(&self) -> &[f32] {
        &self.scales[..self.rows * self.k / BLOCK]
    }

    /// Sums of all blocks.
    #[inline(always)]
    pub(super) fn sums(&self) -> &[i32] {
        &self.sums[..self.rows * self.k / BLOCK]
    }

    /// Where integer sums begin for weights of 4 bits, 8 of which is taken.
    #[inline(always)]
    pub(super) fn begins_8(&self) -> &[i32] {
        &self.begins[0][..self.rows * self.k / BLOCK]
    }

    /// Where integer sums begin for weights of 8 bits, 128 of which is taken.
    #[inline(always)]
    pub(super) fn begins_128(&self) -> &[i32] {
        &self.begins[1][..self.rows * self.k / BLOCK]
    }

    /// Row `row`, as numbers: what the product computes with.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let blocks = self.k / BLOCK;
        (row * blocks..(row + 1) * blocks)
            .flat_map(|block| {
                let quants = &self.quants[block * BLOCK..][..BLOCK];
                quants
                    .iter()
                    .map(move |quant| self.scales[block] * f32::from(*quant))
            })
            .collect()
    }
}

/// Where rounded blocks go.
struct Parts {
    quants: *mut i8,
    scales: *mut f32,
    sums: *mut i32,
    begins: [*mut i32; 2],
}

// SAFETY: threads write disjoint blocks.
unsafe impl Sync for Parts {}

/// Rounds the blocks of `range`, counted over all rows.
struct Round<'a> {
    range: std::ops::Range<usize>,
    values: &'a [f32],
    stride: usize,
    blocks: usize,
    to: &'a Parts,
}

impl IntKernel for Round<'_> {
    #[inline(always)]
    unsafe fn run<I: Ints>(self) {
        for block in self.range {
            let at = block / self.blocks * self.stride + block % self.blocks * BLOCK;
            let values: &[f32; BLOCK] = self.values[at..at + BLOCK]
                .try_into()
                .expect("a whole block");
            let mut quants = [0i8; BLOCK];
            let (scale, sum) = round_block(values, &mut quants);
            // SAFETY: `quantise` made room for all blocks, and this one is this call's alone.
            unsafe {
                self.to
                    .quants
                    .cast::<[i8; BLOCK]>()
                    .add(block)
                    .write(quants);
                self.to.scales.add(block).write(scale);
                self.to.sums.add(block).write(sum);
                self.to.begins[0].add(block).write(-8 * sum);
                self.to.begins[1].add(block).write(I::begin_128(sum));
            }
        }
    }
}

/// Rounds one block to the nearest multiple of a 127th of its largest magnitude; returns scale and sum of the quants. Written in lanes
/// with constant bounds, so that it is compiled to vectors.
#[inline(always)]
fn round_block(values: &[f32; BLOCK], quants: &mut [i8; BLOCK]) -> (f32, i32) {
    const LANES: usize = 8;
    let mut largest = [0.0f32; LANES];
    let mut total = [0.0f32; LANES];
    for i in 0..BLOCK {
        let magnitude = values[i].abs();
        let most = &mut largest[i % LANES];
        *most = if magnitude > *most { magnitude } else { *most };
        total[i % LANES] += values[i];
    }
    let largest = largest.into_iter().fold(0.0f32, f32::max);
    // A comparison passes NaN over; a sum does not, and zero times it, or times an infinity, is NaN.
    let poison = total.into_iter().sum::<f32>() * 0.0;
    let scale = largest / 127.0 + poison;
    // What is so small that its inverse overflows counts as zero.
    let inverse = if largest > f32::MIN_POSITIVE * 127.0 {
        127.0 / largest
    } else {
        0.0
    };
    let mut sum = 0;
    for i in 0..BLOCK {
        let quant = (values[i] * inverse).round_ties_even() as i32;
        quants[i] = quant as i8;
        sum += quant;
    }
    (scale, sum)
}
