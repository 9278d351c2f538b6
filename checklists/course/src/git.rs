//! What the tool asks of git.

use crate::error::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// What `git ARGUMENTS` prints in `root`.
///
/// # Errors
/// If git is missing or fails.
pub fn git(root: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new("git")
        .args(arguments)
        .current_dir(root)
        .output();
    let output = output.map_err(|error| Error(format!("git cannot be run: {error}")))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error(format!(
        "git {}: {}",
        arguments.join(" "),
        said.trim()
    )))
}

/// The branch that is checked out; empty on a detached head.
///
/// # Errors
/// If git fails.
pub fn branch(root: &Path) -> Result<String> {
    Ok(git(root, &["branch", "--show-current"])?.trim().to_owned())
}

/// Whether tracked files differ from the last commit.
///
/// # Errors
/// If git fails.
pub fn is_dirty(root: &Path) -> Result<bool> {
    Ok(!git(root, &["status", "--porcelain", "--untracked-files=no"])?.is_empty())
}

/// The commit that is checked out.
///
/// # Errors
/// If git fails.
pub fn head(root: &Path) -> Result<String> {
    Ok(git(root, &["rev-parse", "HEAD"])?.trim().to_owned())
}

/// The text of `file` (relative to the checkout) as it was at `commit`.
///
/// # Errors
/// If the commit has no such file.
pub fn show(root: &Path, commit: &str, file: &Path) -> Result<String> {
    git(root, &["show", &format!("{commit}:{}", file.display())])
}

/// The files of the checkout that git does not ignore and that exist, relative to it.
///
/// # Errors
/// If git fails.
pub fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let listed = git(
        root,
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    )?;
    let paths = listed
        .split('\0')
        .filter(|path| !path.is_empty())
        .map(PathBuf::from);
    Ok(paths.filter(|path| root.join(path).is_file()).collect())
}
