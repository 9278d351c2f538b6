//! The book, built: by ourselves through mdBook's library, or within a plain `mdbook build` as its preprocessor.

use super::{Book, lint};
use crate::error::{Error, Result};
use crate::workspace::Workspace;
use mdbook_driver::MDBook;
use mdbook_driver::builtin_preprocessors::{IndexPreprocessor, LinkPreprocessor};
use mdbook_driver::config::Config;
use mdbook_preprocessor::book::Book as Chapters;
use mdbook_preprocessor::errors::Result as MdResult;
use mdbook_preprocessor::{Preprocessor, PreprocessorContext, parse_input};
use std::io::{Read, Write};
use std::path::PathBuf;

/// Expands the directives of all chapters; fails on whatever the lint finds.
struct Course {
    workspace: Workspace,
}

impl Preprocessor for Course {
    fn name(&self) -> &str {
        "course"
    }

    fn run(&self, _: &PreprocessorContext, mut chapters: Chapters) -> MdResult<Chapters> {
        let book = Book::load(&self.workspace)?;
        Error::all(&lint::lint(&book)?)?;
        chapters.for_each_chapter_mut(|chapter| {
            let name = chapter
                .source_path
                .as_ref()
                .map(|path| path.to_string_lossy().into_owned());
            if let Some(page) = name.and_then(|name| book.page(&name)) {
                chapter.content = page.expanded.clone();
            }
        });
        Ok(chapters)
    }
}

/// Builds the book; the answer is its folder.
///
/// # Errors
/// If the lint finds anything, or mdBook fails.
pub fn build(workspace: &Workspace) -> Result<PathBuf> {
    let root = workspace.root.join("book");
    let mut config = Config::from_disk(root.join("book.toml")).map_err(Error::new)?;
    // Within this process the preprocessor needs no call of a program.
    config
        .set(
            "preprocessor",
            std::collections::BTreeMap::<String, String>::new(),
        )
        .map_err(Error::new)?;
    config.build.use_default_preprocessors = false;
    let mut book =
        MDBook::load_with_config(&root, config).map_err(|error| Error(format!("{error:#}")))?;
    let workspace = workspace.clone();
    // As book.toml orders them: what directives expand to may include code, too.
    book.with_preprocessor(Course { workspace });
    book.with_preprocessor(LinkPreprocessor::new());
    book.with_preprocessor(IndexPreprocessor::new());
    book.build()
        .map_err(|error| Error(format!("{:#}", root_cause(&error))))?;
    Ok(book.build_dir_for("html"))
}

/// mdBook wraps what a preprocessor says; the reader needs what it said.
fn root_cause(error: &mdbook_preprocessor::errors::Error) -> &dyn std::error::Error {
    error.chain().last().unwrap_or_else(|| error.as_ref())
}

/// The other side of mdBook's protocol: context and book as JSON in, the book out.
///
/// # Errors
/// If the input is not mdBook's, or the lint finds anything.
pub fn preprocess(workspace: &Workspace, input: impl Read, mut output: impl Write) -> Result<()> {
    let (context, book) = parse_input(input).map_err(|error| Error(format!("{error:#}")))?;
    let course = Course {
        workspace: workspace.clone(),
    };
    let book = course
        .run(&context, book)
        .map_err(|error| Error(format!("{error:#}")))?;
    serde_json::to_writer(&mut output, &book).map_err(Error::new)
}
