//! What all directives write: links to tests with what the proofs found of them, and text made safe for HTML.

use super::Context;
use std::path::Path;

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
