//! Task 1: streamed pieces are the whole text, and a token costs the same however long the sequence is.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serving::detokenize::{Decode, Detokenizer};
use std::cell::Cell;

/// A token that has no text, as special ones have none where they are skipped.
const SPECIAL: u32 = 256;

/// One token a byte; counts how many it decoded at most at once.
struct Bytes<'a>(&'a Cell<usize>);

impl Decode for Bytes<'_> {
    fn decode(&self, ids: &[u32]) -> String {
        self.0.set(self.0.get().max(ids.len()));
        let bytes: Vec<u8> = ids.iter().filter_map(|id| (*id).try_into().ok()).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn stream(prompt: &[u32], tokens: &[u32]) -> (Vec<String>, usize) {
    let widest = Cell::new(0);
    let mut detokenizer = Detokenizer::new(Bytes(&widest), prompt);
    let mut pieces: Vec<String> = tokens.iter().map(|t| detokenizer.push(*t)).collect();
    pieces.push(detokenizer.finish());
    (pieces, widest.get())
}

fn ids(text: &str) -> Vec<u32> {
    text.bytes().map(u32::from).collect()
}

#[test]
fn a_character_comes_whole() {
    let (pieces, _) = stream(&ids("prompt"), &ids("a😀b"));
    assert_eq!(pieces, ["a", "", "", "", "😀", "b", ""]);
    let (pieces, _) = stream(&[], &ids("😀")[..2]);
    assert_eq!(pieces.concat(), "\u{FFFD}");
    assert_eq!(stream(&[], &[]).0, [""]);
}

#[test]
fn random_texts_come_whole_at_constant_cost() {
    let seed = std::env::var("TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let pieces = ["a", "é", "語", "😀", "\n", " ", "\u{FFFD}"];
    for _ in 0..2_000 {
        let length = rng.random_range(0..200);
        let text: String = (0..length)
            .map(|_| pieces[rng.random_range(0..pieces.len())])
            .collect();
        let (streamed, widest) = stream(&ids("some prompt"), &ids(&text));
        assert_eq!(streamed.concat(), text);
        assert!(widest <= 40, "{widest} tokens decoded at once");
    }
}

#[test]
fn bytes_that_are_no_characters_are_replaced_not_lost() {
    let tokens = [ids("a"), vec![0xFF; 50], ids("b")].concat();
    let (pieces, widest) = stream(&ids("some prompt"), &tokens);
    assert_eq!(pieces.concat(), format!("a{}b", "\u{FFFD}".repeat(50)));
    assert!(widest <= 40, "{widest} tokens decoded at once");
}

/// The replacement character can stand in a text itself, and looks like half a character then.
#[test]
fn a_run_of_replacement_characters_is_cut_between_them() {
    for before in ["", "a", "ab"] {
        let text = format!("{before}{}b", "\u{FFFD}".repeat(50));
        assert_eq!(stream(&ids("prompt"), &ids(&text)).0.concat(), text);
    }
}

/// Wherever the hold-back limit falls, tokens without text do not make half a character look whole.
#[test]
fn tokens_without_text_within_a_character_do_not_break_it() {
    for before in 0..40 {
        for specials in 0..4 {
            let gap = vec![SPECIAL; specials];
            let [first, second, third] = [0xE2, 0x82, 0xAC]; // the bytes of the euro sign
            let character = [vec![first], gap.clone(), vec![second], gap, vec![third]].concat();
            let tokens = [vec![0xFF; before], character].concat();
            let expected = "\u{FFFD}".repeat(before) + "€";
            assert_eq!(stream(&ids("prompt"), &tokens).0.concat(), expected);
        }
    }
}
