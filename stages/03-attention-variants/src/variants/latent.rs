//! Multi-head latent attention (DeepSeek-V2, 2024): keys and values of all heads are projections of one small vector a token.
//!
//! A head's key has two parts: one made from the latent, `W_uk c`, which carries no position, and one rotated part that all heads
//! share. Only the latent and the shared part are cached.

use super::single_head::{dot, mix};
use crate::activation::softmax;

/// The projections out of the latent, and the widths. Row-major.
#[derive(Clone, Debug)]
pub struct LatentWeights {
    /// `W_uk`, `[heads, nope_dim, latent_dim]`.
    pub key_up: Vec<f32>,
    /// `W_uv`, `[heads, value_dim, latent_dim]`.
    pub value_up: Vec<f32>,
    /// Heads.
    pub heads: usize,
    /// Width of a key's part without position.
    pub nope_dim: usize,
    /// Width of the rotated part.
    pub rope_dim: usize,
    /// Width of a value.
    pub value_dim: usize,
    /// Width of the latent.
    pub latent_dim: usize,
}

/// What is kept of each position.
#[derive(Clone, Debug, Default)]
pub struct LatentCache {
    /// `[positions, latent_dim]`.
    pub latents: Vec<f32>,
    /// The keys' rotated part, `[positions, rope_dim]`.
    pub rotated: Vec<f32>,
}

/// Numbers that one token keeps in one layer's cache: grouped-query attention against latent attention.
pub fn cached_numbers_per_token(
    kv_heads: usize,
    head_dim: usize,
    weights: &LatentWeights,
) -> (usize, usize) {
    (
        2 * kv_heads * head_dim,
        weights.latent_dim + weights.rope_dim,
    )
}

impl LatentWeights {
    fn query_dim(&self) -> usize {
        self.nope_dim + self.rope_dim
    }

    /// The scale belongs to the width of the key as it is defined, whichever way the score is computed.
    fn scale(&self) -> f32 {
        (self.query_dim() as f32).sqrt().recip()
    }

    fn key_up(&self, head: usize) -> &[f32] {
        let size = self.nope_dim * self.latent_dim;
        &self.key_up[head * size..][..size]
    }

    fn value_up(&self, head: usize) -> &[f32] {
        let size = self.value_dim * self.latent_dim;
        &self.value_up[head * size..][..size]
    }
}

/// One decoded position, as the definition reads: every cached latent is taken up to a key and a value of every head.
/// `q` `[heads, nope_dim + rope_dim]`, `out` `[heads, value_dim]`. Each position costs two matrix products a head.
pub fn latent_attention_naive(
    out: &mut [f32],
    q: &[f32],
    cache: &LatentCache,
    weights: &LatentWeights,
) {
    for (head, out) in out.chunks_exact_mut(weights.value_dim).enumerate() {
        let (nope, rope) =
            q[head * weights.query_dim()..][..weights.query_dim()].split_at(weights.nope_dim);
        let (mut scores, mut values) = (Vec::new(), Vec::new());
        for (latent, rotated) in cache
            .latents
            .chunks_exact(weights.latent_dim)
            .zip(cache.rotated.chunks_exact(weights.rope_dim))
        {
            let key = product(weights.key_up(head), latent);
            scores.push((dot(nope, &key) + dot(rope, rotated)) * weights.scale());
            values.extend(product(weights.value_up(head), latent));
        }
        softmax(&mut scores);
        mix(out, &scores, &values);
    }
}

/// The same, absorbed: `q . W_uk c = (W_uk^T q) . c`, so the query is taken down to the latent once, the scores and the mixture are
/// over latents, and the mixture alone is taken up to a value. To the cache this is multi-query attention with one wide head.
pub fn latent_attention_absorbed(
    out: &mut [f32],
    q: &[f32],
    cache: &LatentCache,
    weights: &LatentWeights,
) {
    // ANCHOR: solve-latent
    for (head, out) in out.chunks_exact_mut(weights.value_dim).enumerate() {
        let (nope, rope) =
            q[head * weights.query_dim()..][..weights.query_dim()].split_at(weights.nope_dim);
        let absorbed = transposed_product(weights.key_up(head), nope, weights.latent_dim);
        let mut scores: Vec<f32> = cache
            .latents
            .chunks_exact(weights.latent_dim)
            .zip(cache.rotated.chunks_exact(weights.rope_dim))
            .map(|(latent, rotated)| {
                (dot(&absorbed, latent) + dot(rope, rotated)) * weights.scale()
            })
            .collect();
        softmax(&mut scores);
        let mut mixed = vec![0.0; weights.latent_dim];
        mix(&mut mixed, &scores, &cache.latents);
        out.copy_from_slice(&product(weights.value_up(head), &mixed));
    }
    // ANCHOR_END: solve-latent
}

/// `matrix x`, the matrix as wide as `x` is long.
fn product(matrix: &[f32], x: &[f32]) -> Vec<f32> {
    matrix
        .chunks_exact(x.len())
        .map(|row| dot(row, x))
        .collect()
}

/// `matrix^T x`, the matrix as high as `x` is long and `width` wide.
fn transposed_product(matrix: &[f32], x: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; width];
    for (row, x) in matrix.chunks_exact(width).zip(x) {
        out.iter_mut()
            .zip(row)
            .for_each(|(out, weight)| *out += weight * x);
    }
    out
}
