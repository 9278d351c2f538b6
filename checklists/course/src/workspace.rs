//! The checkout that a command works on.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

/// A checkout of the project, or a copy of one.
#[derive(Debug, Clone)]
pub struct Workspace {
    /// Its root folder.
    pub root: PathBuf,
}

impl Workspace {
    /// The checkout at `root`.
    pub fn at(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The checkout that the current folder lies in.
    ///
    /// # Errors
    /// If it lies in none.
    pub fn here() -> Result<Self> {
        let current = std::env::current_dir().map_err(Error::new)?;
        let root = current
            .ancestors()
            .find(|folder| folder.join("checklists/course").is_dir());
        let root = root.ok_or_else(|| Error::new("run this inside a checkout of the course"))?;
        Ok(Self::at(root))
    }

    /// Where cargo builds what lies in it.
    pub fn target(&self) -> PathBuf {
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.root.join("target"), PathBuf::from)
    }
}

/// The last part of a path, as text.
pub fn file_name(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// The files below `folder` whose name ends in `.extension`, in order; none if the folder does not exist.
pub fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|ending| ending == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}
