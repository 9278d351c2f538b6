//! Weights of which two in every four along k are kept (2:4), in the form that Hopper's sparse tensor cores read.
//!
//! The kept values `[n, k / 2]` are a matrix like any other. Where each stood in its four is *metadata*: two bits a value, in the order in
//! which `kernels/gemm/k19_sparse.cu` loads them, `[64 rows][64 of k][thread of the warpgroup: 128]` words of 32 bits. Rows are filled up
//! to a multiple of 64 and k to one of [`FILL`]. A word serves two instructions of 32 k, in halves of the threads:
//!
//! ```text
//! thread  32*warp + lane: rows 16*warp + lane/4 (bits 0..16) and 8 further (bits 16..32),
//!         k 32*(lane%4/2) + 16*(lane%2) and the 15 after it, of the 64
//! 16 bits four bits for each four k: the position of the first kept value, then of the second, which is greater
//! ```
//!
//! Source: PTX ISA, sparse `wgmma.mma_async`, "Matrix fragments … with sparse matrix A", m64nNk32; `lane%4/2` is its sparsity selector.

use half::bf16;

/// k of the metadata is filled up to a multiple of this, as long as the longest step of the kernel.
pub const FILL: usize = 256;
/// Four bits that say "the first and the second of four": what fills up, since equal or falling positions are not allowed.
const FIRST_TWO: u32 = 0b0100;

/// A matrix `[n, k]`, of every four along k two values kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sparse24 {
    /// Rows: outputs of the layer.
    pub n: usize,
    /// Columns: inputs, a multiple of 4.
    pub k: usize,
    /// `[n, k / 2]`, the bits of bf16, as the kernel reads them.
    pub values: Vec<u16>,
    /// `[n, k / 2]`, each value's place among its four: 0..=3, rising in a four.
    pub positions: Vec<u8>,
}

/// Where four bits of metadata lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetadataPlace {
    /// Which word.
    pub word: usize,
    /// The lowest of the bits.
    pub bit: usize,
}

/// Words of the metadata of `[n, k]`.
pub fn metadata_words(n: usize, k: usize) -> usize {
    n.div_ceil(64) * (k.div_ceil(FILL) * FILL / 64) * 128
}

/// Bytes of values and metadata of `[n, k]`.
pub fn sparse_bytes(n: usize, k: usize) -> usize {
    n * k + 4 * metadata_words(n, k)
}

/// Where the metadata of the four weights at `row` and columns `4 * four` and on of `[_, k]` lies.
pub fn metadata_place(row: usize, four: usize, k: usize) -> MetadataPlace {
    let units = k.div_ceil(FILL) * FILL / 64;
    let (unit, within) = (four / 16, four % 16);
    let (warp, eight, high_row) = (row % 64 / 16, row % 8, row / 8 % 2);
    let (selector, high_k) = (within / 8, within / 4 % 2);
    let thread = warp * 32 + eight * 4 + selector * 2 + high_k;
    MetadataPlace {
        word: (row / 64 * units + unit) * 128 + thread,
        bit: high_row * 16 + within % 4 * 4,
    }
}

/// The places of the two greatest magnitudes of four, rising; of equal ones the earlier. A NaN is greatest, so that none is hidden.
fn greatest_two(four: [u16; 4]) -> [usize; 2] {
    // Without their sign, the bits of floats are ordered as the numbers are, and NaNs come last.
    let magnitude = |i: usize| four[i] & 0x7fff;
    let mut order = [0, 1, 2, 3];
    order.sort_by_key(|&i| std::cmp::Reverse(magnitude(i)));
    [order[0].min(order[1]), order[0].max(order[1])]
}

impl Sparse24 {
    /// Prunes `[n, k]`, the bits of bf16, by magnitude: of every four along k the two greatest stay.
    ///
    /// # Panics
    /// If k is not a multiple of 4, or there are not `n * k` weights.
    pub fn prune(weights: &[u16], n: usize, k: usize) -> Self {
        assert!(
            k.is_multiple_of(4) && weights.len() == n * k,
            "{} weights are no [{n}, {k}] in fours",
            weights.len()
        );
        let (mut values, mut positions) = (Vec::with_capacity(n * k / 2), Vec::new());
        for four in weights.chunks_exact(4) {
            for position in greatest_two(four.try_into().expect("four")) {
                values.push(four[position]);
                positions.push(position as u8);
            }
        }
        Self {
            n,
            k,
            values,
            positions,
        }
    }

    /// The weight at `row` and `column`: 0 where it was pruned.
    pub fn weight(&self, row: usize, column: usize) -> f64 {
        let first = row * (self.k / 2) + column / 4 * 2;
        let kept = (first..first + 2).find(|&i| usize::from(self.positions[i]) == column % 4);
        kept.map_or(0.0, |i| bf16::from_bits(self.values[i]).to_f64())
    }

    /// The positions in the form that the kernel reads.
    pub fn metadata(&self) -> Vec<u32> {
        let filled = (0..8).fold(0, |word, four| word | FIRST_TWO << (4 * four));
        let mut words = vec![filled; metadata_words(self.n, self.k)];
        for row in 0..self.n {
            for four in 0..self.k / 4 {
                let at = metadata_place(row, four, self.k);
                let first = row * (self.k / 2) + four * 2;
                let [low, high] = [0, 1].map(|i| u32::from(self.positions[first + i]));
                let word = &mut words[at.word];
                *word = *word & !(15 << at.bit) | (high << 2 | low) << at.bit;
            }
        }
        words
    }
}
