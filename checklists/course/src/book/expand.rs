//! What each directive becomes.

use super::directive::directives;
use super::links::test_link;
use super::{Context, checklist_page, exercises, figures, grid, plot};
use crate::error::{Error, Result};

/// The text with its directives expanded, and what is wrong with them. A faulty directive stays as it stands.
pub(super) fn expand(text: &str, context: &Context<'_>) -> (String, Vec<String>) {
    let (mut out, mut problems, mut from) = (String::new(), Vec::new(), 0);
    for directive in directives(text) {
        out.push_str(&text[from..directive.range.start]);
        match one(directive.name, directive.arguments, context) {
            Ok(expansion) => out.push_str(&expansion),
            Err(error) => {
                problems.push(format!("{}: {error}", &text[directive.range.clone()]));
                out.push_str(&text[directive.range.clone()]);
            }
        }
        from = directive.range.end;
    }
    out.push_str(&text[from..]);
    (out, problems)
}

fn one(name: &str, arguments: &str, context: &Context<'_>) -> Result<String> {
    let (first, rest) = arguments.split_once(' ').unwrap_or((arguments, ""));
    match name {
        "task" => exercises::task(context, first, rest.trim()),
        "bugs" => exercises::bugs(context, first),
        "interview" => exercises::interview(context, first),
        "questions" => exercises::questions_of_all(context),
        "proven" => checklist_page::proven_in(context, first),
        "checklist" => checklist_page::page(context, first),
        "summary" => Ok(checklist_page::summary(context)),
        "item" => checklist_page::item_link(context, first),
        "test" => Ok(test_link(context, first)),
        "value" => figures::value(context, first, rest),
        "record" => figures::table(context, first),
        "plot" => plot::plot(context, first, rest),
        "trace" => grid::trace(context, first),
        "output" => figures::output(context, first),
        _ => Err(Error::new("there is no such directive")),
    }
}
