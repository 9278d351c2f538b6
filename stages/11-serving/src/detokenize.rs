//! Turns a growing token sequence into text pieces.
//!
//! A token alone has no text: it may be part of a character, and its spelling may depend on its neighbours. So each new token
//! is decoded together with the few before it, and the text is handed out once it no longer ends in half a character. Work a
//! token is constant: a window of tokens is decoded, never the whole sequence.

/// Replaces bytes that are not (yet) a character.
const REPLACEMENT: char = '\u{FFFD}';
/// Tokens of the prompt that the first generated ones are decoded with.
const CONTEXT: usize = 5;
/// Tokens without certain text after which all but half a character is taken as it is: the bytes were never one, or the text
/// has this very character.
const MAX_HELD: usize = 16;

/// Token ids to text.
pub trait Decode {
    /// The text of ids.
    fn decode(&self, ids: &[u32]) -> String;
}

/// Decodes one choice as it grows.
#[derive(Clone, Debug)]
pub struct Detokenizer<D> {
    decoder: D,
    /// Context, then tokens whose text is not handed out.
    window: Vec<u32>,
    /// How many of the window are context.
    context: usize,
}

impl<D: Decode> Detokenizer<D> {
    /// A detokenizer for what follows a prompt.
    pub fn new(decoder: D, prompt: &[u32]) -> Self {
        let window = prompt[prompt.len().saturating_sub(CONTEXT)..].to_vec();
        Self {
            decoder,
            context: window.len(),
            window,
        }
    }

    /// The text that became certain with one more token; may be empty.
    pub fn push(&mut self, token: u32) -> String {
        // ANCHOR: solve-detokenize
        self.window.push(token);
        let text = self.new_text(self.window.len());
        if !text.is_empty() && !text.ends_with(REPLACEMENT) {
            self.advance(self.window.len());
            return text;
        }
        if self.window.len() - self.context < MAX_HELD {
            return String::new();
        }
        let end = self.character_border();
        let text = self.new_text(end);
        self.advance(end);
        text
        // ANCHOR_END: solve-detokenize
    }

    /// The text that was held back. Nothing may be pushed after it.
    pub fn finish(&mut self) -> String {
        let text = self.new_text(self.window.len());
        self.window.clear();
        self.context = 0;
        text
    }

    /// What the held tokens up to `end` add to the text of the context.
    fn new_text(&self, end: usize) -> String {
        let before = self.decoder.decode(&self.window[..self.context]);
        let with = self.decoder.decode(&self.window[..end]);
        let pairs = before.chars().zip(with.chars());
        let common = pairs.take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8());
        with[common.sum()..].to_owned()
    }

    /// The held tokens up to `end` are told and become the context.
    fn advance(&mut self, end: usize) {
        self.window.drain(..self.context);
        self.context = end - self.context;
    }

    /// The last place within the held tokens where cutting breaks no character: the parts decode to the whole. Behind it must
    /// be text: before tokens without any (special ones), half a character would seem unbroken.
    fn character_border(&self) -> usize {
        let whole = self.decoder.decode(&self.window);
        let (decoder, window) = (&self.decoder, &self.window);
        let unbroken = |end: &usize| {
            let rest = decoder.decode(&window[*end..]);
            !rest.is_empty() && decoder.decode(&window[..*end]) + &rest == whole
        };
        let mut inner = (self.context + 1..window.len()).rev();
        inner.find(unbroken).unwrap_or(window.len())
    }
}
