//! Text to calibrate with and to measure on, in tokens.
//!
//! A file is a conversation or a text a line, as JSON: a list of messages, or a string. Any other file is one text.

use super::QuantizeError;
use attention_variants::hf::{ChatTemplate, Tokenizer};
use serde_json::{Map, Value};
use std::ops::Range;

/// Tokens of a window that a long text is cut into, the first token included.
const WINDOW: usize = 1024;

/// Tokens, of which those from `from` on are to be predicted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// At most as many as the model has positions.
    pub tokens: Vec<u32>,
    /// At least 1.
    pub from: usize,
}

impl Sequence {
    /// The tokens to be predicted.
    pub fn predicted(&self) -> &[u32] {
        &self.tokens[self.from..]
    }

    /// The rows that predict them: each is the one before its token's own.
    pub fn predicting(&self) -> Range<usize> {
        self.from - 1..self.tokens.len() - 1
    }

    /// The rows of all its tokens.
    pub fn rows(&self) -> Range<usize> {
        0..self.tokens.len()
    }
}

/// What turns text into tokens.
pub struct Reader<'a> {
    /// The model's tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// The model's chat template; conversations need one.
    pub template: Option<&'a ChatTemplate>,
}

impl Reader<'_> {
    /// Every line of a file that is called `file`; long texts in windows.
    ///
    /// # Errors
    /// A line that is no conversation and no text, or that the template or the tokenizer refuses.
    pub fn lines(&self, file: &str, content: &str) -> Result<Vec<Sequence>, QuantizeError> {
        if !file.ends_with(".jsonl") {
            return self.windows(content).map_err(QuantizeError::text(file, 1));
        }
        let mut sequences = Vec::new();
        for (index, line) in content.lines().enumerate() {
            let error = QuantizeError::text(file, index + 1);
            let value: Value = serde_json::from_str(line).map_err(|it| error(it.to_string()))?;
            match value {
                Value::String(text) => sequences.extend(self.windows(&text).map_err(error)?),
                Value::Array(messages) => {
                    sequences.push(self.exchange(&messages).map_err(error)?);
                }
                _ => return Err(error("neither a list of messages nor a string".to_owned())),
            }
        }
        Ok(sequences)
    }

    /// A text in windows that each begin with what the tokenizer puts before a text.
    fn windows(&self, text: &str) -> Result<Vec<Sequence>, String> {
        let encode = |text, special| {
            self.tokenizer
                .encode(text, special)
                .map_err(|it| it.to_string())
        };
        let begin = encode("", true)?;
        let tokens = encode(text, false)?;
        let window = |part: &[u32]| Sequence {
            tokens: [&begin, part].concat(),
            from: begin.len().max(1),
        };
        let windows = tokens.chunks(WINDOW - begin.len()).map(window);
        Ok(windows.filter(|it| it.from < it.tokens.len()).collect())
    }

    /// A conversation, of which the last message is to be predicted.
    fn exchange(&self, messages: &[Value]) -> Result<Sequence, String> {
        let [asked @ .., _] = messages else {
            return Err("a conversation without messages".to_owned());
        };
        let tokens = self.conversation(messages, false)?;
        let from = self.conversation(asked, true)?.len();
        if (1..tokens.len()).contains(&from) {
            return Ok(Sequence { tokens, from });
        }
        Err("the template puts nothing before or nothing into the last message".to_owned())
    }

    fn conversation(&self, messages: &[Value], ask: bool) -> Result<Vec<u32>, String> {
        let template = self.template.ok_or("the model has no chat template")?;
        let text = template.render(messages, ask, &Map::new());
        let text = text.map_err(|it| it.to_string())?;
        self.tokenizer
            .encode(&text, false)
            .map_err(|it| it.to_string())
    }

    /// A question, and the answer and the `end` that are to be predicted.
    ///
    /// # Errors
    /// What the template or the tokenizer says.
    pub fn question(
        &self,
        question: &str,
        answer: &str,
        end: u32,
    ) -> Result<Sequence, QuantizeError> {
        let message = serde_json::json!({"role": "user", "content": question});
        let tokens = |text| {
            self.tokenizer
                .encode(text, false)
                .map_err(|it| it.to_string())
        };
        let both = self
            .conversation(&[message], true)
            .and_then(|prompt| Ok((prompt, tokens(answer)?)));
        let (mut tokens, answer) = both.map_err(QuantizeError::text(question, 1))?;
        let from = tokens.len();
        tokens.extend(answer);
        tokens.push(end);
        Ok(Sequence { tokens, from })
    }
}
