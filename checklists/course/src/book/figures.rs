//! Figures that come from records, and outputs that come from examples.

use super::Context;
use super::links::escape;
use crate::error::{Error, Result, read};
use benches::{Quantity, Record};
use std::fmt::Write as _;

impl Context<'_> {
    pub(super) fn record(&self, name: &str) -> Result<Record> {
        Record::load(&self.workspace.root, name).map_err(Error::new)
    }
}

/// A median or a ratio of medians, in the line.
pub(super) fn value(context: &Context<'_>, record: &str, expression: &str) -> Result<String> {
    let record = context.record(record)?;
    let quantity = Quantity::evaluate(&record, expression).map_err(Error::new)?;
    let title = format!(
        "median of {expression}, record {}, {}",
        record.name, record.machine.device
    );
    Ok(format!(
        "<span class=\"value\" title=\"{}\">{quantity}</span>",
        escape(&title)
    ))
}

/// All series of a record, with what it was measured on.
pub(super) fn table(context: &Context<'_>, name: &str) -> Result<String> {
    let record = context.record(name)?;
    let counted = record.series.iter().all(|series| series.samples.len() == 1);
    let mut out = String::from(if counted {
        "| what | value |\n| --- | ---: |\n"
    } else {
        "| what | median | P10 to P90 |\n| --- | ---: | ---: |\n"
    });
    for series in &record.series {
        let show = |value| Quantity {
            value,
            unit: series.unit.clone(),
        };
        write!(
            out,
            "| {} | {} |",
            series.name.replace('/', " / ").replace('-', " "),
            show(series.median())
        )
        .expect("a string takes all");
        match series.samples.len() {
            _ if counted => out.push('\n'),
            1 => out.push_str(" counted |\n"),
            _ => writeln!(
                out,
                " {} to {} |",
                show(series.quantile(0.1)),
                show(series.quantile(0.9))
            )
            .expect("a string takes all"),
        }
    }
    Ok(format!("{out}\n{}\n", caption(context, &record)))
}

/// Where a record comes from, and whether its sources are still what was measured.
pub(super) fn caption(context: &Context<'_>, record: &Record) -> String {
    let stale = record.is_stale(&context.workspace.root);
    let (class, state) = if stale {
        ("stale", "stale")
    } else {
        ("passed", "fresh")
    };
    format!(
        "<p class=\"caption\"><span class=\"badge {class}\">{state}</span> {}. {}, {} cores, {}; {}. Again: <code>{}</code></p>\n",
        escape(&record.title),
        escape(&record.machine.device),
        record.machine.cores,
        record.date,
        escape(&record.machine.toolchain),
        escape(&record.command),
    )
}

/// What an example prints, below the command that runs it.
pub(super) fn output(context: &Context<'_>, name: &str) -> Result<String> {
    let (number, example) = name
        .split_once('-')
        .ok_or_else(|| Error::new("write {{#output NN-EXAMPLE}}"))?;
    let text = read(
        &context
            .workspace
            .root
            .join("book/outputs")
            .join(format!("{name}.txt")),
    )?;
    let package = context.stage(number)?.package();
    Ok(format!(
        "```console\n$ cargo run -q -p {package} --example {example}\n{}\n```\n",
        text.trim_end()
    ))
}
