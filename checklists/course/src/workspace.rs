//! The checkout that a command works on.

use crate::error::{Error, Result};
use crate::stage::Stage;
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

    /// All stages in the order of their numbers.
    ///
    /// # Errors
    /// If a stage's tasks cannot be read.
    pub fn stages(&self) -> Result<Vec<Stage>> {
        self.stage_folders()?
            .iter()
            .map(|folder| Stage::load(self, folder))
            .collect()
    }

    /// The stage of that number (`08` or `8`).
    ///
    /// # Errors
    /// If there is none, or its tasks cannot be read.
    pub fn stage(&self, number: &str) -> Result<Stage> {
        let number = format!("{number:0>2}");
        let folders = self.stage_folders()?;
        let found = folders.iter().find(|folder| {
            let name = file_name(folder);
            name.starts_with(&format!("{number}-"))
        });
        let known: Vec<_> = folders
            .iter()
            .map(|folder| file_name(folder)[..2].to_owned())
            .collect();
        let found = found.ok_or_else(|| {
            Error(format!(
                "there is no stage {number}; there are {}",
                known.join(", ")
            ))
        })?;
        Stage::load(self, found)
    }

    /// `stages/NN-topic`, in order.
    fn stage_folders(&self) -> Result<Vec<PathBuf>> {
        let stages = self.root.join("stages");
        let entries = stages
            .read_dir()
            .map_err(|error| Error::at(&stages, error))?;
        let mut folders: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.join("Cargo.toml").is_file())
            .collect();
        folders.sort();
        Ok(folders)
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
