//! Tasks, bugs to find, and interview questions.

use super::Context;
use super::links::test_link;
use crate::error::{Error, Result, read};
use crate::interview::{Question, questions};
use crate::region::{Region, dedent};
use crate::stage::{Mutant, Stage, Task};
use std::fmt::Write as _;

impl Context<'_> {
    pub(super) fn stage(&self, number: &str) -> Result<&Stage> {
        let found = self.stages.iter().find(|stage| stage.number == number);
        found.ok_or_else(|| Error(format!("there is no stage {number}")))
    }
}

/// A task: where it is, what it is judged by, what it says unsolved, and its folded solution.
pub(super) fn task(context: &Context<'_>, number: &str, name: &str) -> Result<String> {
    let stage = context.stage(number)?;
    let task = stage.task(name)?;
    let index = stage
        .tasks
        .iter()
        .position(|other| other.name == name)
        .unwrap_or(0)
        + 1;
    let text = read(&context.workspace.root.join(&task.file))?;
    let region = Region::find(&text, name)?;
    let language = task.language();
    let (fence, unsolved) = (language.fence(), language.unsolved(&task.message(stage)));
    let (before, after) = region.function(&text, language);
    // Where the region is a part of its function, the rest is shown around it.
    let is_whole = after == "}\n" && before.matches("{\n").count() == 1;
    let what = if is_whole {
        "the body of"
    } else {
        "what is missing in"
    };
    let inner = before.lines().last().unwrap_or_default();
    let indent = inner.len() - inner.trim_start().len() + if inner.ends_with('{') { 4 } else { 0 };
    let body = dedent(&region.body(&text));
    let lines = body.lines().filter(|line| !line.trim().is_empty()).count();
    let file = task.file.display();
    Ok(format!(
        "### Task {index}: {title} {{#task-{name}}}\n\n\
         <div class=\"task\">\n\n\
         Write {what} this function in [`{file}`](../../{file}); ours has {lines} lines.\n\n\
         ```{fence}\n{before}{:indent$}{unsolved}\n{after}```\n\n\
         Check: `cargo test -p {package} --test {test}`. Unsolved, it says\n\n\
         ```text\nnot yet implemented: {message}\n```\n\n\
         Hint: `cargo course hint {number} {name}` ({hints} of them).\n\n\
         <details><summary>Solution</summary>\n\n```{fence}\n{body}```\n\n</details>\n\n</div>\n",
        "",
        title = task.title,
        message = task.message(stage),
        package = stage.package(),
        test = task.test,
        hints = task.hints.len(),
    ))
}

/// The stage's mutants as "find the bug" boxes.
pub(super) fn bugs(context: &Context<'_>, number: &str) -> Result<String> {
    let stage = context.stage(number)?;
    let mut out = String::new();
    for task in &stage.tasks {
        let text = read(&context.workspace.root.join(&task.file))?;
        let body = Region::find(&text, &task.name)?.body(&text);
        for (index, mutant) in task.mutants.iter().enumerate() {
            out += &bug(stage, task, mutant, index + 1, &body);
        }
    }
    Ok(out)
}

fn bug(stage: &Stage, task: &Task, mutant: &Mutant, index: usize, body: &str) -> String {
    let marked = |text: &str, mark: char| {
        let lines = dedent(text);
        lines
            .lines()
            .map(|line| format!("{mark} {line}\n"))
            .collect::<String>()
    };
    format!(
        "<details class=\"bug\"><summary>Find the bug: {} ({index})</summary>\n\n```{}\n{}```\n\n\
         <details><summary>What is wrong</summary>\n\n```diff\n{}{}```\n\n{}\n\nCaught by `cargo test -p {} --test {}`.\n\n</details>\n</details>\n\n",
        task.title,
        task.language().fence(),
        dedent(&mutant.apply(body)),
        marked(&mutant.find, '-'),
        marked(&mutant.replace, '+'),
        mutant.effect.trim(),
        stage.package(),
        task.test,
    )
}

/// The questions of a stage with folded answers.
pub(super) fn interview(context: &Context<'_>, number: &str) -> Result<String> {
    let stage = context.stage(number)?;
    let asked = questions(context.workspace, stage)?;
    if asked.is_empty() {
        return Err(Error::new("the stage has no interview.toml"));
    }
    Ok(asked
        .iter()
        .map(|question| one_question(context, question))
        .collect())
}

fn one_question(context: &Context<'_>, question: &Question) -> String {
    let mut out = format!(
        "### {} {{#interview-{}}}\n\n",
        question.question, question.id
    );
    write!(
        out,
        "<details><summary>Ninety seconds</summary>\n\n{}\n\n</details>\n\n",
        question.answer.trim()
    )
    .expect("a string takes all");
    out.push_str("A good answer has:\n\n");
    for point in &question.rubric {
        let proof = if point.is_chapter() {
            format!("[section]({})", point.proof)
        } else {
            test_link(context, &point.proof)
        };
        writeln!(out, "- {} ({proof})", point.point).expect("a string takes all");
    }
    out.push_str("\nThen they ask:\n\n");
    for follow_up in &question.follow_ups {
        writeln!(out, "- {follow_up}").expect("a string takes all");
    }
    out.push('\n');
    out
}

/// The index of all questions.
pub(super) fn questions_of_all(context: &Context<'_>) -> Result<String> {
    let mut out = String::new();
    for stage in &context.stages {
        for question in questions(context.workspace, stage)? {
            writeln!(
                out,
                "- **{}** [{}]({}#interview-{})",
                stage.number,
                question.question,
                stage.chapter(),
                question.id
            )
            .expect("a string takes all");
        }
    }
    Ok(out)
}
