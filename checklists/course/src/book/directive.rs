//! Directives: `{{#name arguments}}` outside code. mdBook's own (`include` and its like) are left to mdBook.

use super::markdown::code_ranges;
use std::ops::Range;

/// One directive in a page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Directive<'a> {
    pub range: Range<usize>,
    pub name: &'a str,
    pub arguments: &'a str,
}

const OF_MDBOOK: [&str; 4] = ["include", "rustdoc_include", "playground", "title"];

/// The directives of a text, in order.
pub(crate) fn directives(text: &str) -> Vec<Directive<'_>> {
    let code = code_ranges(text);
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find("{{#").map(|at| from + at) {
        let Some(length) = text[at..].find("}}") else {
            break;
        };
        let range = at..at + length + 2;
        from = range.end;
        let inner = text[at + 3..at + length].trim();
        let (name, arguments) = inner.split_once(char::is_whitespace).unwrap_or((inner, ""));
        let shown = code.iter().any(|code| code.contains(&at));
        if !shown && !OF_MDBOOK.contains(&name) {
            found.push(Directive {
                range,
                name,
                arguments: arguments.trim(),
            });
        }
    }
    found
}

/// The text with all directives blanked out, byte for byte.
pub(crate) fn without(text: &str) -> String {
    let mut out = text.to_owned();
    for directive in directives(text) {
        let length = directive.range.len();
        out.replace_range(directive.range, &" ".repeat(length));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_directives_outside_code() {
        let text = "a {{#value r s / t}} `{{#value no}}`\n\n```text\n{{#task no}}\n```\n{{#include x.rs:y}}\n{{#task 08 alloc}}\n";
        let found: Vec<_> = directives(text)
            .iter()
            .map(|found| (found.name, found.arguments))
            .collect();
        assert_eq!(found, [("value", "r s / t"), ("task", "08 alloc")]);
        assert!(!without(text).contains("alloc") && without(text).contains("{{#value no}}"));
        assert_eq!(without(text).len(), text.len());
    }
}
