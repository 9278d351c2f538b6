//! Task 7: bias and penalties change single logits, as CTRL and OpenAI define it.

mod common;

use common::{Case, coarse_logits, random_logits, rng};
use decoding::SamplingParams;
use proptest::prelude::*;
use rand::RngExt;
use rand::rngs::StdRng;

/// A vocabulary whose last token no history has: it serves as the ruler of [`measure`].
const VOCAB: u32 = 12;

fn penalties(repetition: f32, presence: f32, frequency: f32) -> SamplingParams {
    SamplingParams {
        repetition_penalty: repetition,
        presence_penalty: presence,
        frequency_penalty: frequency,
        ..SamplingParams::default()
    }
}

fn random_tokens(rng: &mut StdRng, most: usize) -> Vec<u32> {
    (0..rng.random_range(0..=most))
        .map(|_| rng.random_range(0..VOCAB - 1))
        .collect()
}

/// The logit that `token` has after the adjustments, seen from outside: everything else is suppressed, and the ruler's logit is
/// halved towards the value at which greedy decoding starts to prefer it.
fn measure(case: &Case, token: u32) -> f64 {
    let mut case = case.clone();
    case.params.temperature = 0.0;
    let ruler = VOCAB - 1;
    case.suppressed = (0..ruler).filter(|other| *other != token).collect();
    let (mut low, mut high) = (-200f64, 200f64);
    while high - low > 1e-6 {
        let middle = (low + high) / 2.0;
        case.logits[ruler as usize] = middle as f32;
        if case.sample(0).token == ruler {
            high = middle;
        } else {
            low = middle;
        }
    }
    (low + high) / 2.0
}

fn check_logits(case: &Case) {
    let expected = case.adjusted();
    for token in 0..VOCAB - 1 {
        let (seen, expected) = (measure(case, token), expected[token as usize]);
        let allowed = 1e-5 * expected.abs().max(1.0);
        assert!(
            (seen - expected).abs() < allowed,
            "token {token}: {seen}, not {expected}, for {case:?}"
        );
    }
}

#[test]
fn repetition_counts_prompt_and_output_once_and_shrinks_either_sign() {
    let mut case = Case::new(
        vec![2.0, -2.0, 2.0, -2.0, 2.0, 0.0, 1.0],
        penalties(4.0, 0.0, 0.0),
    );
    case.logits.resize(VOCAB as usize, 1.0);
    case.prompt = vec![0, 1, 5, 0];
    case.output = vec![2, 3, 2, 0];
    let seen: Vec<f64> = (0..6).map(|token| measure(&case, token)).collect();
    let expected = [0.5, -8.0, 0.5, -8.0, 2.0, 0.0];
    for (seen, expected) in seen.iter().zip(expected) {
        assert!((seen - expected).abs() < 1e-5, "{seen}, not {expected}");
    }
}

#[test]
fn presence_and_frequency_count_the_output_alone() {
    let mut case = Case::new(vec![1.0; VOCAB as usize], penalties(1.0, 0.5, 0.25));
    case.prompt = vec![0, 1, 1];
    case.output = vec![1, 2, 2, 2];
    for (token, expected) in [(0, 1.0), (1, 0.25), (2, -0.25), (3, 1.0)] {
        let seen = measure(&case, token);
        assert!((seen - expected).abs() < 1e-5, "{seen}, not {expected}");
    }
}

#[test]
fn bias_comes_before_the_penalties_and_adds_up() {
    let mut case = Case::new(vec![-1.0; VOCAB as usize], penalties(2.0, 0.0, 0.0));
    case.prompt = vec![3];
    case.params.logit_bias = vec![(3, 2.0), (3, 1.0), (4, -100.0)]; // -1 + 3 = 2, divided; penalised first it would be 1
    for (token, expected) in [(3, 1.0), (4, -101.0), (5, -1.0)] {
        let seen = measure(&case, token);
        assert!((seen - expected).abs() < 1e-4, "{seen}, not {expected}");
    }
}

#[test]
fn every_logit_is_as_defined_on_random_histories() {
    let mut rng = rng();
    for _ in 0..100 {
        let mut case = Case::new(
            random_logits(&mut rng, VOCAB as usize),
            SamplingParams::default(),
        );
        case.params.repetition_penalty = rng.random_range(0.3..3.0);
        case.params.presence_penalty = rng.random_range(-2.0..=2.0);
        case.params.frequency_penalty = rng.random_range(-2.0..=2.0);
        case.params.logit_bias =
            vec![(rng.random_range(0..VOCAB - 1), rng.random_range(-5.0..5.0))];
        case.prompt = random_tokens(&mut rng, 20);
        case.output = random_tokens(&mut rng, 30);
        check_logits(&case);
    }
}

#[test]
fn draws_follow_the_penalised_distribution() {
    let mut rng = rng();
    for (repetition, presence, frequency) in [
        (1.3, 0.0, 0.0),
        (0.7, 0.0, 0.0),
        (1.0, 0.9, 0.0),
        (1.0, -0.6, 0.0),
        (1.0, 0.0, 0.4),
        (1.0, 0.0, -0.3),
        (1.2, 0.5, 0.2),
    ] {
        let params = penalties(repetition, presence, frequency);
        let mut case = Case::new(random_logits(&mut rng, VOCAB as usize), params);
        case.params.logit_bias = vec![(1, 1.25), (6, -2.0)];
        case.prompt = random_tokens(&mut rng, 8);
        case.output = random_tokens(&mut rng, 8);
        case.check_distribution(&mut rng);
    }
}

/// Factors and amounts that are exact in f32, so that the truncations cut at the same place here and there.
#[test]
fn draws_follow_everything_together() {
    let mut rng = rng();
    for (repetition, presence, frequency) in [(2.0, 0.5, 0.125), (0.5, -0.25, 0.25)] {
        for _ in 0..6 {
            let params = SamplingParams {
                temperature: rng.random_range(0.5..1.5),
                top_k: rng.random_range(3..12),
                top_p: rng.random_range(0.6..1.0),
                min_p: rng.random_range(0.0..0.1),
                logit_bias: vec![(0, 0.75), (5, -1.5)],
                ..penalties(repetition, presence, frequency)
            };
            let mut case = Case::new(coarse_logits(&mut rng, VOCAB as usize), params);
            case.prompt = random_tokens(&mut rng, 8);
            case.output = random_tokens(&mut rng, 8);
            case.suppressed = vec![rng.random_range(0..VOCAB)];
            case.check_distribution(&mut rng);
        }
    }
}

/// The strongest penalties that validation lets through leave the row usable: a factor may push logits past what f32 holds.
#[test]
fn extreme_factors_do_not_break_the_draw() {
    let mut rng = rng();
    for (factor, temperature) in [
        (f32::MIN_POSITIVE, 1.0),
        (f32::MIN_POSITIVE, 0.0),
        (f32::MAX, 1.0),
    ] {
        let mut case = Case::new(vec![5.0, 4.0, -3.0, 1.0], penalties(factor, 0.0, 0.0));
        case.params.temperature = temperature;
        case.params.seed = rng.random();
        assert_eq!(case.params.validate(4), Ok(()));
        case.prompt = vec![0, 2];
        let counts = case.counts(200);
        if factor > 1.0 {
            assert_eq!((counts[2], counts[1] > counts[3]), (0, true), "{counts:?}");
        } else {
            assert_eq!(counts[0], 200, "{counts:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Greedy decoding agrees with the first of the exactly adjusted logits, ties and all, however a history came about.
    #[test]
    fn greedy_agrees_with_the_definition(
        eighths in prop::collection::vec(-24i32..24, 10),
        prompt in prop::collection::vec(0u32..10, 0..20),
        output in prop::collection::vec(0u32..10, 0..20),
        repetition in prop::sample::select(vec![0.25f32, 0.5, 1.0, 2.0, 4.0]),
        presence in -8i32..=8,
        frequency in -8i32..=8,
    ) {
        let logits = eighths.iter().map(|x| *x as f32 / 8.0).collect();
        let params = penalties(repetition, presence as f32 / 4.0, frequency as f32 / 4.0);
        let mut case = Case::new(logits, SamplingParams { temperature: 0.0, ..params });
        (case.prompt, case.output) = (prompt, output);
        let drawn = case.sample(0).token;
        prop_assert_eq!(case.exact()[drawn as usize], 1.0, "{} drawn of {:?}", drawn, case);
    }
}
