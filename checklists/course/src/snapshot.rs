//! The committed result of the last check of the proofs, `checklists/proofs.txt`: a lost proof is a visible difference in it.

use crate::checklist::Checklist;
use crate::error::{Error, Result, read};
use crate::workspace::Workspace;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::PathBuf;

/// What an item's proofs come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Every part of it is shown.
    Proven,
    /// Something is shown and something is open.
    Part,
    /// A record that it rests on measured sources that have changed since.
    Stale,
    /// Nothing is shown.
    Open,
}

impl State {
    /// All states, best first.
    pub const ALL: [Self; 4] = [Self::Proven, Self::Part, Self::Stale, Self::Open];

    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Part => "in part",
            Self::Stale => "stale",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// States of items and of proofs, by id.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Every item of every checklist.
    pub items: BTreeMap<String, State>,
    /// Every proof that an item, a chapter or an interview question names, with what was found: `test stage-08::…` is `passed`.
    pub proofs: BTreeMap<String, String>,
}

impl Snapshot {
    /// Where it lies.
    pub fn path(workspace: &Workspace) -> PathBuf {
        workspace.root.join("checklists/proofs.txt")
    }

    /// The committed one.
    ///
    /// # Errors
    /// If there is none, or it is not what [`render`](Self::render) writes.
    pub fn load(workspace: &Workspace) -> Result<Self> {
        let path = Self::path(workspace);
        Self::parse(&read(&path)?)
            .ok_or_else(|| Error::at(&path, "is not what `cargo course proofs` writes"))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut snapshot = Self::default();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with(['#', '=']))
        {
            if let Some(proof) = line.strip_prefix("  ") {
                let (proof, found) = proof.rsplit_once(": ")?;
                snapshot.proofs.insert(proof.to_owned(), found.to_owned());
            } else {
                let (id, word) = line.split_once(' ')?;
                let state = State::ALL.into_iter().find(|state| state.word() == word)?;
                snapshot.items.insert(id.to_owned(), state);
            }
        }
        Some(snapshot)
    }

    /// How many items of a checklist are in each state, in the order of [`State::ALL`].
    pub fn counts(&self, checklist: &Checklist) -> [usize; 4] {
        State::ALL.map(|state| {
            let items = checklist.items.iter();
            items
                .filter(|item| self.items.get(&item.id) == Some(&state))
                .count()
        })
    }

    /// As text: items in the order of their checklists with their proofs below, then what only the book cites.
    pub fn render(&self, checklists: &[Checklist]) -> String {
        let mut text = String::from(
            "# What the proofs came to when `cargo course proofs` last checked them. Not edited by hand.\n",
        );
        let mut shown = Vec::new();
        for checklist in checklists {
            let [proven, part, stale, open] = self.counts(checklist);
            let (name, total) = (&checklist.name, checklist.items.len());
            write!(text, "\n== {name}: {proven} proven, {part} in part, {stale} stale, {open} open, of {total}\n").expect("a string takes all");
            for item in &checklist.items {
                let state = self.items.get(&item.id).copied().unwrap_or(State::Open);
                writeln!(text, "{} {state}", item.id).expect("a string takes all");
                for proof in item.proof_names() {
                    if let Some(found) = self.proofs.get(&proof) {
                        writeln!(text, "  {proof}: {found}").expect("a string takes all");
                        shown.push(proof);
                    }
                }
            }
        }
        text.push_str("\n== cited by chapters and interview questions alone\n");
        for (proof, found) in self
            .proofs
            .iter()
            .filter(|(proof, _)| !shown.contains(proof))
        {
            writeln!(text, "  {proof}: {found}").expect("a string takes all");
        }
        text
    }
}
