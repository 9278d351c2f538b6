//! Which tokens a sequence has seen, as the penalties count them.

use std::collections::{HashMap, HashSet};

/// The tokens of a prompt, and how often each token was generated.
#[derive(Clone, Debug, Default)]
pub struct TokenHistory {
    prompt: HashSet<u32>,
    generated: HashMap<u32, u32>,
}

impl TokenHistory {
    /// The history of a sequence that has generated nothing.
    pub fn new(prompt: &[u32]) -> Self {
        Self {
            prompt: prompt.iter().copied().collect(),
            generated: HashMap::new(),
        }
    }

    /// Counts a generated token.
    pub fn push(&mut self, token: u32) {
        *self.generated.entry(token).or_insert(0) += 1;
    }

    /// Every generated token with its count.
    pub(crate) fn generated(&self) -> impl Iterator<Item = (u32, u32)> {
        self.generated.iter().map(|(token, count)| (*token, *count))
    }

    /// Every token of the prompt or the output, once.
    pub(crate) fn seen(&self) -> impl Iterator<Item = u32> {
        let only_generated = self
            .generated
            .keys()
            .filter(|token| !self.prompt.contains(token));
        self.prompt.iter().chain(only_generated).copied()
    }
}
