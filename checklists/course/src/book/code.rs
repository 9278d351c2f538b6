//! Where code is in a page: directives and numbers in it are text to show.

use super::page::options;
use pulldown_cmark::{Event, Parser, Tag};
use std::ops::Range;

/// Byte ranges of code blocks and code spans.
pub(super) fn code_ranges(text: &str) -> Vec<Range<usize>> {
    let events = Parser::new_ext(text, options()).into_offset_iter();
    events
        .filter_map(|(event, range)| {
            matches!(event, Event::Code(_) | Event::Start(Tag::CodeBlock(_))).then_some(range)
        })
        .collect()
}
