//! Task 4: multi-head latent attention: absorbed equals naive, and both equal plain attention over the keys and values that it stands for.

mod support;

use attention_variants::variants::{
    LatentCache, LatentWeights, Visibility, attention, cached_numbers_per_token,
    latent_attention_absorbed, latent_attention_naive,
};
use rand::rngs::StdRng;
use support::{assert_close, rng, values};

fn random(
    rng: &mut StdRng,
    heads: usize,
    dims: [usize; 4],
    len: usize,
) -> (LatentWeights, LatentCache, Vec<f32>) {
    let [nope_dim, rope_dim, value_dim, latent_dim] = dims;
    let weights = LatentWeights {
        key_up: values(rng, heads * nope_dim * latent_dim),
        value_up: values(rng, heads * value_dim * latent_dim),
        heads,
        nope_dim,
        rope_dim,
        value_dim,
        latent_dim,
    };
    let cache = LatentCache {
        latents: values(rng, len * latent_dim),
        rotated: values(rng, len * rope_dim),
    };
    let q = values(rng, heads * (nope_dim + rope_dim));
    (weights, cache, q)
}

#[test]
fn absorbed_equals_naive() {
    let rng = &mut rng();
    for (heads, dims, len) in [
        (1, [1, 2, 1, 1], 1),
        (3, [5, 2, 7, 4], 9),
        (4, [8, 4, 8, 16], 20),
        (2, [3, 6, 5, 11], 1),
    ] {
        let (weights, cache, q) = random(rng, heads, dims, len);
        let mut naive = vec![f32::NAN; heads * weights.value_dim];
        let mut absorbed = naive.clone();
        latent_attention_naive(&mut naive, &q, &cache, &weights);
        latent_attention_absorbed(&mut absorbed, &q, &cache, &weights);
        assert_close(
            &absorbed,
            &naive,
            1e-5,
            &format!("{heads} heads, {dims:?}, {len} positions"),
        );
    }
}

/// The keys and values that a latent stands for, made in double precision, under plain attention.
#[test]
fn naive_equals_plain_attention() {
    let rng = &mut rng();
    let (len, dims) = (7, [5, 4, 6, 9]);
    let (weights, cache, q) = random(rng, 3, dims, len);
    let [nope, rope, value_dim, latent] = dims;
    let mut got = vec![f32::NAN; 3 * value_dim];
    latent_attention_naive(&mut got, &q, &cache, &weights);
    for head in 0..3 {
        let up = |matrix: &[f32], rows: usize, t: usize| -> Vec<f32> {
            let row = |r: usize| -> f64 {
                let weights = &matrix[(head * rows + r) * latent..][..latent];
                let latents = &cache.latents[t * latent..][..latent];
                weights
                    .iter()
                    .zip(latents)
                    .map(|(w, c)| f64::from(*w) * f64::from(*c))
                    .sum()
            };
            (0..rows).map(|r| row(r) as f32).collect()
        };
        let keys: Vec<f32> = (0..len)
            .flat_map(|t| {
                [
                    up(&weights.key_up, nope, t),
                    cache.rotated[t * rope..][..rope].to_vec(),
                ]
                .concat()
            })
            .collect();
        let mixed: Vec<f32> = (0..len)
            .flat_map(|t| up(&weights.value_up, value_dim, t))
            .collect();
        let mut want = vec![f32::NAN; value_dim];
        let query = &q[head * (nope + rope)..][..nope + rope];
        let scale = 1.0 / ((nope + rope) as f32).sqrt();
        attention(
            &mut want,
            query,
            &keys,
            &mixed,
            nope + rope,
            scale,
            len - 1,
            Visibility::Causal,
        );
        assert_close(
            &got[head * value_dim..][..value_dim],
            &want,
            1e-5,
            &format!("head {head}"),
        );
    }
}

/// DeepSeek-V3: 576 numbers a token and layer, where 128 heads of 128 would keep 32,768 and 8 of them 2,048.
#[test]
fn the_cache_is_small() {
    let weights = LatentWeights {
        key_up: vec![],
        value_up: vec![],
        heads: 128,
        nope_dim: 128,
        rope_dim: 64,
        value_dim: 128,
        latent_dim: 512,
    };
    assert_eq!(cached_numbers_per_token(128, 128, &weights), (32_768, 576));
    assert_eq!(cached_numbers_per_token(8, 128, &weights), (2_048, 576));
}
