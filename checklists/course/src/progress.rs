//! What a learner has seen: hints, revealed solutions, and the commit that holds the reference of each stage begun.

use crate::error::{Error, Result, read_toml, write};
use crate::workspace::Workspace;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Kept in `.course/progress.toml`, which git ignores.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Tasks (`08/alloc`) whose solution was looked up.
    #[serde(default)]
    pub revealed: BTreeSet<String>,
    /// Commit from which a stage (`08`) was begun; its regions there are the reference.
    #[serde(default)]
    pub reference: BTreeMap<String, String>,
    /// Hints shown of each task.
    #[serde(default)]
    pub hints: BTreeMap<String, usize>,
}

impl Progress {
    /// Reads it; a fresh checkout has none, which is progress too.
    ///
    /// # Errors
    /// If the file is not what this tool wrote.
    pub fn load(workspace: &Workspace) -> Result<Self> {
        let path = path(workspace);
        if path.is_file() {
            read_toml(&path)
        } else {
            Ok(Self::default())
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, workspace: &Workspace) -> Result<()> {
        let text = toml::to_string(self).map_err(Error::new)?;
        write(&path(workspace), &text)
    }
}

fn path(workspace: &Workspace) -> PathBuf {
    workspace.root.join(".course/progress.toml")
}
