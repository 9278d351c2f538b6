//! How tokens become text that can be told: `cargo run -p stage-11 --example token_text`.

use serving::detokenize::{Decode, Detokenizer};
use serving::stop::StopScanner;

/// A byte a token, the hardest case: every character that is not ASCII comes in pieces.
#[derive(Clone)]
struct Bytes;

impl Decode for Bytes {
    fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn main() {
    let mut detokenizer = Detokenizer::new(Bytes, &[]);
    let mut scanner = StopScanner::new(vec!["</end>".to_owned()], false);
    println!("{:>5}  {:8} {:8} told", "token", "decoded", "certain");
    let mut told = String::new();
    for byte in "né <b></end> never seen".bytes() {
        let text = detokenizer.push(u32::from(byte));
        let scan = scanner.push(&text);
        told.push_str(&scan.emit);
        println!(
            "{byte:>5}  {:8} {:8} {told:?}",
            format!("{text:?}"),
            format!("{:?}", scan.emit)
        );
        if scan.stopped.is_some() {
            println!("the stop string is whole: nothing after it is generated");
            return;
        }
    }
}
