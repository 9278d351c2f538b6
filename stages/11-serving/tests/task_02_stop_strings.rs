//! Task 2: the cut is where a search of the whole text finds it, however the text is cut into pieces.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serving::stop::StopScanner;

/// Grows the text by characters until it ends in a stop string; the longest, if several.
fn naive(text: &str, stop: &[&str], include: bool) -> (String, Option<usize>) {
    for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
        let ended = |index: &usize| text[..end].ends_with(stop[*index]);
        let longest = (0..stop.len()).filter(ended).max_by_key(|i| stop[*i].len());
        if let Some(index) = longest {
            let keep = if include {
                end
            } else {
                end - stop[index].len()
            };
            return (text[..keep].to_owned(), Some(index));
        }
    }
    (text.to_owned(), None)
}

fn scan(pieces: &[&str], stop: &[&str], include: bool) -> (String, Option<usize>) {
    let stop = stop.iter().map(|stop| stop.to_string()).collect();
    let mut scanner = StopScanner::new(stop, include);
    let mut text = String::new();
    for piece in pieces {
        let scan = scanner.push(piece);
        text.push_str(&scan.emit);
        if scan.stopped.is_some() {
            return (text, scan.stopped);
        }
    }
    (text + &scanner.finish(), None)
}

#[test]
fn what_could_begin_a_stop_string_is_held_back() {
    let mut scanner = StopScanner::new(vec!["</s>".to_owned()], false);
    assert_eq!(scanner.push("a<").emit, "a");
    assert_eq!(scanner.push("/").emit, "");
    assert_eq!(scanner.push("b<").emit, "</b");
    assert_eq!(scanner.finish(), "<");
    let mut scanner = StopScanner::new(Vec::new(), false);
    assert_eq!(scanner.push("at once").emit, "at once");
}

#[test]
fn random_cuts_agree_with_a_search_of_the_whole_text() {
    let seed = std::env::var("TEST_SEED").ok().and_then(|s| s.parse().ok());
    let seed = seed.unwrap_or_else(rand::random::<u64>);
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let all = ["aba", "b", "bab", "é", "aé", "abab", "éé", "zzz"];
    let mut found = 0;
    for _ in 0..5_000 {
        let pieces: Vec<&str> = (0..rng.random_range(0..8))
            .map(|_| ["a", "b", "ab", "é", "", "ba", "aé", "c"][rng.random_range(0..8)])
            .collect();
        let from = rng.random_range(0..all.len());
        let stop = &all[from..rng.random_range(from..=all.len())];
        let include = rng.random_bool(0.5);
        let whole = pieces.concat();
        let expected = naive(&whole, stop, include);
        found += usize::from(expected.1.is_some());
        assert_eq!(
            scan(&pieces, stop, include),
            expected,
            "{pieces:?} {stop:?}"
        );
        assert_eq!(
            scan(&[&whole], stop, include),
            expected,
            "{whole:?} {stop:?}"
        );
    }
    assert!(found > 500, "only {found} cuts: the texts are badly chosen");
}
