//! Markdown as mdBook reads it, and where code is in it: directives and numbers in code are text to show.

use pulldown_cmark::{Event, Options, Parser, Tag};
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

/// What mdBook reads Markdown with.
pub(super) fn options() -> Options {
    Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_HEADING_ATTRIBUTES
}
