//! From a choice's tokens to its text: decoded as they come, cut at the first stop string.

use attention_variants::hf::Tokenizer;
use std::sync::Arc;

use crate::detokenize::{Decode, Detokenizer};
use crate::stop::StopScanner;
use crate::validate::Options;

/// A tokenizer that decodes in the way that a request asked for.
#[derive(Clone, Debug)]
struct RequestDecoder {
    tokenizer: Arc<Tokenizer>,
    skip_special: bool,
}

impl Decode for RequestDecoder {
    fn decode(&self, ids: &[u32]) -> String {
        self.tokenizer
            .decode(ids, self.skip_special)
            .unwrap_or_else(|error| {
                tracing::error!(%error, "tokens without text");
                String::new()
            })
    }
}

/// The text of one choice.
pub(crate) struct ChoiceText {
    detokenizer: Detokenizer<RequestDecoder>,
    scanner: StopScanner,
    characters: usize,
}

impl ChoiceText {
    /// The text that follows a prompt.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, prompt: &[u32], options: &Options) -> Self {
        let decoder = RequestDecoder {
            tokenizer,
            skip_special: options.skip_special,
        };
        Self {
            detokenizer: Detokenizer::new(decoder, prompt),
            scanner: StopScanner::new(options.stop.clone(), options.include_stop),
            characters: 0,
        }
    }

    /// Characters decoded so far, those that may yet turn out to belong to a stop string included.
    pub(crate) fn characters(&self) -> usize {
        self.characters
    }

    /// Text that is certain after one more token, and whether it ends in a stop string.
    pub(crate) fn push(&mut self, token: u32) -> (String, bool) {
        let text = self.detokenizer.push(token);
        self.scan(&text)
    }

    /// Text that was held back, and whether it ends in a stop string. Nothing may be pushed after it.
    pub(crate) fn finish(&mut self) -> (String, bool) {
        let text = self.detokenizer.finish();
        let (mut text, stopped) = self.scan(&text);
        if !stopped {
            text.push_str(&self.scanner.finish());
        }
        (text, stopped)
    }

    fn scan(&mut self, text: &str) -> (String, bool) {
        self.characters += text.chars().count();
        let scan = self.scanner.push(text);
        (scan.emit, scan.stopped.is_some())
    }
}
