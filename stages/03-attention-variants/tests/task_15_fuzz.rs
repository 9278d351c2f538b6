//! Whatever is in a model's files, reading them ends in a description or an error, never in a panic.

mod folder;

use folder::minimal::{FILE, families, open, parse, small_file};
use folder::{mutate, source};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// Any whole model file, mutated at random, loads or is refused; the point is that nothing panics or allocates without end.
#[test]
fn mutated_files_never_panic() {
    let mut rng = StdRng::seed_from_u64(folder::seed());
    let configs: Vec<Vec<u8>> = families()
        .iter()
        .map(|config| config.to_string().into_bytes())
        .collect();
    let (mut good, mut refused) = (0, 0);
    for round in 0..4000 {
        let mut config = configs[round % configs.len()].clone();
        let mut file = small_file();
        for bytes in [&mut config, &mut file] {
            for _ in 0..rng.random_range(1..4) {
                mutate(&mut rng, bytes);
            }
        }
        for result in [parse(&config).map(|_| ()), open(&file)] {
            match result {
                Ok(()) => good += 1,
                Err(error) => {
                    refused += 1;
                    assert!(
                        error.to_string().contains(".json") || error.to_string().contains(FILE),
                        "{error}"
                    );
                }
            }
        }
    }
    assert!(
        good > 100 && refused > 100,
        "the mutations are too mild or too wild: {good} loaded, {refused} refused"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any number in any field of any family: a description whose products fit, or an error.
    #[test]
    fn any_number_anywhere(
        family in 0..5usize,
        field in 0..40usize,
        value in prop_oneof![any::<u64>(), 0..70u64, (0..64u32).prop_map(|bit| 1 << bit)],
    ) {
        let mut config = families()[family].clone();
        let names: Vec<String> = config.as_object().unwrap().keys().cloned().collect();
        let name = &names[field % names.len()];
        config[name] = json!(value);
        match parse(config.to_string().as_bytes()) {
            Ok(config) => {
                prop_assert!(config.layers.len() <= 1 << 16);
                prop_assert!(config.vocab_size.checked_mul(config.hidden_size).is_some());
            }
            Err(error) => prop_assert!(error.to_string().contains("config.json"), "{}", error),
        }
    }

    /// Any bytes as a file of weights or as a tokenizer.
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(open(&bytes).is_err());
        prop_assert!(source(&[("tokenizer.json", &bytes)]).tokenizer().is_err());
        prop_assert!(parse(&bytes).is_err());
    }
}
