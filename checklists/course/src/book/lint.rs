//! What a page must hold to: whole links, shown tasks, sections in order, and no number in prose that nobody measured.

use super::page::Page;
use super::{Book, build::summary_files};
use crate::error::{Result, read};
use crate::interview::questions;
use crate::workspace::{file_name, files};
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
        numbers(page).into_iter().for_each(&mut say);
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

/// Numbers with a unit of time or rate, percentages and factors in prose: they must come from a record, or link to their source.
fn numbers(page: &Page) -> Vec<String> {
    let mut problems = Vec::new();
    let mut prose = page.prose();
    // Text arrives in pieces; a unit may stand in the piece after its number.
    prose.push((0, "\n".to_owned()));
    let mut line = 0;
    let mut sentence = String::new();
    for (at, text) in prose {
        if text == "\n" {
            problems.extend(measured(&sentence).map(|found| {
                format!(
                    "near line {line}: {found:?} must come from a record, or link to its source"
                )
            }));
            sentence.clear();
            line = 0;
        } else {
            line = if line == 0 { at } else { line };
            sentence.push_str(&text);
        }
    }
    problems
}

/// Figures in a sentence that look measured.
fn measured(sentence: &str) -> impl Iterator<Item = String> + '_ {
    const UNITS: [&str; 30] = [
        "ns",
        "µs",
        "us",
        "ms",
        "s",
        "sec",
        "second",
        "seconds",
        "millisecond",
        "milliseconds",
        "microsecond",
        "microseconds",
        "nanosecond",
        "nanoseconds",
        "minute",
        "minutes",
        "%",
        "percent",
        "x",
        "×",
        "times",
        "tokens/s",
        "token/s",
        "tok/s",
        "req/s",
        "GB/s",
        "GiB/s",
        "TB/s",
        "GFLOP/s",
        "TFLOP/s",
    ];
    let words: Vec<&str> = sentence.split_whitespace().collect();
    let trimmed = |word: &str| {
        word.trim_matches(|c: char| !c.is_alphanumeric() && !"%×µ/".contains(c))
            .to_owned()
    };
    let split = move |word: &str| {
        let word = trimmed(word);
        let end = word
            .find(|c: char| !c.is_ascii_digit() && !".,".contains(c))
            .unwrap_or(word.len());
        (word[..end].to_owned(), word[end..].to_owned())
    };
    (0..words.len()).filter_map(move |index| {
        let (number, unit) = split(words[index]);
        if !number.starts_with(|first: char| first.is_ascii_digit()) {
            return None;
        }
        let next = words
            .get(index + 1)
            .map(|word| trimmed(word))
            .unwrap_or_default();
        // "4 x 8" is a shape: a factor has no number after it.
        let after = words
            .get(index + 2)
            .is_some_and(|word| word.starts_with(|first: char| first.is_ascii_digit()));
        let is_measure =
            |unit: &str| UNITS.contains(&unit) && !(matches!(unit, "x" | "×" | "times") && after);
        if is_measure(&unit) {
            Some(words[index].to_owned())
        } else if unit.is_empty() && is_measure(&next) {
            Some(format!("{} {next}", words[index]))
        } else {
            None
        }
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> usize {
        let page = Page::new("p.md".to_owned(), text.to_owned(), text.to_owned());
        numbers(&page).len()
    }

    #[test]
    fn measured_numbers_in_prose_are_found() {
        for text in [
            "It takes 2 ms.",
            "It takes 2ms",
            "about 40 % less",
            "40% less",
            "is 3x faster",
            "is 3 times as fast",
            "at 1,200 tokens/s",
            "| a | 12.5 µs |\n",
        ] {
            assert_eq!(found(text), 1, "{text}");
        }
    }

    #[test]
    fn counts_shapes_code_links_and_values_are_not() {
        for text in [
            "A block has 16 tokens, 4096 bytes.",
            "a 4 x 8 matrix, 2 × 3",
            "`2 ms` in code",
            "```text\n2 ms\n```",
            "vLLM reports [under 4 %](https://example.org)",
            "It takes {{#value r s}}.",
            "sees 3 requests",
        ] {
            assert_eq!(found(text), 0, "{text}");
        }
    }
}
