//! What each directive becomes.

use super::directive::directives;
use super::{Context, checklist_page, exercises, figures, grid, plot};
use crate::error::{Error, Result};
use std::path::Path;

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

/// A link to the file of a test, with a badge that says what the proofs last found of it.
pub(super) fn test_link(context: &Context<'_>, test: &str) -> String {
    let found = context.snapshot.proofs.get(&format!("test {test}"));
    let class = match found {
        Some(found) if found.starts_with("passed") => "passed",
        Some(_) => "stale",
        None => "unchecked",
    };
    let state = found.map_or("not checked yet", String::as_str);
    let name = test.rsplit("::").next().unwrap_or(test);
    let shown = format!("<span class=\"badge {class}\" title=\"{test}: {state}\">test</span>");
    match test_file(context, test) {
        Some(file) => format!("{shown} [`{name}`](../../{file})"),
        None => format!("{shown} `{name}`"),
    }
}

/// Where a test stands, relative to the checkout: `stage-08::task_01::name` in `stages/08-…/tests/task_01.rs`.
fn test_file(context: &Context<'_>, test: &str) -> Option<String> {
    let (package, rest) = test.split_once("::")?;
    let (target, path) = rest.split_once("::")?;
    let stage = context
        .stages
        .iter()
        .find(|stage| stage.package() == package);
    let folder = match stage {
        Some(stage) => stage.folder.to_string_lossy().into_owned(),
        None if package == "course" => "checklists/course".to_owned(),
        None => package.to_owned(),
    };
    let file = match target {
        "lib" => format!(
            "{folder}/src/{}.rs",
            path.split("::tests").next()?.replace("::", "/")
        ),
        "bin" => return None,
        target => format!("{folder}/tests/{target}.rs"),
    };
    let exists = |file: &str| Path::new(&context.workspace.root).join(file).is_file();
    let module = file.replace(".rs", "/mod.rs");
    [file, module].into_iter().find(|file| exists(file))
}

/// Text that stands in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
