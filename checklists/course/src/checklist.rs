//! The five checklists: items, and the proofs that each names.

use crate::error::{Error, Result, read_toml};
use crate::workspace::{Workspace, file_name, files};
use serde::Deserialize;
use std::collections::BTreeSet;

/// One checklist, from `checklists/NAME.toml`.
#[derive(Debug, Clone)]
pub struct Checklist {
    /// File name without `.toml`; also the name of its page.
    pub name: String,
    /// Title as its source document gives it.
    pub title: String,
    /// Items in the order of the document.
    pub items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    checklist: String,
    #[serde(default)]
    item: Vec<Item>,
}

/// One item. Without proofs it is open; with proofs and `open` it is shown in part; with proofs alone it is proven.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Stable id; never reused or renumbered.
    pub id: String,
    /// Heading in the source document.
    pub section: String,
    /// The item in the document's words.
    pub title: String,
    /// What the item is for, where the document says.
    #[serde(default)]
    pub goal: String,
    /// What the item asks for in particular, where the document says.
    #[serde(default)]
    pub asks: Vec<String>,
    /// What the proofs show, in a sentence.
    #[serde(default)]
    pub shown: String,
    /// Tests, as `package::target::path`.
    #[serde(default)]
    pub tests: Vec<String>,
    /// Sections of the book, as `08-paged-kv.md#the-idea`.
    #[serde(default)]
    pub chapters: Vec<String>,
    /// Records with what they are claimed to show.
    #[serde(default)]
    pub records: Vec<RecordClaim>,
    /// Kernel sources, relative to the checkout.
    #[serde(default)]
    pub kernels: Vec<String>,
    /// What is not shown yet.
    #[serde(default)]
    pub open: String,
}

/// A record and a claim on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordClaim {
    /// Name of the record.
    pub name: String,
    /// A [`benches::Claim`].
    pub claim: String,
}

impl Item {
    /// Whether it names any proof.
    pub fn has_proofs(&self) -> bool {
        !(self.tests.is_empty()
            && self.chapters.is_empty()
            && self.records.is_empty()
            && self.kernels.is_empty())
    }

    /// What is wrong with how the item is written.
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut say = |problem: &str| problems.push(format!("{}: {problem}", self.id));
        if self.has_proofs() && self.shown.is_empty() {
            say("has proofs and does not say what they show");
        }
        let described = !(self.shown.is_empty() && self.open.is_empty());
        if !self.has_proofs() && described {
            say("says what is shown or open and names no proof");
        }
        // A chapter alone is somebody's word: something that runs stands beside it.
        if !self.chapters.is_empty() && self.tests.is_empty() && self.records.is_empty() {
            say("is proven by prose alone; name a test or a record beside the chapter");
        }
        let mut seen = BTreeSet::new();
        let records = self
            .records
            .iter()
            .map(|record| format!("{} {}", record.name, record.claim));
        for proof in self
            .tests
            .iter()
            .chain(&self.chapters)
            .chain(&self.kernels)
            .cloned()
            .chain(records)
        {
            if seen.contains(&proof) {
                say(&format!("names {proof} twice"));
            }
            seen.insert(proof);
        }
        problems
    }
}

impl Workspace {
    /// The checklists in the order of their file names.
    ///
    /// # Errors
    /// If a file does not fit the form, an id stands twice, or an item contradicts itself.
    pub fn checklists(&self) -> Result<Vec<Checklist>> {
        let folder = self.root.join("checklists");
        let mut checklists = Vec::new();
        let mut problems = Vec::new();
        let mut ids = BTreeSet::new();
        for path in files(&folder, "toml")
            .into_iter()
            .filter(|path| path.parent() == Some(&folder))
        {
            let file: File = read_toml(&path)?;
            for item in &file.item {
                if !ids.insert(item.id.clone()) {
                    problems.push(format!("{}: the id stands twice", item.id));
                }
                problems.extend(item.problems());
            }
            let name = file_name(&path).trim_end_matches(".toml").to_owned();
            checklists.push(Checklist {
                name,
                title: file.checklist,
                items: file.item,
            });
        }
        if ids.is_empty() {
            problems.push("the checklists have no items".to_owned());
        }
        Error::all(&problems)?;
        Ok(checklists)
    }
}
