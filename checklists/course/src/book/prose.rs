//! Numbers in prose: what looks measured must come from a record, or link to its source.

use super::directive::without;
use super::markdown::options;
use pulldown_cmark::{Event, Parser, Tag, TagEnd};

/// Numbers with a unit of time or rate, percentages and factors in prose: they must come from a record, or link to their source.
pub(super) fn numbers(source: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let mut prose = prose(source);
    // Text arrives in pieces; a unit may stand in the piece after its number.
    prose.push((0, "\n".to_owned()));
    let mut line = 0;
    let mut sentence = String::new();
    for (at, text) in prose {
        if text == "\n" {
            problems.extend(measured(&sentence).map(|found| {
                format!(
                    "near line {line}: {found:?} must come from a record, or link to its source"
                )
            }));
            sentence.clear();
            line = 0;
        } else {
            line = if line == 0 { at } else { line };
            sentence.push_str(&text);
        }
    }
    problems
}

/// Figures in a sentence that look measured.
fn measured(sentence: &str) -> impl Iterator<Item = String> + '_ {
    const UNITS: [&str; 30] = [
        "ns",
        "µs",
        "us",
        "ms",
        "s",
        "sec",
        "second",
        "seconds",
        "millisecond",
        "milliseconds",
        "microsecond",
        "microseconds",
        "nanosecond",
        "nanoseconds",
        "minute",
        "minutes",
        "%",
        "percent",
        "x",
        "×",
        "times",
        "tokens/s",
        "token/s",
        "tok/s",
        "req/s",
        "GB/s",
        "GiB/s",
        "TB/s",
        "GFLOP/s",
        "TFLOP/s",
    ];
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let trimmed = |word: &str| {
        word.trim_matches(|c: char| !c.is_alphanumeric() && !"%×µ/".contains(c))
            .to_owned()
    };
    let split = move |word: &str| {
        let word = trimmed(word);
        let end = word
            .find(|c: char| !c.is_ascii_digit() && !".,".contains(c))
            .unwrap_or(word.len());
        (word[..end].to_owned(), word[end..].to_owned())
    };
    (0..words.len()).filter_map(move |index| {
        let (number, unit) = split(words[index]);
        if !number.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let next = words
            .get(index + 1)
            .map(|word| trimmed(word))
            .unwrap_or_default();
        // "4 x 8" is a shape: a factor has no number after it.
        let after = words
            .get(index + 2)
            .is_some_and(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let is_measure =
            |unit: &str| UNITS.contains(&unit) && !(matches!(unit, "x" | "×" | "times") && after);
        if is_measure(&unit) {
            Some(words[index].to_owned())
        } else if unit.is_empty() && is_measure(&next) {
            Some(format!("{} {next}", words[index]))
        } else {
            None
        }
    })
}

/// The prose of a page: its text without code, link texts and directives, line by line with line numbers from one.
fn prose(source: &str) -> Vec<(usize, String)> {
    let mut prose = Vec::new();
    let mut hidden = 0;
    let without = without(source);
    for (event, range) in Parser::new_ext(&without, options()).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(_) | Tag::Link { .. }) => hidden += 1,
            Event::End(TagEnd::CodeBlock | TagEnd::Link) => hidden -= 1,
            Event::Text(text) if hidden == 0 => {
                let line = without[..range.start].lines().count().max(1);
                prose.push((line, text.into_string()));
            }
            // Code parts the words around it; a number before it has no unit after it.
            Event::Code(_) | Event::SoftBreak | Event::HardBreak => prose.push((0, " ".to_owned())),
            Event::End(
                TagEnd::Paragraph | TagEnd::Item | TagEnd::TableCell | TagEnd::Heading(_),
            ) => prose.push((0, "\n".to_owned())),
            _ => {}
        }
    }
    prose
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        numbers(text).len()
    }

    #[test]
    fn measured_numbers_in_prose_are_found() {
        for text in [
            "It takes 2 ms.",
            "It takes 2ms",
            "about 40 % less",
            "40% less",
            "is 3x faster",
            "is 3 times as fast",
            "at 1,200 tokens/s",
            "| a | 12.5 µs |\n",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn counts_shapes_code_links_and_values_are_not() {
        for text in [
            "A block has 16 tokens, 4096 bytes.",
            "a 4 x 8 matrix, 2 × 3",
            "`2 ms` in code",
            "```text\n2 ms\n```",
            "vLLM reports [under 4 %](https://example.org)",
            "It takes {{#value r s}}.",
            "sees 3 requests",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
    }
}
