//! Hugging Face folders made in memory, for the tests of the loader.
#![allow(dead_code)] // each test target uses its own part

pub mod expected;
pub mod minimal;

use attention_variants::hf::{LoadError, Source};
use rand::RngExt;
use rand::rngs::StdRng;

/// A seed from the environment or a fresh one, printed so that a failure can be run again.
pub fn seed() -> u64 {
    let seed = std::env::var("TEST_SEED").map_or_else(
        |_| rand::random(),
        |text| text.parse().expect("TEST_SEED is a number"),
    );
    println!("seed {seed}");
    seed
}

/// A source that holds these files. The bytes live as long as the test program.
pub fn source(files: &[(&'static str, &[u8])]) -> Source {
    let leak = |&(name, bytes): &(&'static str, &[u8])| -> (&'static str, &'static [u8]) {
        (name, bytes.to_vec().leak())
    };
    Source::Embedded(files.iter().map(leak).collect::<Vec<_>>().leak())
}

/// One tensor on its way into a file: name, type, shape, bytes.
pub type Tensor<'a> = (&'a str, &'a str, &'a [usize], &'a [u8]);

/// A safetensors file with this header and data, well formed or not.
pub fn safetensors_raw(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        data,
    ]
    .concat()
}

/// A well formed safetensors file.
pub fn safetensors(tensors: &[Tensor]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in tensors {
        let begin = data.len();
        data.extend_from_slice(bytes);
        let entry = serde_json::json!({"dtype": dtype, "shape": shape, "data_offsets": [begin, data.len()]});
        header.insert(name.to_string(), entry);
    }
    safetensors_raw(&serde_json::Value::Object(header).to_string(), &data)
}

/// The message of an error, after checking that it names what it is about and is not empty words.
pub fn message<T>(result: Result<T, LoadError>, names: &[&str]) -> String {
    let message = match result {
        Ok(_) => panic!("loaded, but must not: expected an error about {names:?}"),
        Err(error) => error.to_string(),
    };
    for name in names {
        assert!(message.contains(name), "`{message}` does not name `{name}`");
    }
    message
}

/// Damages a file in one place.
pub fn mutate(rng: &mut StdRng, bytes: &mut Vec<u8>) {
    let at = rng.random_range(0..bytes.len());
    match rng.random_range(0..6u8) {
        0 => bytes[at] ^= 1 << rng.random_range(0..8u8),
        1 => bytes[at] = rng.random(),
        2 => {
            bytes[at] = *b"0123456789,:[]{}\"-.e"
                .get(rng.random_range(0..20usize))
                .unwrap()
        }
        3 => bytes.insert(at, rng.random_range(b'0'..=b'9')),
        4 if bytes.len() > 1 => drop(bytes.remove(at)),
        _ => {
            let length = rng.random_range(1..=8).min(bytes.len() - at);
            bytes.copy_within(at..at + length, 0);
        }
    }
}
