//! What the pages cite by directive.

use super::directive::directives;
use super::page::Page;
use std::collections::BTreeSet;

/// Names that directives mention.
#[derive(Debug, Default)]
pub struct References {
    /// `{{#test ID}}`.
    pub tests: BTreeSet<String>,
    /// Records in `{{#value}}`, `{{#record}}` and `{{#plot}}`.
    pub records: BTreeSet<String>,
    /// `{{#item ID}}`.
    pub items: BTreeSet<String>,
    /// `{{#trace NAME}}`.
    pub traces: BTreeSet<String>,
    /// `{{#output NAME}}`.
    pub outputs: BTreeSet<String>,
    /// `{{#task NN NAME}}`, with the page that shows it.
    pub tasks: BTreeSet<(String, String)>,
}

impl References {
    pub(super) fn of(pages: &[Page]) -> Self {
        let mut found = Self::default();
        for page in pages {
            for directive in directives(&page.source) {
                let first = directive
                    .arguments
                    .split_whitespace()
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                match directive.name {
                    "test" => drop(found.tests.insert(first)),
                    "value" | "record" | "plot" => drop(found.records.insert(first)),
                    "item" => drop(found.items.insert(first)),
                    "trace" => drop(found.traces.insert(first)),
                    "output" => drop(found.outputs.insert(first)),
                    "task" => drop(
                        found
                            .tasks
                            .insert((page.name.clone(), directive.arguments.to_owned())),
                    ),
                    _ => {}
                }
            }
        }
        found
    }
}
