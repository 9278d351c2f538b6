//! How single tokens read: their text and their bytes, for log-probabilities and `/tokenize`.
//!
//! A token need not be whole characters. Its bytes are recovered from its spelling in the vocabulary, in the two ways that
//! tokenizers have of writing bytes: `<0xE2>`, and the printable alphabet of byte-level BPE.

use attention_variants::hf::Tokenizer;

/// What SentencePiece writes for a space.
const WORD_START: char = '▁';

/// The text of one token as it stands within a text.
pub fn text_of(tokenizer: &Tokenizer, token: u32) -> String {
    let text = tokenizer.decode(&[token], false).unwrap_or_default();
    let spelling = tokenizer.id_to_token(token).unwrap_or_default();
    // Decoders of such vocabularies drop the space where a text begins, and a token alone is a beginning.
    if spelling.starts_with(WORD_START) && !text.starts_with(' ') {
        return format!(" {text}");
    }
    text
}

/// The bytes that a token stands for.
pub fn bytes_of(tokenizer: &Tokenizer, token: u32) -> Vec<u8> {
    let text = text_of(tokenizer, token);
    if !text.contains('\u{FFFD}') {
        return text.into_bytes();
    }
    let spelling = tokenizer.id_to_token(token).unwrap_or_default();
    byte_literal(&spelling)
        .or_else(|| spelling.chars().map(byte_level).collect())
        .unwrap_or_else(|| text.into_bytes())
}

/// `<0xE2>` is the byte E2.
fn byte_literal(spelling: &str) -> Option<Vec<u8>> {
    let digits = spelling.strip_prefix("<0x")?.strip_suffix('>')?;
    Some(vec![u8::from_str_radix(digits, 16).ok()?])
}

/// The byte behind a character of GPT-2's byte alphabet: printable Latin-1 characters stand for themselves, the other 68 bytes
/// for the characters from U+0100 on, in order.
fn byte_level(c: char) -> Option<u8> {
    let printable = |byte: &u8| matches!(byte, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
    match u32::from(c) {
        code @ 0..=0xFF => Some(code as u8).filter(printable),
        code => (0..=0xFF)
            .filter(|byte| !printable(byte))
            .nth((code - 0x100) as usize),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_alphabet_is_one_to_one_and_complete() {
        let mut bytes: Vec<u8> = (0..0x144)
            .filter_map(char::from_u32)
            .filter_map(byte_level)
            .collect();
        bytes.sort_unstable();
        assert_eq!(bytes, (0..=0xFF).collect::<Vec<u8>>());
        assert_eq!(byte_level('Ġ'), Some(b' '));
        assert_eq!(byte_level('Ċ'), Some(b'\n'));
        assert_eq!(byte_level('\u{144}'), None);
    }

    #[test]
    fn byte_literals() {
        assert_eq!(byte_literal("<0xE2>"), Some(vec![0xE2]));
        assert_eq!(byte_literal("<0xE2"), None);
        assert_eq!(byte_literal("<0xZZ>"), None);
    }
}
