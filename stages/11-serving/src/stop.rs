//! Cuts text at the first stop string, in pieces as they come.
//!
//! The first is the one that is complete first; of two that end together, the longer. That makes the cut independent of how
//! the text is cut into pieces. A suffix that could begin a stop string is held back until it is decided.

/// Looks for stop strings in a growing text.
#[derive(Clone, Debug)]
pub struct StopScanner {
    stop: Vec<String>,
    include_stop: bool,
    /// Text that may turn out to begin a stop string.
    held: String,
}

/// What a piece of text led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Text that is certain.
    pub emit: String,
    /// Index of the stop string that was found; nothing after it counts.
    pub stopped: Option<usize>,
}

impl StopScanner {
    /// A scanner for some strings, none of them empty. `include_stop` keeps the one that is found in the text.
    pub fn new(stop: Vec<String>, include_stop: bool) -> Self {
        Self {
            stop,
            include_stop,
            held: String::new(),
        }
    }

    /// Takes a piece of text.
    pub fn push(&mut self, text: &str) -> Scan {
        self.held.push_str(text);
        if let Some((end, start, index)) = self.first_match() {
            self.held
                .truncate(if self.include_stop { end } else { start });
            return Scan {
                emit: std::mem::take(&mut self.held),
                stopped: Some(index),
            };
        }
        let rest = self.held.split_off(self.certain());
        Scan {
            emit: std::mem::replace(&mut self.held, rest),
            stopped: None,
        }
    }

    /// The text that was held back: no stop string came of it.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// `(end, start, index)` of the stop string that is complete first.
    fn first_match(&self) -> Option<(usize, usize, usize)> {
        let found = |(index, stop): (usize, &String)| {
            let start = self.held.find(stop)?;
            Some((start + stop.len(), start, index))
        };
        self.stop.iter().enumerate().filter_map(found).min()
    }

    /// Bytes of the held text in which no stop string can begin.
    fn certain(&self) -> usize {
        // ANCHOR: solve-hold-back
        let could_begin = |from: &usize| {
            let suffix = &self.held.as_bytes()[*from..];
            self.stop
                .iter()
                .any(|stop| stop.as_bytes().starts_with(suffix))
        };
        let longest = self.stop.iter().map(String::len).max().unwrap_or(0);
        let from = self.held.len().saturating_sub(longest);
        // A suffix that begins within a character begins no string.
        (from..self.held.len())
            .find(|from| self.held.is_char_boundary(*from) && could_begin(from))
            .unwrap_or(self.held.len())
        // ANCHOR_END: solve-hold-back
    }
}
