//! Checklist pages: what was asked, what is shown and by what, what is open.

use super::Context;
use super::links::{escape, test_link};
use crate::checklist::{Checklist, Item};
use crate::error::{Error, Result};
use crate::snapshot::State;
use std::fmt::Write as _;

/// The page of one checklist.
pub(super) fn page(context: &Context<'_>, name: &str) -> Result<String> {
    let found = context
        .checklists
        .iter()
        .find(|checklist| checklist.name == name);
    let checklist = found.ok_or_else(|| Error(format!("there is no checklist {name}")))?;
    let [proven, part, stale, open] = context.snapshot.counts(checklist);
    let mut out = format!(
        "Of {} items {proven} are proven, {part} are shown in part, {stale} are stale and {open} are open.\n\n",
        checklist.items.len()
    );
    let mut section = "";
    for item in &checklist.items {
        if item.section != section {
            section = &item.section;
            write!(out, "## {section}\n\n").expect("a string takes all");
        }
        out += &entry(context, item);
    }
    Ok(out)
}

fn state(context: &Context<'_>, item: &Item) -> State {
    context
        .snapshot
        .items
        .get(&item.id)
        .copied()
        .unwrap_or(State::Open)
}

fn badge(state: State) -> String {
    let class = match state {
        State::Proven => "passed",
        State::Part => "part",
        State::Stale => "stale",
        State::Open => "open",
    };
    format!("<span class=\"badge {class}\">{state}</span>")
}

fn entry(context: &Context<'_>, item: &Item) -> String {
    let mut out = format!(
        "<div class=\"item\" id=\"{}\">\n\n{} **{}** {}\n\n",
        item.id,
        badge(state(context, item)),
        item.id,
        escape(&item.title)
    );
    if !item.goal.is_empty() || !item.asks.is_empty() {
        write!(
            out,
            "<details><summary>What it asks</summary>\n\n{}\n\n",
            escape(&item.goal)
        )
        .expect("a string takes all");
        item.asks
            .iter()
            .for_each(|ask| writeln!(out, "- {}", escape(ask)).expect("a string takes all"));
        out.push_str("\n</details>\n\n");
    }
    if !item.shown.is_empty() {
        write!(out, "Shown: {}\n\n", item.shown).expect("a string takes all");
    }
    let found = |kind: &str, proof: &str| {
        context
            .snapshot
            .proofs
            .get(&format!("{kind} {proof}"))
            .cloned()
            .unwrap_or_else(|| "not checked yet".to_owned())
    };
    for test in &item.tests {
        writeln!(out, "- {}", test_link(context, test)).expect("a string takes all");
    }
    for record in &item.records {
        let claim = format!("{} {}", record.name, record.claim);
        writeln!(
            out,
            "- record [`{}`](../../benches/records/{0}.json): `{}` {}",
            record.name,
            record.claim,
            found("record", &claim)
        )
        .expect("a string takes all");
    }
    for kernel in &item.kernels {
        writeln!(
            out,
            "- kernel [`{kernel}`](../../{kernel}): {}",
            found("kernel", kernel)
        )
        .expect("a string takes all");
    }
    for chapter in &item.chapters {
        writeln!(out, "- chapter [{chapter}]({chapter})").expect("a string takes all");
    }
    if !item.open.is_empty() {
        write!(out, "\nOpen: {}\n", item.open).expect("a string takes all");
    }
    out + "\n</div>\n\n"
}

/// Items whose proofs lie in a stage or its chapter.
pub(super) fn proven_in(context: &Context<'_>, number: &str) -> Result<String> {
    let stage = context.stage(number)?;
    let (prefix, chapter) = (format!("{}::", stage.package()), stage.chapter());
    let rests_on = |item: &&Item| {
        item.tests.iter().any(|test| test.starts_with(&prefix))
            || item
                .chapters
                .iter()
                .any(|section| section.starts_with(&chapter))
            || item
                .records
                .iter()
                .any(|record| record.name.starts_with(&format!("{number}-")))
    };
    let mut out = String::from("| item | | shown |\n| --- | --- | --- |\n");
    let mut count = 0;
    for checklist in &context.checklists {
        for item in checklist.items.iter().filter(rests_on) {
            count += 1;
            writeln!(
                out,
                "| {} | {} {} | {} |",
                link(checklist, item),
                badge(state(context, item)),
                escape(&item.title),
                item.shown.replace('|', "\\|")
            )
            .expect("a string takes all");
        }
    }
    if count == 0 {
        Err(Error::new("no item rests on this stage"))
    } else {
        Ok(out)
    }
}

/// A link to an item, in the line.
pub(super) fn item_link(context: &Context<'_>, id: &str) -> Result<String> {
    for checklist in &context.checklists {
        if let Some(item) = checklist.items.iter().find(|item| item.id == id) {
            return Ok(link(checklist, item));
        }
    }
    Err(Error(format!("no checklist has the item {id}")))
}

fn link(checklist: &Checklist, item: &Item) -> String {
    format!(
        "[{id}]({}.md#{id})",
        page_name(&checklist.name),
        id = item.id
    )
}

/// The page of a checklist, without its ending.
pub(super) fn page_name(checklist: &str) -> String {
    format!("checklist-{checklist}")
}

/// All checklists in a table.
pub(super) fn summary(context: &Context<'_>) -> String {
    let mut out = String::from(
        "| checklist | proven | in part | stale | open | all |\n| --- | ---: | ---: | ---: | ---: | ---: |\n",
    );
    for checklist in &context.checklists {
        let [proven, part, stale, open] = context.snapshot.counts(checklist);
        let (title, page, all) = (
            &checklist.title,
            page_name(&checklist.name),
            checklist.items.len(),
        );
        writeln!(
            out,
            "| [{title}]({page}.md) | {proven} | {part} | {stale} | {open} | {all} |"
        )
        .expect("a string takes all");
    }
    out
}
