//! A copy of the checkout to break on purpose. It lies under `target`, shares the compiled dependencies, and is brought up to date file by
//! file, so that only what changed is built again.

use crate::cargo::package_name;
use crate::error::{Error, Result, read, write};
use crate::git;
use crate::region::Region;
use crate::stage::{Stage, Task};
use crate::workspace::Workspace;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What is read of the workspace's `Cargo.toml`.
#[derive(Deserialize)]
struct Manifest {
    workspace: Members,
    #[serde(default)]
    profile: Profiles,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<PathBuf>,
}

#[derive(Deserialize, Default)]
struct Profiles {
    #[serde(default)]
    dev: Dev,
}

#[derive(Deserialize, Default)]
struct Dev {
    #[serde(rename = "opt-level")]
    opt_level: Option<toml::Value>,
    #[serde(default)]
    package: toml::Table,
}

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
        let target = workspace.target();
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
        build_apart(&root)?;
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

/// Gives the copy's packages a profile of their own. Cargo tells what it has built by the package's place in its workspace and by its profile:
/// with the same profile, a build of the copy would pass for one of the checkout, whatever was edited there since. 256 units are what an
/// incremental build has anyway. Builds here are hundreds and what they run is short: packages that the workspace optimises beyond its own
/// level are built at that level. Cargo reads the file because it lies in a folder above the copy.
fn build_apart(root: &Path) -> Result<()> {
    let manifest: Manifest = crate::error::read_toml(&root.join("Cargo.toml"))?;
    let dev = manifest.profile.dev;
    let mut lines = String::new();
    for folder in manifest.workspace.members {
        let name = package_name(&root.join(folder).join("Cargo.toml"))?;
        lines += &format!("[profile.dev.package.{name}]\ncodegen-units = 256\n");
        if let (Some(level), true) = (&dev.opt_level, dev.package.contains_key(&name)) {
            lines += &format!("opt-level = {level}\n");
        }
    }
    let above = root.parent().unwrap_or(root);
    write(&above.join(".cargo/config.toml"), &lines)
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
