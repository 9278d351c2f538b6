//! The one error of a command line tool: a sentence that says what is wrong and what to do.

use std::fmt::Display;
use std::path::Path;

/// What went wrong, as the reader of the terminal needs it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

/// A result with that error.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error that reads as `message` does.
    pub fn new(message: impl Display) -> Self {
        Self(message.to_string())
    }

    /// An error about a file.
    pub fn at(path: &Path, message: impl Display) -> Self {
        Self(format!("{}: {message}", path.display()))
    }

    /// Many problems as one error, a line each; nothing if there is none.
    ///
    /// # Errors
    /// If there is a problem.
    pub fn all(problems: &[String]) -> Result<()> {
        if problems.is_empty() {
            return Ok(());
        }
        let count = problems.len();
        let noun = if count == 1 { "problem" } else { "problems" };
        Err(Self(format!("{}\n{count} {noun}", problems.join("\n"))))
    }
}

/// The text of a file.
///
/// # Errors
/// If it cannot be read; the message names it.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Error::at(path, error))
}

/// Writes a file and the folders above it.
///
/// # Errors
/// If it cannot be written; the message names it.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let folder = path.parent().unwrap_or(path);
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, text))
        .map_err(|error| Error::at(path, error))
}

/// A TOML file as data.
///
/// # Errors
/// If it cannot be read or does not fit; the message names file and place.
pub fn read_toml<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    toml::from_str(&read(path)?).map_err(|error| Error::at(path, error))
}
