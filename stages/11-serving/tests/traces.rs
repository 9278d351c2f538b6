//! The drawing of the chapter: what becomes of each token's text, from a run of the detokenizer and the stop scanner.

use benches::trace::{Cell, Grid, check};
use serving::detokenize::{Decode, Detokenizer};
use serving::stop::StopScanner;

#[derive(Clone)]
struct Bytes;

impl Decode for Bytes {
    fn decode(&self, ids: &[u32]) -> String {
        let bytes: Vec<u8> = ids.iter().map(|id| *id as u8).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[test]
fn text_over_tokens() {
    let answer = "a 👍<b> é</end>";
    let bytes: Vec<u8> = answer.bytes().collect();
    let mut detokenizer = Detokenizer::new(Bytes, &[]);
    let mut scanner = StopScanner::new(vec!["</end>".to_owned()], false);
    // Bytes whose text is decoded, and bytes whose text is told.
    let (mut decoded, mut told) = (0, 0);
    let mut columns: Vec<Vec<Option<Cell>>> = Vec::new();
    for (at, byte) in bytes.iter().enumerate() {
        let text = detokenizer.push(u32::from(*byte));
        decoded += text.len();
        let scan = scanner.push(&text);
        told += scan.emit.len();
        let cell = |index: usize| match index {
            _ if index > at => None,
            _ if index < told => Cell::new(0, ""),
            _ if scan.stopped.is_some() => Cell::new(3, ""),
            _ if index < decoded => Cell::new(2, ""),
            _ => Cell::new(1, ""),
        };
        columns.push((0..bytes.len()).map(cell).collect());
    }
    assert_eq!(
        told,
        answer.len() - "</end>".len(),
        "all but the stop string is told"
    );
    let name = |byte: &u8| {
        if byte.is_ascii_graphic() {
            char::from(*byte).to_string()
        } else {
            format!("{byte:02x}")
        }
    };
    let grid = Grid {
        title: "Eighteen tokens of a byte each: when the text of each (rows) is told, as further tokens come (columns); the stop string is </end>".to_owned(),
        row_axis: "byte".to_owned(),
        column_axis: "after token".to_owned(),
        rows: bytes.iter().map(name).collect(),
        columns: (1..=bytes.len()).map(|token| token.to_string()).collect(),
        legend: ["told", "half a character", "may begin a stop", "cut off"].map(str::to_owned).to_vec(),
        cells: (0..bytes.len()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect(),
    };
    check("11-text", &grid);
}
