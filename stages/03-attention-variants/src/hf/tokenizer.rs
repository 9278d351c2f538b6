//! Text to token ids and back, as tokenizer.json says.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{LoadError, Source};

const FILE: &str = "tokenizer.json";

/// A tokenizer. Cloning is cheap enough to do once a thread, not once a request.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    special: HashSet<u32>,
}

/// A text that cannot be encoded or ids that cannot be decoded: the tokenizer's own steps contradict each other.
#[derive(Debug, thiserror::Error)]
#[error("the tokenizer failed: {0}; check tokenizer.json")]
pub struct TokenizerError(String);

impl Source {
    /// Reads tokenizer.json.
    ///
    /// # Errors
    /// The file is missing or is not a tokenizer.
    pub fn tokenizer(&self) -> Result<Tokenizer, LoadError> {
        if let Source::Gguf(gguf) = self {
            return gguf.tokenizer();
        }
        let advice = "a model needs its tokenizer.json; convert other formats with `transformers`' save_pretrained";
        let bytes = self.require(FILE, advice)?;
        Tokenizer::parse(&bytes).map_err(|message| LoadError::Tokenizer {
            file: self.name_of(FILE),
            message,
        })
    }
}

impl Tokenizer {
    /// A tokenizer.json.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let inner = guarded(|| {
            let mut inner = tokenizers::Tokenizer::from_bytes(bytes)?;
            // Some published files carry the truncation and padding of a training run, which would shorten prompts in silence.
            inner.with_truncation(None)?;
            inner.with_padding(None);
            // A trial, so that a file whose parts contradict each other fails here rather than at the first request.
            inner.encode_fast("", true)?;
            Ok(inner)
        })?;
        let added = inner.get_added_tokens_decoder();
        let special = added
            .iter()
            .filter(|(_, token)| token.special)
            .map(|(id, _)| *id)
            .collect();
        Ok(Self { inner, special })
    }

    /// The ids of a text. `add_special` adds what the model expects around a plain text (often a beginning-of-text token);
    /// a rendered chat template has it already.
    ///
    /// # Errors
    /// The tokenizer contradicts itself, as when its unknown token is not in its vocabulary.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoding =
            guarded(|| self.inner.encode_fast(text, add_special)).map_err(TokenizerError)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, without the special tokens if `skip_special`. Ids out of the vocabulary have no text.
    ///
    /// # Errors
    /// The tokenizer's decoder does not fit its vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        guarded(|| self.inner.decode(ids, skip_special)).map_err(TokenizerError)
    }

    /// The id of a token, by its spelling in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The spelling in the vocabulary.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Entries, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// Whether a token is one that text never contains, such as the end of a turn.
    pub fn is_special(&self, id: u32) -> bool {
        self.special.contains(&id)
    }
}

/// Runs the tokenizer library, which panics on some files that are damaged or contradict themselves, and makes that an error too.
fn guarded<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().map(String::as_str);
            let words = words.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(words
                .unwrap_or("the tokenizer library panicked")
                .to_string())
        }
    }
}
