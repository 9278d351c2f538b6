//! The book: pages with directives, what they expand to, and the lint that holds both to the project.

pub mod build;
mod checklist_page;
mod directive;
mod exercises;
mod expand;
mod figures;
mod grid;
mod links;
pub mod lint;
mod markdown;
mod page;
mod plot;
mod prose;
pub mod references;
pub mod serve;

use crate::checklist::Checklist;
use crate::error::{Error, Result, read};
use crate::snapshot::Snapshot;
use crate::stage::Stage;
use crate::workspace::{Workspace, file_name, files};
pub use page::Page;
use references::References;

/// All pages, with everything that their directives read.
pub struct Book {
    /// The checkout.
    pub workspace: Workspace,
    /// Pages in the order of their file names; `SUMMARY.md` is none.
    pub pages: Vec<Page>,
    /// What is wrong with directives, a sentence each.
    pub problems: Vec<String>,
}

/// What directives read.
pub(crate) struct Context<'a> {
    pub workspace: &'a Workspace,
    pub stages: Vec<Stage>,
    pub checklists: Vec<Checklist>,
    pub snapshot: Snapshot,
}

impl Book {
    /// Reads and expands all pages.
    ///
    /// # Errors
    /// If a file cannot be read. Faults within pages are listed in [`problems`](Self::problems).
    pub fn load(workspace: &Workspace) -> Result<Self> {
        let context = Context {
            workspace,
            stages: workspace.stages()?,
            checklists: workspace.checklists()?,
            // Before proofs were first checked there is none; pages then show everything as open.
            snapshot: Snapshot::load(workspace).unwrap_or_default(),
        };
        let mut pages = Vec::new();
        let mut problems = Vec::new();
        for path in files(&workspace.root.join("book/src"), "md") {
            let name = file_name(&path);
            if name == "SUMMARY.md" {
                continue;
            }
            let (expanded, faults) = expand::expand(&read(&path)?, &context);
            problems.extend(faults.into_iter().map(|fault| format!("{name}: {fault}")));
            pages.push(Page::new(name, read(&path)?, expanded));
        }
        Ok(Self {
            workspace: workspace.clone(),
            pages,
            problems,
        })
    }

    /// The page of that file name.
    pub fn page(&self, name: &str) -> Option<&Page> {
        self.pages.iter().find(|page| page.name == name)
    }

    /// Whether there is such a section, `08-paged-kv.md#the-idea`, or page.
    ///
    /// # Errors
    /// If the page or the section is missing.
    pub fn find(&self, target: &str) -> Result<()> {
        let (name, anchor) = target.split_once('#').unwrap_or((target, ""));
        let page = self
            .page(name)
            .ok_or_else(|| Error(format!("there is no page {name}")))?;
        if anchor.is_empty() || page.anchors.contains(anchor) {
            Ok(())
        } else {
            Err(Error(format!("{name} has no section #{anchor}")))
        }
    }

    /// What the pages cite.
    pub fn references(&self) -> References {
        References::of(&self.pages)
    }
}
