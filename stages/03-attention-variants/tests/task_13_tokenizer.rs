//! A tokenizer.json gives ids and text back.

mod folder;

use attention_variants::hf::Tokenizer;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// The character that stands for a byte in a byte-level vocabulary: itself if printable, else one from 256 up.
fn byte_character(byte: u8) -> char {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    if printable(byte) {
        return char::from(byte);
    }
    let hidden_before = (0..byte).filter(|&earlier| !printable(earlier)).count() as u32;
    char::from_u32(256 + hidden_before).unwrap()
}

/// A byte-level BPE with two merges and two special tokens, in the form that published models have.
fn tokenizer_json() -> Value {
    let mut vocab = serde_json::Map::new();
    for byte in 0..=255u8 {
        vocab.insert(byte_character(byte).to_string(), json!(byte));
    }
    vocab.insert("ab".to_string(), json!(256));
    vocab.insert("abc".to_string(), json!(257));
    let special = |id: u32, text: &str| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": false, "special": true})
    };
    json!({
        "version": "1.0",
        // A training run left these behind; they must not shorten or fill anything.
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 10}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "!"},
        "added_tokens": [special(258, "<s>"), special(259, "<|end|>")],
        "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [258], "tokens": ["<s>"]}}
        },
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
                  "vocab": vocab, "merges": [["a", "b"], ["ab", "c"]]}
    })
}

fn tokenizer() -> Tokenizer {
    folder::source(&[("tokenizer.json", tokenizer_json().to_string().as_bytes())])
        .tokenizer()
        .unwrap()
}

#[test]
fn merges_and_special_tokens() {
    let tokenizer = tokenizer();
    assert_eq!(tokenizer.encode("abcab", false).unwrap(), [257, 256]);
    assert_eq!(
        tokenizer.encode("a<|end|>b", true).unwrap(),
        [258, 97, 259, 98]
    );
    assert_eq!(tokenizer.encode("", false).unwrap(), [0u32; 0]);
    assert_eq!(tokenizer.encode("", true).unwrap(), [258]);
    assert_eq!(tokenizer.vocab_size(), 260);
    assert_eq!(tokenizer.token_to_id("<|end|>"), Some(259));
    assert_eq!(tokenizer.token_to_id("nothing"), None);
    assert_eq!(tokenizer.id_to_token(257).as_deref(), Some("abc"));
    assert_eq!(tokenizer.id_to_token(260), None);
    assert!(tokenizer.is_special(258) && tokenizer.is_special(259));
    assert!(!tokenizer.is_special(257) && !tokenizer.is_special(9999));
}

#[test]
fn decoding_keeps_or_skips_special_tokens() {
    let tokenizer = tokenizer();
    assert_eq!(
        tokenizer.decode(&[258, 257, 259], false).unwrap(),
        "<s>abc<|end|>"
    );
    assert_eq!(tokenizer.decode(&[258, 257, 259], true).unwrap(), "abc");
    assert_eq!(tokenizer.decode(&[], true).unwrap(), "");
    // An id that no token has is nothing, and half a character is a replacement character.
    assert_eq!(tokenizer.decode(&[4_000_000_000, 97], true).unwrap(), "a");
    assert_eq!(tokenizer.decode(&[0xc3], true).unwrap(), "\u{fffd}");
}

#[test]
fn nothing_is_cut_or_filled() {
    let tokenizer = tokenizer();
    assert_eq!(
        tokenizer.encode("zzzzzzzzzzzzzzz", false).unwrap(),
        [u32::from(b'z'); 15]
    );
    assert_eq!(tokenizer.encode("z", false).unwrap(), [u32::from(b'z')]);
}

#[test]
fn any_text_comes_back() {
    let tokenizer = tokenizer();
    let mut rng = StdRng::seed_from_u64(folder::seed());
    for length in 0..200 {
        let text: String = (0..length)
            .map(|_| match rng.random_range(0..4u8) {
                0 => rng.random_range('a'..='d'),
                1 => rng.random_range('\0'..='\u{ff}'),
                _ => rng.random::<char>(),
            })
            .collect();
        let ids = tokenizer.encode(&text, false).unwrap();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text);
    }
}

/// The tokenizer library panics on some damaged files (the test's output shows it); here that is an error like others.
#[test]
fn a_damaged_tokenizer_is_refused_or_works() {
    let mut rng = StdRng::seed_from_u64(folder::seed());
    let good = tokenizer_json().to_string().into_bytes();
    let mut refused = 0;
    for _ in 0..500 {
        let mut bytes = good.clone();
        for _ in 0..rng.random_range(1..4) {
            folder::mutate(&mut rng, &mut bytes);
        }
        match folder::source(&[("tokenizer.json", &bytes)]).tokenizer() {
            Ok(tokenizer) => {
                if let Ok(ids) = tokenizer.encode("abcab <|end|> \u{e9}\n", true) {
                    let _ = tokenizer.decode(&ids, true);
                }
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().contains("tokenizer.json"), "{error}");
            }
        }
    }
    assert!(refused > 50, "the damage is too mild: {refused} refused");
}
