//! What a page must hold to: whole links, shown tasks, sections in order, and no number in prose that nobody measured.

use super::Book;
use super::page::Page;
use super::prose::numbers;
use crate::error::{Error, Result, read};
use crate::interview::questions;
use crate::workspace::{Workspace, file_name, files};
use mdbook_driver::MDBook;
use mdbook_driver::book::BookItem;
use mdbook_driver::config::Config;
use std::collections::BTreeSet;

/// The sections of a stage's chapter, in their order.
pub const SECTIONS: [&str; 11] = [
    "Run it first",
    "Invariants",
    "Predict before you build",
    "The idea",
    "Tasks",
    "Checkpoint",
    "Measure",
    "Break it",
    "Interview walkthrough",
    "In production",
    "Proven here",
];

/// All that is wrong with the book, a sentence each.
///
/// # Errors
/// If a file cannot be read.
pub fn lint(book: &Book) -> Result<Vec<String>> {
    let mut problems = book.problems.clone();
    let listed = summary_files(&book.workspace)?;
    for page in &book.pages {
        let mut say = |problem: String| problems.push(format!("{}: {problem}", page.name));
        if !listed.contains(&page.name) {
            say("SUMMARY.md does not list it".to_owned());
        }
        links(book, page).into_iter().for_each(&mut say);
        includes(book, page)?.into_iter().for_each(&mut say);
        numbers(&page.source).into_iter().for_each(&mut say);
        let is_chapter = page.name.starts_with(|first: char| first.is_ascii_digit());
        if is_chapter && page.sections != SECTIONS {
            let missing: Vec<_> = SECTIONS
                .iter()
                .filter(|section| !page.sections.iter().any(|own| own == *section))
                .collect();
            say(format!(
                "its sections are not those of a chapter, in their order; missing: {missing:?}"
            ));
        }
    }
    problems.extend(exercises(book)?);
    problems.extend(orphans(book));
    Ok(problems)
}

/// Files that `SUMMARY.md` names.
fn summary_files(workspace: &Workspace) -> Result<Vec<String>> {
    let root = workspace.root.join("book");
    let config = Config::from_disk(root.join("book.toml")).map_err(Error::new)?;
    let book =
        MDBook::load_with_config(&root, config).map_err(|error| Error(format!("{error:#}")))?;
    let paths = book.iter().filter_map(|item| match item {
        BookItem::Chapter(chapter) => chapter.source_path.clone(),
        _ => None,
    });
    Ok(paths
        .map(|path| path.to_string_lossy().into_owned())
        .collect())
}

/// Links that lead nowhere. Those to other hosts are not followed: a build must not depend on a network.
fn links(book: &Book, page: &Page) -> Vec<String> {
    let mut problems = Vec::new();
    for link in &page.links {
        let elsewhere = ["http://", "https://", "mailto:"]
            .iter()
            .any(|scheme| link.starts_with(scheme));
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let found = if elsewhere {
            true
        } else if path.is_empty() {
            page.anchors.contains(anchor)
        } else if path.ends_with(".md") && !path.contains('/') {
            book.find(link).is_ok()
        } else {
            book.workspace.root.join("book/src").join(path).exists()
        };
        if !found {
            problems.push(format!("the link {link} leads nowhere"));
        }
    }
    problems
}

/// mdBook's includes that do not resolve; mdBook itself only logs them.
fn includes(book: &Book, page: &Page) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for rest in page.source.split("{{#include ").skip(1) {
        let target = rest.split("}}").next().unwrap_or_default().trim();
        let (path, anchor) = target.split_once(':').unwrap_or((target, ""));
        let file = book.workspace.root.join("book/src").join(path);
        if !file.is_file() {
            problems.push(format!("the include {target} has no file"));
            continue;
        }
        let is_name = anchor.starts_with(|first: char| first.is_alphabetic());
        if is_name
            && !read(&file)?
                .lines()
                .any(|line| line.trim().ends_with(&format!("ANCHOR: {anchor}")))
        {
            problems.push(format!("the include {target} has no anchor"));
        }
    }
    Ok(problems)
}

/// Tasks that no chapter shows, stages without a chapter, and interview questions that are unsound.
fn exercises(book: &Book) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let shown = book.references().tasks;
    for stage in book.workspace.stages()? {
        let chapter = stage.chapter();
        problems.extend(stage.problems.clone());
        if book.page(&chapter).is_none() {
            problems.push(format!("stage {} has no chapter {chapter}", stage.number));
        }
        for task in &stage.tasks {
            if !shown.contains(&(chapter.clone(), format!("{} {}", stage.number, task.name))) {
                problems.push(format!("{chapter}: does not show solve-{}", task.name));
            }
        }
        let mut ids = BTreeSet::new();
        for question in questions(&book.workspace, &stage)? {
            let say = |problem: &str| {
                format!("stage {}: question {} {problem}", stage.number, question.id)
            };
            if !ids.insert(question.id.clone()) {
                problems.push(say("stands twice"));
            }
            for found in numbers(&question.answer) {
                problems.push(say(&found));
            }
            if question.rubric.is_empty() || question.follow_ups.is_empty() {
                problems.push(say("has no rubric or no follow-ups"));
            }
        }
    }
    Ok(problems)
}

/// Traces and outputs that no page shows.
fn orphans(book: &Book) -> Vec<String> {
    let references = book.references();
    let root = book.workspace.root.join("book");
    let unshown = |folder: &str, ending: &str, shown: &BTreeSet<String>| {
        let names = files(&root.join(folder), ending)
            .into_iter()
            .map(|file| file_name(&file).replace(&format!(".{ending}"), ""));
        names
            .filter(|name| !shown.contains(name))
            .map(|name| format!("book/{folder}/{name}.{ending}: no page shows it"))
            .collect::<Vec<_>>()
    };
    let mut problems = unshown("traces", "json", &references.traces);
    problems.extend(unshown("outputs", "txt", &references.outputs));
    problems
}
