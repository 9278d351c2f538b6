//! A weight `[n, k]` packed once into panels: `[n / NR][k][NR]`, in its own element type, padded with zeros.
//!
//! A product with `w^T` needs, at each step of `k`, one element of many rows of `w`. In `w` those lie `k` elements apart; in a panel
//! they are neighbours, so a vector load fetches them, and whoever walks down a panel reads memory in ascending order. Decode, which
//! has one row of `x`, thus reads the whole weight as one stream, which is as fast as DRAM gets.
//!
//! The invariant: element `(row, col)` of the weight is at `(row / NR * k + col) * NR + row % NR`; what lies beyond row `n` is zero.

use crate::buffer::{Buffer, Plain};
use crate::simd::Element;

/// Columns of the product that lie together: two vectors of AVX-512, and a whole cache line even in 16-bit elements.
pub const NR: usize = 32;

/// A packed weight.
#[derive(Debug)]
pub struct Panels<E: Plain> {
    /// `[n / NR][k][NR]`
    elements: Buffer<E>,
    n: usize,
    k: usize,
}

impl<E: Element + Plain> Panels<E> {
    /// Packs a weight `[n, k]`, whose rows follow one another.
    ///
    /// # Panics
    /// If `weight` has another length than `n * k`.
    pub fn pack(weight: &[E], n: usize, k: usize) -> Self {
        assert_eq!(weight.len(), n * k, "a weight of {n} rows of {k}");
        let mut rows = weight.chunks((k * NR).max(1));
        Self::pack_each(n, k, |panel| {
            pack_panel(panel, rows.next().unwrap_or(&[]), k)
        })
    }

    /// `pack` fills one panel `[k][NR]` of zeros after the other.
    pub(super) fn pack_each(n: usize, k: usize, pack: impl FnMut(&mut [E])) -> Self {
        let mut elements = Buffer::zeroed(n.div_ceil(NR) * k * NR);
        elements.chunks_exact_mut((k * NR).max(1)).for_each(pack);
        Self { elements, n, k }
    }

    /// Packs a matrix `[k, n]`, whose rows follow one another: the weight of a product with its columns.
    ///
    /// # Panics
    /// If `matrix` has another length than `k * n`.
    pub fn pack_columns(matrix: &[E], k: usize, n: usize) -> Self {
        assert_eq!(matrix.len(), k * n, "a matrix of {k} rows of {n}");
        let mut elements = Buffer::zeroed(n.div_ceil(NR) * k * NR);
        for (at, to) in elements.chunks_exact_mut(NR).enumerate() {
            let (panel, row) = (at / k, at % k);
            let width = NR.min(n - panel * NR);
            to[..width].copy_from_slice(&matrix[row * n + panel * NR..][..width]);
        }
        Self { elements, n, k }
    }

    /// Outputs: rows of the weight as it was given.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Inputs: elements of a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes that one pass over the weight reads.
    pub fn bytes(&self) -> usize {
        size_of_val(&*self.elements)
    }

    /// Row `index` of the weight, widened: what an embedding looks up.
    ///
    /// # Panics
    /// If there is no such row, or `out` has another length than `k`.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(index < self.n && out.len() == self.k);
        for (col, out) in out.iter_mut().enumerate() {
            *out = self.element(index, col).into();
        }
    }

    /// Element `(row, col)` of the weight.
    pub(super) fn element(&self, row: usize, col: usize) -> E {
        self.elements[(row / NR * self.k + col) * NR + row % NR]
    }

    /// Panel `index` and all that follow, `[..][k][NR]`.
    pub(super) fn from(&self, index: usize) -> &[E] {
        &self.elements[index * self.k * NR..]
    }
}

/// One panel `[k][NR]` from up to `NR` rows of `k` elements.
pub(super) fn pack_panel<E: Copy>(panel: &mut [E], rows: &[E], k: usize) {
    // ANCHOR: solve-pack-panel
    for (r, row) in rows.chunks_exact(k).enumerate() {
        for (col, element) in row.iter().enumerate() {
            panel[col * NR + r] = *element;
        }
    }
    // ANCHOR_END: solve-pack-panel
}
