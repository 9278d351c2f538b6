//! Task 2: multi-head, grouped-query and multi-query attention are one rule.

mod support;

use attention_variants::variants::{HeadShape, Visibility, attention, multi_head_attention};
use support::{assert_close, rng, values};

fn run(q: &[f32], k: &[f32], v: &[f32], shape: HeadShape) -> Vec<f32> {
    let mut out = vec![f32::NAN; q.len()];
    multi_head_attention(&mut out, q, k, v, shape, 0, Visibility::Causal);
    out
}

/// Each query head is one head of attention with the key/value head of its group.
#[test]
fn each_head_reads_its_group() {
    let rng = &mut rng();
    for (heads, kv_heads, dim, len) in [
        (1, 1, 3, 4),
        (4, 4, 5, 6),
        (6, 2, 4, 7),
        (5, 1, 8, 3),
        (8, 4, 2, 1),
    ] {
        let shape = HeadShape {
            heads,
            kv_heads,
            head_dim: dim,
        };
        let q = values(rng, len * heads * dim);
        let (k, v) = (
            values(rng, len * kv_heads * dim),
            values(rng, len * kv_heads * dim),
        );
        let got = run(&q, &k, &v, shape);
        let column = |x: &[f32], of: usize, head: usize| -> Vec<f32> {
            (0..len)
                .flat_map(|t| x[(t * of + head) * dim..][..dim].iter().copied())
                .collect()
        };
        for head in 0..heads {
            let group = head / (heads / kv_heads);
            let mut want = vec![f32::NAN; len * dim];
            let (keys, values) = (column(&k, kv_heads, group), column(&v, kv_heads, group));
            let scale = 1.0 / (dim as f32).sqrt();
            attention(
                &mut want,
                &column(&q, heads, head),
                &keys,
                &values,
                dim,
                scale,
                0,
                Visibility::Causal,
            );
            assert_close(
                &column(&got, heads, head),
                &want,
                1e-6,
                &format!("head {head} of {shape:?}"),
            );
        }
    }
}

/// Grouped-query attention is multi-head attention whose key/value heads are repeated.
#[test]
fn repeating_heads_changes_nothing() {
    let rng = &mut rng();
    let (heads, kv_heads, dim, len) = (6, 2, 4, 5);
    let q = values(rng, len * heads * dim);
    let (k, v) = (
        values(rng, len * kv_heads * dim),
        values(rng, len * kv_heads * dim),
    );
    let repeated = |x: &[f32]| -> Vec<f32> {
        x.chunks_exact(dim)
            .flat_map(|head| [head, head, head].concat())
            .collect()
    };
    let grouped = run(
        &q,
        &k,
        &v,
        HeadShape {
            heads,
            kv_heads,
            head_dim: dim,
        },
    );
    let multi = run(
        &q,
        &repeated(&k),
        &repeated(&v),
        HeadShape {
            heads,
            kv_heads: heads,
            head_dim: dim,
        },
    );
    assert_eq!(grouped, multi);
}
