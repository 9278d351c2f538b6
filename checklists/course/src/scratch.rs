//! A copy of the checkout to break on purpose. It lies under `target`, shares the compiled dependencies, and is brought up to date file by
//! file, so that only what changed is built again.

use crate::error::{Error, Result, read, write};
use crate::git;
use crate::region::Region;
use crate::stage::{Stage, Task};
use crate::workspace::Workspace;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The copy.
pub struct Scratch {
    /// As a checkout of its own.
    pub workspace: Workspace,
    /// Where builds go.
    pub target: PathBuf,
}

impl Scratch {
    /// A copy of all files that git does not ignore, as they stand in the tree now.
    ///
    /// # Errors
    /// If a file cannot be copied.
    pub fn of(workspace: &Workspace) -> Result<Self> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| workspace.root.join("target"), PathBuf::from);
        let root = target.join("course").join("scratch");
        let wanted: BTreeSet<PathBuf> = git::files(&workspace.root)?.into_iter().collect();
        for file in &wanted {
            copy(&workspace.root.join(file), &root.join(file))?;
        }
        for file in all_files(&root) {
            let relative = file.strip_prefix(&root).unwrap_or(&file);
            if !wanted.contains(relative) {
                std::fs::remove_file(&file).map_err(|error| Error::at(&file, error))?;
            }
        }
        build_quickly(&root)?;
        Ok(Self {
            workspace: Workspace::at(root),
            target,
        })
    }

    /// Blanks a task; the answer is the text to [`put_back`](Self::put_back).
    ///
    /// # Errors
    /// If the task's file cannot be read or written.
    pub fn blank(&self, stage: &Stage, task: &Task) -> Result<String> {
        self.edit(task, |region, text| {
            region.blank(text, &stage.number, task.language())
        })
    }

    /// Replaces the body of a task's region; the answer is the text to [`put_back`](Self::put_back).
    ///
    /// # Errors
    /// If the task's file cannot be read or written.
    pub fn edit(&self, task: &Task, body: impl FnOnce(&Region, &str) -> String) -> Result<String> {
        let path = self.workspace.root.join(&task.file);
        let text = read(&path)?;
        let region = Region::find(&text, &task.name)?;
        write(&path, &region.replaced(&text, &body(&region, &text)))?;
        Ok(text)
    }

    /// Puts the body that the region has in `original` back; other regions of the file stay as they are.
    ///
    /// # Errors
    /// If the task's file cannot be read or written.
    pub fn put_back(&self, task: &Task, original: &str) -> Result<()> {
        let body = Region::find(original, &task.name)?.body(original);
        self.edit(task, |_, _| body).map(drop)
    }
}

/// Builds here are hundreds and what they run is short: packages that the workspace optimises beyond its own level are built at that level.
/// Cargo reads the file because it lies in a folder above the copy.
fn build_quickly(root: &Path) -> Result<()> {
    let manifest: toml::Table = crate::error::read_toml(&root.join("Cargo.toml"))?;
    let Some(dev) = manifest.get("profile").and_then(|all| all.get("dev")) else {
        return Ok(());
    };
    let (Some(level), Some(packages)) = (dev.get("opt-level"), dev.get("package")) else {
        return Ok(());
    };
    let names = packages.as_table().into_iter().flat_map(toml::Table::keys);
    let lines = names.map(|name| format!("[profile.dev.package.{name}]\nopt-level = {level}\n"));
    let above = root.parent().unwrap_or(root);
    write(
        &above.join(".cargo/config.toml"),
        &lines.collect::<String>(),
    )
}

/// Copies where the contents differ; an equal file keeps its time of change, which is what builds go by.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let bytes = std::fs::read(from).map_err(|error| Error::at(from, error))?;
    if std::fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    std::fs::create_dir_all(to.parent().unwrap_or(to))
        .and_then(|()| std::fs::write(to, bytes))
        .map_err(|error| Error::at(to, error))
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in folder.read_dir().into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(all_files(&path))
        } else {
            found.push(path)
        }
    }
    found
}
