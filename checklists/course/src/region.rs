//! Learner regions: the lines between `// ANCHOR: solve-TASK` and `// ANCHOR_END: solve-TASK`.

use crate::error::{Error, Result};

/// A region in the text of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Region {
    /// The task's name.
    pub task: String,
    /// Index of the first line within, counted from zero.
    pub first: usize,
    /// Index of the line that ends it, with `ANCHOR_END`.
    pub end: usize,
}

/// All learner regions of a text, in order.
///
/// # Errors
/// If a region is not closed, or opens within another.
pub fn regions(text: &str) -> Result<Vec<Region>> {
    let mut found: Vec<Region> = Vec::new();
    let mut open: Option<(String, usize)> = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(task) = line.strip_prefix("// ANCHOR: solve-") {
            if let Some((outer, _)) = &open {
                return Err(Error(format!("solve-{task} opens within solve-{outer}")));
            }
            open = Some((task.to_owned(), index + 1));
        } else if let Some(task) = line.strip_prefix("// ANCHOR_END: solve-") {
            match open.take() {
                Some((name, first)) if name == task => found.push(Region {
                    task: name,
                    first,
                    end: index,
                }),
                _ => return Err(Error(format!("solve-{task} ends and was not open"))),
            }
        }
    }
    match open {
        Some((task, _)) => Err(Error(format!("solve-{task} is never closed"))),
        None => Ok(found),
    }
}

impl Region {
    /// The region of `task` in `text`.
    ///
    /// # Errors
    /// If there is none, or the regions are not well-formed.
    pub fn find(text: &str, task: &str) -> Result<Self> {
        let found = regions(text)?;
        let found = found.into_iter().find(|region| region.task == task);
        found.ok_or_else(|| Error(format!("there is no region solve-{task}")))
    }

    /// The lines within.
    pub fn body(&self, text: &str) -> String {
        let lines = text.lines().skip(self.first).take(self.end - self.first);
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// `text` with `body` in place of the lines within.
    pub fn replaced(&self, text: &str, body: &str) -> String {
        let before = text.lines().take(self.first);
        let after = text.lines().skip(self.end);
        let line = |line: &str| format!("{line}\n");
        before.map(line).collect::<String>() + body + &after.map(line).collect::<String>()
    }

    /// The body that stands for "not solved": one `todo!` whose message is [`message`].
    pub fn blank(&self, text: &str, stage: &str) -> String {
        let anchor = text.lines().nth(self.end).unwrap_or_default();
        let indent = &anchor[..anchor.len() - anchor.trim_start().len()];
        format!("{indent}todo!(\"{}\")\n", message(stage, &self.task))
    }

    /// Whether the region is as [`blank`](Self::blank) leaves it.
    pub fn is_blank(&self, text: &str, stage: &str) -> bool {
        self.body(text)
            .contains(&format!("todo!(\"{}\")", message(stage, &self.task)))
    }

    /// The signature of the function that the region is the body of: the lines from `fn` to its brace, without indentation.
    pub fn signature(&self, text: &str) -> String {
        let lines: Vec<_> = text.lines().take(self.first.saturating_sub(1)).collect();
        let starts = |line: &&str| {
            let words = line.trim_start();
            let before = words.split("fn ").next().unwrap_or_default();
            let modifiers = [
                "pub",
                "pub(crate)",
                "pub(super)",
                "const",
                "async",
                "unsafe",
                "",
            ];
            words.contains("fn ")
                && !words.starts_with("//")
                && before
                    .split_whitespace()
                    .all(|word| modifiers.contains(&word))
        };
        let from = lines.iter().rposition(starts).unwrap_or(lines.len());
        dedent(&lines[from..].join("\n"))
    }
}

/// What a test says that meets an unsolved task.
pub fn message(stage: &str, task: &str) -> String {
    format!("task {stage}/{task}: cargo course hint {stage} {task}")
}

/// `text` without the indentation that all its lines share.
pub fn dedent(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let filled = || text.lines().filter(|line| !line.trim().is_empty());
    let shared = filled().map(indent).min().unwrap_or(0);
    let lines = text.lines().map(|line| line.get(shared..).unwrap_or(""));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "impl A {\n    /// Doc with fn in it.\n    pub fn one(\n        &self,\n    ) -> u32 {\n        // ANCHOR: solve-one\n        let a = 1;\n        a\n        // ANCHOR_END: solve-one\n    }\n}\n";

    #[test]
    fn a_region_is_blanked_and_put_back() {
        let region = Region::find(TEXT, "one").unwrap();
        assert_eq!(region.body(TEXT), "        let a = 1;\n        a\n");
        let blank = region.replaced(TEXT, &region.blank(TEXT, "08"));
        assert!(blank.contains(
            "\n        todo!(\"task 08/one: cargo course hint 08 one\")\n        // ANCHOR_END"
        ));
        let blanked = Region::find(&blank, "one").unwrap();
        assert!(blanked.is_blank(&blank, "08") && !region.is_blank(TEXT, "08"));
        assert_eq!(blanked.replaced(&blank, &region.body(TEXT)), TEXT);
    }

    #[test]
    fn the_signature_is_the_functions_own() {
        let region = Region::find(TEXT, "one").unwrap();
        assert_eq!(
            region.signature(TEXT),
            "pub fn one(\n    &self,\n) -> u32 {\n"
        );
    }

    #[test]
    fn malformed_regions_are_errors() {
        for text in [
            "// ANCHOR: solve-a\n",
            "// ANCHOR_END: solve-a\n",
            "// ANCHOR: solve-a\n// ANCHOR: solve-b\n// ANCHOR_END: solve-b\n// ANCHOR_END: solve-a\n",
            "// ANCHOR: solve-a\n// ANCHOR_END: solve-b\n",
        ] {
            assert!(regions(text).is_err(), "{text}");
        }
        assert!(Region::find(TEXT, "two").is_err());
    }
}
