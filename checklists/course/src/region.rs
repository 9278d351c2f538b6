//! Learner regions: the lines between `// ANCHOR: solve-TASK` and `// ANCHOR_END: solve-TASK`.

use crate::error::{Error, Result};
use crate::language::Language;

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

    /// The body that stands for "not solved": one statement whose message is [`message`].
    pub fn blank(&self, text: &str, stage: &str, language: Language) -> String {
        let anchor = text.lines().nth(self.end).unwrap_or_default();
        let statement = language.unsolved(&message(stage, &self.task));
        format!("{}{statement}\n", indent(anchor))
    }

    /// Whether the region is as [`blank`](Self::blank) leaves it.
    pub fn is_blank(&self, text: &str, stage: &str, language: Language) -> bool {
        self.body(text)
            .contains(&language.unsolved(&message(stage, &self.task)))
    }

    /// Whether the region reaches into the definition of a macro, where each line ends in a backslash and a statement has no line of
    /// its own.
    pub fn is_in_macro(&self, text: &str) -> bool {
        let around = text.lines().take(self.end + 1);
        around
            .skip(self.first.saturating_sub(2))
            .any(|line| line.trim_end().ends_with('\\'))
    }

    /// The function around the region without its indentation: the lines from its first to the region, and those behind the region to
    /// its end. Where the region is the whole body, that is the signature to its brace, and the other brace.
    pub fn function(&self, text: &str, language: Language) -> (String, String) {
        let lines: Vec<_> = text.lines().collect();
        let above = &lines[..self.first.saturating_sub(1)];
        let mut from = above
            .iter()
            .rposition(|line| language.begins_function(line))
            .unwrap_or(above.len());
        while from > 0 && lines[from - 1].trim_start().starts_with("template ") {
            from -= 1;
        }
        let closing = format!("{}}}", indent(lines[from]));
        let below = &lines[self.end + 1..];
        let last = below.iter().position(|line| *line == closing);
        let to = last.map_or(0, |last| last + 1);
        (
            dedent(&above[from..].join("\n")),
            dedent(&below[..to].join("\n")),
        )
    }
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// What a test says that meets an unsolved task.
pub fn message(stage: &str, task: &str) -> String {
    format!("task {stage}/{task}: cargo course hint {stage} {task}")
}

/// `text` without the indentation that all its lines share; a kernel's `#pragma`, which begins its line anywhere, has no say in it.
pub fn dedent(text: &str) -> String {
    let filled = || {
        let lines = text.lines();
        lines.filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    };
    let shared = filled().map(|line| indent(line).len()).min().unwrap_or(0);
    let line = |line: &str| {
        let own = indent(line).len().min(shared);
        format!("{}\n", line[own..].trim_end())
    };
    text.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "impl A {\n    /// Doc with fn in it.\n    pub fn one(\n        &self,\n    ) -> u32 {\n        // ANCHOR: solve-one\n        let a = 1;\n        a\n        // ANCHOR_END: solve-one\n    }\n}\n";

    #[test]
    fn a_region_is_blanked_and_put_back() {
        let region = Region::find(TEXT, "one").unwrap();
        assert_eq!(region.body(TEXT), "        let a = 1;\n        a\n");
        let blank = region.replaced(TEXT, &region.blank(TEXT, "08", Language::Rust));
        assert!(blank.contains(
            "\n        todo!(\"task 08/one: cargo course hint 08 one\")\n        // ANCHOR_END"
        ));
        let blanked = Region::find(&blank, "one").unwrap();
        assert!(
            blanked.is_blank(&blank, "08", Language::Rust)
                && !region.is_blank(TEXT, "08", Language::Rust)
        );
        assert_eq!(blanked.replaced(&blank, &region.body(TEXT)), TEXT);
    }

    #[test]
    fn the_signature_is_the_functions_own() {
        let region = Region::find(TEXT, "one").unwrap();
        assert_eq!(
            region.function(TEXT, Language::Rust),
            (
                "pub fn one(\n    &self,\n) -> u32 {\n".to_owned(),
                "}\n".to_owned()
            )
        );
    }

    const KERNEL: &str = "#define SUM(x) \\\n    (x)\n\n// KERNEL in a comment.\ntemplate <int U>\nDEVICE float sum(GLOBAL(const float) x,\n                 int n) {\n    float s = 0;\n    for (int i = 0; i < n; ++i) {\n        // ANCHOR: solve-sum\n        float v = x[i];\n        s += v;\n        // ANCHOR_END: solve-sum\n    }\n    return s;\n}\n\nKERNEL void next() {\n}\n";

    #[test]
    fn a_part_of_a_kernel_is_blanked_within_its_function() {
        let region = Region::find(KERNEL, "sum").unwrap();
        let blank = region.replaced(KERNEL, &region.blank(KERNEL, "05", Language::Kernel));
        assert!(blank.contains(
            "\n        TODO(\"task 05/sum: cargo course hint 05 sum\");\n        // ANCHOR_END"
        ));
        let blanked = Region::find(&blank, "sum").unwrap();
        assert!(blanked.is_blank(&blank, "05", Language::Kernel));
        assert!(!region.is_blank(KERNEL, "05", Language::Kernel));
        assert_eq!(blanked.replaced(&blank, &region.body(KERNEL)), KERNEL);
        let (before, after) = region.function(KERNEL, Language::Kernel);
        assert_eq!(
            before,
            "template <int U>\nDEVICE float sum(GLOBAL(const float) x,\n                 int n) {\n    float s = 0;\n    for (int i = 0; i < n; ++i) {\n"
        );
        assert_eq!(after, "    }\n    return s;\n}\n");
    }

    #[test]
    fn pragmas_do_not_hold_the_indentation() {
        let text = "    int a;\n\n#pragma unroll\n      int b;\n";
        assert_eq!(dedent(text), "int a;\n\n#pragma unroll\n  int b;\n");
    }

    #[test]
    fn a_region_in_a_macro_is_seen() {
        let region = |text: &str| Region::find(text, "a").unwrap().is_in_macro(text);
        assert!(region(
            "#define F(x) { \\\n    // ANCHOR: solve-a\n    x;\n    // ANCHOR_END: solve-a\n}\n"
        ));
        assert!(region(
            "// ANCHOR: solve-a\n    x; \\\n    y\n// ANCHOR_END: solve-a\n"
        ));
        assert!(!Region::find(KERNEL, "sum").unwrap().is_in_macro(KERNEL));
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
