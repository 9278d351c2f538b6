//! One head: scores, softmax, mixture (Vaswani et al., 2017).

use crate::activation::softmax;

/// Which keys a query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// All of them.
    Full,
    /// Those at its own position and before.
    Causal,
    /// Of those, the nearest `window`, its own position included (Beltagy et al., 2020; Mistral 7B).
    SlidingWindow(usize),
}

impl Visibility {
    /// Whether the query at `query` sees the key at `key`.
    pub fn sees(self, query: usize, key: usize) -> bool {
        match self {
            Self::Full => true,
            Self::Causal => key <= query,
            Self::SlidingWindow(window) => key <= query && query - key < window,
        }
    }
}

/// `out = softmax(q k^T * scale) v`, with the scores of keys that are not seen at minus infinity.
///
/// `q` `[queries, key_dim]`, `k` `[keys, key_dim]`, `v` `[keys, value_dim]`, `out` `[queries, value_dim]`. Query `i` stands at
/// position `first_position + i`, key `j` at position `j`. The score matrix is written out in full, one row at a time.
pub fn attention(
    out: &mut [f32],
    q: &[f32],
    k: &[f32],
    v: &[f32],
    key_dim: usize,
    scale: f32,
    first_position: usize,
    visibility: Visibility,
) {
    // ANCHOR: solve-attention
    let keys = k.len() / key_dim;
    let queries = q.len() / key_dim;
    let value_dim = out.len().checked_div(queries).unwrap_or(0);
    for i in 0..queries {
        let query = &q[i * key_dim..][..key_dim];
        let mut scores = vec![f32::NEG_INFINITY; keys];
        for (j, score) in scores.iter_mut().enumerate() {
            if visibility.sees(first_position + i, j) {
                *score = dot(query, &k[j * key_dim..][..key_dim]) * scale;
            }
        }
        softmax(&mut scores);
        mix(&mut out[i * value_dim..][..value_dim], &scores, v);
    }
    // ANCHOR_END: solve-attention
}

/// `a . b`.
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `out = sum over j of weights[j] * values[j]`; a weight of zero leaves its value out, whatever it is;
/// one that is not a number makes the whole row so.
pub(super) fn mix(out: &mut [f32], weights: &[f32], values: &[f32]) {
    out.fill(0.0);
    for (weight, value) in weights.iter().zip(values.chunks_exact(out.len())) {
        if *weight != 0.0 {
            out.iter_mut()
                .zip(value)
                .for_each(|(out, value)| *out += weight * value);
        }
    }
}
