//! Task 8: the draw is a pure function of seed and position, and two tokens in a row are independent.

mod common;

use common::{Case, chi_squared, random_logits, rng};
use decoding::{Sampler, SamplingParams, TokenHistory};
use rand::RngExt;

#[test]
fn a_draw_depends_on_seed_and_position_alone() {
    let mut rng = rng();
    let mut case = Case::new(random_logits(&mut rng, 100), SamplingParams::default());
    case.params.seed = rng.random();
    let alone: Vec<u32> = (0..500)
        .map(|position| case.sample(position).token)
        .collect();
    // The same again, backwards, with one sampler that serves another sequence in between.
    let mut sampler = Sampler::new(100);
    let history = TokenHistory::new(&[]);
    for position in (0..500).rev() {
        let other = SamplingParams {
            seed: rng.random(),
            top_k: rng.random_range(0..10),
            ..SamplingParams::default()
        };
        let row = random_logits(&mut rng, 70);
        sampler.sample(&row, &other, &history, &[], rng.random());
        let again = sampler.sample(&case.logits, &case.params, &history, &[], position);
        assert_eq!(again.token, alone[position as usize], "position {position}");
    }
}

/// The same through the sampler: two tokens in a row are as likely as the product of their probabilities.
#[test]
fn tokens_in_a_row_are_independent() {
    let mut rng = rng();
    let mut case = Case::new(random_logits(&mut rng, 6), SamplingParams::default());
    case.params.seed = rng.random();
    let single = case.exact();
    let tokens: Vec<usize> = (0..100_000)
        .map(|at| case.sample(at).token as usize)
        .collect();
    let mut counts = vec![0; 36];
    for pair in tokens.chunks_exact(2) {
        counts[pair[0] * 6 + pair[1]] += 1;
    }
    let pairs: Vec<f64> = (0..36)
        .map(|pair| single[pair / 6] * single[pair % 6])
        .collect();
    assert_eq!(chi_squared::fit(&counts, &pairs), Ok(()));
}
