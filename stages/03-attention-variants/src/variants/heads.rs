//! Many heads: multi-head, grouped-query (Ainslie et al., 2023) and multi-query attention (Shazeer, 2019).
//!
//! All three are one rule: query head `h` reads key/value head `h * kv_heads / heads`. As many key/value heads as query heads is
//! multi-head attention, one is multi-query. The cache shrinks by the same factor, and with it what a decode step must read.

use super::single_head::{Visibility, attention};

/// Heads and their width.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
}

impl HeadShape {
    /// The key/value head that a query head reads.
    pub fn kv_head(&self, head: usize) -> usize {
        head * self.kv_heads / self.heads
    }

    /// The factor on the scores that keeps their variance at 1.
    pub fn scale(&self) -> f32 {
        (self.head_dim as f32).sqrt().recip()
    }
}

/// Attention of all heads. `q` and `out` `[queries, heads, head_dim]`, `k` and `v` `[keys, kv_heads, head_dim]`; query `i` stands
/// at position `first_position + i`.
pub fn multi_head_attention(
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    shape: HeadShape,
    first_position: usize,
    visibility: Visibility,
) {
    // ANCHOR: solve-heads
    let HeadShape {
        heads,
        kv_heads,
        head_dim,
    } = shape;
    for head in 0..heads {
        let kv_head = shape.kv_head(head);
        let query = take_head(q, heads, head, head_dim);
        let (keys, values) = (
            take_head(k, kv_heads, kv_head, head_dim),
            take_head(v, kv_heads, kv_head, head_dim),
        );
        let mut mixed = vec![0.0; query.len()];
        attention(
            &mut mixed,
            &query,
            &keys,
            &values,
            head_dim,
            shape.scale(),
            first_position,
            visibility,
        );
        for (row, mixed) in out
            .chunks_exact_mut(heads * head_dim)
            .zip(mixed.chunks_exact(head_dim))
        {
            row[head * head_dim..][..head_dim].copy_from_slice(mixed);
        }
    }
    // ANCHOR_END: solve-heads
}

/// One head of `[positions, heads, dim]` as `[positions, dim]`.
fn take_head(x: &[f32], heads: usize, head: usize, dim: usize) -> Vec<f32> {
    x.chunks_exact(heads * dim)
        .flat_map(|row| row[head * dim..][..dim].to_vec())
        .collect()
}
