//! One sentence through attention: who looks at whom, and that cutting it up changes nothing: `cargo run -p stage-03 --example one_sentence`.

use attention_variants::activation::softmax;
use attention_variants::variants::{HeadShape, KvCache, Visibility, decode, prefill};

/// Five tokens, two query heads over one key/value head of width two.
const SHAPE: HeadShape = HeadShape {
    heads: 2,
    kv_heads: 1,
    head_dim: 2,
};
const Q: [f32; 20] = [
    1.0, 0.0, 0.0, 1.0, 0.9, 0.4, 0.2, 1.0, 0.1, 0.9, 1.0, 0.3, 0.6, 0.6, 0.4, 0.8, 1.0, 1.0, 0.0,
    0.5,
];
const K: [f32; 10] = [3.0, 0.0, 0.0, 3.0, 2.0, 2.0, 3.0, 1.0, 0.5, 3.0];
const V: [f32; 10] = [1.0, 0.0, 0.0, 1.0, 0.5, 0.5, 1.0, 1.0, -1.0, 0.0];

fn main() {
    println!("weights of the first head, causal:");
    for query in 0..5 {
        let dot = |key: usize| Q[query * 4] * K[key * 2] + Q[query * 4 + 1] * K[key * 2 + 1];
        let mut row: Vec<f32> = (0..=query).map(|key| dot(key) * SHAPE.scale()).collect();
        softmax(&mut row);
        println!(
            "  token {query}:  {}",
            row.iter()
                .map(|weight| format!("{weight:.2}"))
                .collect::<Vec<_>>()
                .join("  ")
        );
    }

    let mut whole = [0.0; 20];
    let mut cache = KvCache::default();
    prefill(
        &mut whole,
        &Q,
        &K,
        &V,
        &mut cache,
        SHAPE,
        Visibility::Causal,
    );
    println!(
        "\nthe last token, prompt computed at once:        {}",
        show(&whole[16..])
    );

    let mut cut = [0.0; 20];
    let mut cache = KvCache::default();
    prefill(
        &mut cut[..12],
        &Q[..12],
        &K[..6],
        &V[..6],
        &mut cache,
        SHAPE,
        Visibility::Causal,
    );
    prefill(
        &mut cut[12..16],
        &Q[12..16],
        &K[6..8],
        &V[6..8],
        &mut cache,
        SHAPE,
        Visibility::Causal,
    );
    decode(
        &mut cut[16..],
        &Q[16..],
        &K[8..],
        &V[8..],
        &mut cache,
        SHAPE,
        None,
    );
    println!(
        "the last token, in chunks of 3 and 1, then one:  {}",
        show(&cut[16..])
    );
    println!("equal to the last bit: {}", whole == cut);

    let bytes = |kv_heads: usize| 2 * 32 * kv_heads * 128 * 2;
    println!("\ncache of one token, 32 layers, heads of 128, 16 bits:");
    for (name, kv_heads) in [
        ("32 key/value heads", 32),
        ("8 key/value heads", 8),
        ("1 key/value head", 1),
    ] {
        println!("  {name:20} {:>4} KiB", bytes(kv_heads) / 1024);
    }
    println!(
        "  {:20} {:>4} KiB",
        "a latent of 512 + 64",
        32 * (512 + 64) * 2 / 1024
    );
}

fn show(values: &[f32]) -> String {
    values
        .iter()
        .map(|value| format!("{value:.4}"))
        .collect::<Vec<_>>()
        .join(" ")
}
