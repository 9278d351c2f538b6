//! Task 3: however a sequence is cut into prefills and decodes, each position gets the same.

mod support;

use attention_variants::variants::{
    HeadShape, KvCache, Visibility, decode, multi_head_attention, prefill,
};
use rand::RngExt;
use support::{assert_close, rng, values};

#[test]
fn cutting_does_not_matter() {
    let rng = &mut rng();
    for (shape, window) in [
        (
            HeadShape {
                heads: 4,
                kv_heads: 2,
                head_dim: 6,
            },
            None,
        ),
        (
            HeadShape {
                heads: 6,
                kv_heads: 2,
                head_dim: 5,
            },
            Some(4),
        ),
        (
            HeadShape {
                heads: 2,
                kv_heads: 2,
                head_dim: 1,
            },
            Some(1),
        ),
    ] {
        let len = 19;
        let (q_row, kv_row) = (
            shape.heads * shape.head_dim,
            shape.kv_heads * shape.head_dim,
        );
        let (q, k, v) = (
            values(rng, len * q_row),
            values(rng, len * kv_row),
            values(rng, len * kv_row),
        );
        let visibility = window.map_or(Visibility::Causal, Visibility::SlidingWindow);
        let mut want = vec![f32::NAN; q.len()];
        multi_head_attention(&mut want, &q, &k, &v, shape, 0, visibility);

        // One position at a time, then in pieces of all sizes.
        for longest in [1, 5] {
            let mut cache = KvCache::default();
            let mut got = vec![f32::NAN; q.len()];
            let mut at = 0;
            while at < len {
                let chunk = rng.random_range(1..=longest).min(len - at);
                let out = &mut got[at * q_row..(at + chunk) * q_row];
                let (q, k, v) = (
                    &q[at * q_row..(at + chunk) * q_row],
                    &k[at * kv_row..(at + chunk) * kv_row],
                    &v[at * kv_row..(at + chunk) * kv_row],
                );
                if chunk == 1 {
                    decode(out, q, k, v, &mut cache, shape, window);
                } else {
                    prefill(out, q, k, v, &mut cache, shape, visibility);
                }
                at += chunk;
                assert_eq!(cache.len(shape), at);
            }
            assert_close(&got, &want, 1e-6, &format!("{shape:?} {window:?}"));
        }
    }
}
