//! What a learner's region may be written in, and what differs with it: how a function begins, and the statement that stands for
//! "not solved".

use std::path::Path;

/// What a region is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A source of a crate.
    Rust,
    /// A kernel, or a header that kernels include.
    Kernel,
}

impl Language {
    /// Endings of the files that may hold regions beside a stage's own sources.
    pub const ENDINGS: [&'static str; 3] = ["rs", "cu", "h"];

    /// That of a file, by its ending.
    pub fn of(file: &Path) -> Self {
        match file.extension().and_then(|ending| ending.to_str()) {
            Some("cu" | "h") => Self::Kernel,
            _ => Self::Rust,
        }
    }

    /// What a code block of it is marked with in Markdown.
    pub fn fence(self) -> &'static str {
        match self {
            Self::Rust => "rust,ignore",
            Self::Kernel => "cpp",
        }
    }

    /// The statement that ends a run with `message`; `kernels/include/gpu.h` has the one of kernels.
    pub fn unsolved(self, message: &str) -> String {
        match self {
            Self::Rust => format!("todo!(\"{message}\")"),
            Self::Kernel => format!("TODO(\"{message}\");"),
        }
    }

    /// Whether a function begins on this line.
    pub fn begins_function(self, line: &str) -> bool {
        let words = line.trim_start();
        match self {
            Self::Rust => {
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
            }
            // Every function of a kernel's file says first on which side it lives.
            Self::Kernel => ["KERNEL ", "DEVICE ", "MEMBER "]
                .iter()
                .any(|side| words.starts_with(side)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_tells_its_language() {
        for (file, language) in [
            ("src/a.rs", Language::Rust),
            ("kernels/gemm/k02_coalesced.cu", Language::Kernel),
            ("kernels/include/stream_k.h", Language::Kernel),
        ] {
            assert_eq!(Language::of(Path::new(file)), language, "{file}");
        }
    }
}
