//! A page as the lint sees it: headings, links, and prose apart from code.

use super::markdown::options;
use pulldown_cmark::{CowStr, Event, Parser, Tag, TagEnd};
use std::collections::BTreeSet;

/// One page.
pub struct Page {
    /// File name.
    pub name: String,
    /// As it was written.
    pub source: String,
    /// With its directives expanded.
    pub expanded: String,
    /// Ids of its sections, as mdBook makes them.
    pub anchors: BTreeSet<String>,
    /// Headings of the second level, in order.
    pub sections: Vec<String>,
    /// Targets of its links and pictures.
    pub links: Vec<String>,
}

impl Page {
    pub(crate) fn new(name: String, source: String, expanded: String) -> Self {
        let mut page = Self {
            name,
            source,
            expanded: String::new(),
            anchors: BTreeSet::new(),
            sections: vec![],
            links: vec![],
        };
        let mut heading: Option<(u8, Option<String>, String)> = None;
        for event in Parser::new_ext(&expanded, options()) {
            match event {
                Event::Start(Tag::Heading { level, id, .. }) => {
                    heading = Some((level as u8, id.map(CowStr::into_string), String::new()));
                }
                Event::End(TagEnd::Heading(_)) => {
                    let (level, id, text) = heading.take().unwrap_or_default();
                    page.add_heading(level, id, &text);
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string())
                }
                Event::Html(html) | Event::InlineHtml(html) => page.read_html(&html),
                Event::Text(text) | Event::Code(text) => {
                    if let Some((_, _, heading)) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        page.expanded = expanded;
        page
    }

    fn add_heading(&mut self, level: u8, id: Option<String>, text: &str) {
        if level == 2 {
            self.sections.push(text.trim().to_owned());
        }
        let id = id.unwrap_or_else(|| heading_id(text));
        // mdBook numbers repeated headings.
        let numbered = (1..).map(|count| format!("{id}-{count}"));
        let free = std::iter::once(id.clone())
            .chain(numbered)
            .find(|id| !self.anchors.contains(id));
        self.anchors.extend(free);
    }

    /// Ids and targets in raw HTML.
    fn read_html(&mut self, html: &str) {
        for (attribute, is_id) in [("id=\"", true), ("href=\"", false), ("src=\"", false)] {
            for rest in html.split(attribute).skip(1) {
                let value = rest.split('"').next().unwrap_or_default().to_owned();
                if is_id {
                    self.anchors.insert(value);
                } else {
                    self.links.push(value);
                }
            }
        }
    }
}

/// mdBook's id for a heading: lower case, spaces as hyphens, the rest of what is no letter, digit, `_` or `-` left out.
pub(crate) fn heading_id(text: &str) -> String {
    let keep = |letter: char| match letter {
        letter if letter.is_alphanumeric() || letter == '_' || letter == '-' => Some(letter),
        letter if letter.is_whitespace() => Some('-'),
        _ => None,
    };
    text.trim()
        .to_lowercase()
        .chars()
        .filter_map(keep)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_headings_links_and_ids() {
        let text = "# A `Page`, whole\n\n## The idea\n\ntext [a](b.md#c) <a id=\"here\" href=\"d\"></a>\n\n## The idea\n\n### Own {#own-id}\n";
        let page = Page::new("a.md".to_owned(), text.to_owned(), text.to_owned());
        assert_eq!(page.sections, ["The idea", "The idea"]);
        for id in ["a-page-whole", "the-idea", "the-idea-1", "own-id", "here"] {
            assert!(page.anchors.contains(id), "{id}");
        }
        assert_eq!(page.links, ["b.md#c", "d"]);
    }
}
