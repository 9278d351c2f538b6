//! Prefill and decode: the same attention, once over a whole prompt and then one position at a time against a cache.
//!
//! Prefill does much arithmetic on each weight it reads; decode reads all weights and the whole cache for one position. The results
//! are the same, which is why an engine may cut a prompt wherever it likes.

use super::heads::{HeadShape, multi_head_attention};
use super::single_head::Visibility;

/// Keys and values of the positions so far.
#[derive(Clone, Debug, Default)]
pub struct KvCache {
    /// `[positions, kv_heads, head_dim]`.
    pub keys: Vec<f32>,
    /// `[positions, kv_heads, head_dim]`.
    pub values: Vec<f32>,
}

impl KvCache {
    /// Positions stored.
    pub fn len(&self, shape: HeadShape) -> usize {
        self.keys.len() / (shape.kv_heads * shape.head_dim)
    }

    /// Appends the keys and values of further positions.
    pub fn append(&mut self, k: &[f32], v: &[f32]) {
        self.keys.extend_from_slice(k);
        self.values.extend_from_slice(v);
    }
}

/// Attention of several new positions, which see what is cached and each other's past. Appends their keys and values first.
/// `q` and `out` `[new, heads, head_dim]`, `k` and `v` `[new, kv_heads, head_dim]`.
pub fn prefill(
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    cache: &mut KvCache,
    shape: HeadShape,
    visibility: Visibility,
) {
    let first_position = cache.len(shape);
    cache.append(k, v);
    multi_head_attention(
        out,
        q,
        &cache.keys,
        &cache.values,
        shape,
        first_position,
        visibility,
    );
}

/// Attention of one new position: `q` and `out` `[heads, head_dim]`, `k` and `v` `[kv_heads, head_dim]`.
///
/// No mask is needed: everything that is cached is in the past. A window only moves the place where reading begins.
pub fn decode(
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    cache: &mut KvCache,
    shape: HeadShape,
    window: Option<usize>,
) {
    // ANCHOR: solve-decode
    cache.append(k, v);
    let stored = cache.len(shape);
    let begin = stored.saturating_sub(window.unwrap_or(stored)) * shape.kv_heads * shape.head_dim;
    let (keys, values) = (&cache.keys[begin..], &cache.values[begin..]);
    multi_head_attention(out, q, keys, values, shape, 0, Visibility::Full);
    // ANCHOR_END: solve-decode
}
