//! Task 10: a request out of range is refused by the parameter's name, and nothing in range is.

use decoding::SamplingParams;

const VOCAB: usize = 100;
/// The neighbours of a bound, and what is no number at all.
const NO_NUMBERS: [f32; 3] = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

type Setter = fn(&mut SamplingParams, f32);

/// Every parameter with a range: the values at its ends that are good, and those just past them that are not.
fn ranges() -> [(&'static str, Setter, Vec<f32>, Vec<f32>); 7] {
    [
        (
            "temperature",
            |params, x| params.temperature = x,
            vec![0.0, -0.0, 1e-6, 2.0],
            vec![-1e-6, 2.0001],
        ),
        (
            "top_p",
            |params, x| params.top_p = x,
            vec![1e-6, 1.0],
            vec![0.0, -0.0, -0.1, 1.0001],
        ),
        (
            "min_p",
            |params, x| params.min_p = x,
            vec![0.0, 1.0],
            vec![-1e-6, 1.0001],
        ),
        (
            "repetition_penalty",
            |params, x| params.repetition_penalty = x,
            vec![1e-6, 1.0, 50.0],
            vec![0.0, -0.0, -1.0],
        ),
        (
            "presence_penalty",
            |params, x| params.presence_penalty = x,
            vec![-2.0, 2.0],
            vec![-2.0001, 2.0001],
        ),
        (
            "frequency_penalty",
            |params, x| params.frequency_penalty = x,
            vec![-2.0, 2.0],
            vec![-2.0001, 2.0001],
        ),
        (
            "logit_bias",
            |params, x| params.logit_bias = vec![(5, 1.0), (7, x)],
            vec![-100.0, 100.0],
            vec![-100.1, 100.1],
        ),
    ]
}

#[test]
fn the_default_and_every_end_of_a_range_are_good() {
    assert_eq!(SamplingParams::default().validate(VOCAB), Ok(()));
    for (name, set, good, _) in ranges() {
        for value in good {
            let mut params = SamplingParams::default();
            set(&mut params, value);
            assert_eq!(params.validate(VOCAB), Ok(()), "{name} {value}");
        }
    }
}

#[test]
fn everything_past_a_range_is_refused_by_name() {
    for (name, set, _, bad) in ranges() {
        for value in bad.into_iter().chain(NO_NUMBERS) {
            let mut params = SamplingParams::default();
            set(&mut params, value);
            let error = params.validate(VOCAB).expect_err(name);
            assert_eq!(error.param, name, "{value}");
            assert!(error.to_string().contains(name), "{error}");
            assert!(!error.message.is_empty());
        }
    }
}

#[test]
fn a_biased_token_must_be_in_the_vocabulary() {
    let biased = |token| SamplingParams {
        logit_bias: vec![(0, 1.0), (token, 1.0)],
        ..SamplingParams::default()
    };
    assert_eq!(biased(99).validate(VOCAB), Ok(()));
    for token in [100, u32::MAX] {
        let error = biased(token).validate(VOCAB).unwrap_err();
        assert_eq!(error.param, "logit_bias");
        assert!(error.message.contains(&token.to_string()), "{error}");
    }
}

#[test]
fn one_bad_parameter_among_good_ones_is_the_one_named() {
    let params = SamplingParams {
        temperature: 0.7,
        top_k: u32::MAX,
        top_p: 0.9,
        min_p: 1.5,
        logprobs: Some(20),
        ..SamplingParams::default()
    };
    assert_eq!(params.validate(VOCAB).unwrap_err().param, "min_p");
}
