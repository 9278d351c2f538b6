//! Where a model's files come from: a folder, bytes in the program itself, one file of weights, or one GGUF file.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::{Gguf, LoadError};

/// The file that holds all weights where they are not in shards.
pub(super) const SINGLE: &str = "model.safetensors";

/// A Hugging Face folder, one file of weights, or a GGUF file.
///
/// Files on disk are mapped, not read: nothing may write to them while something that was loaded from them is alive.
#[derive(Clone, Debug)]
pub enum Source {
    /// A folder on disk.
    Dir(PathBuf),
    /// One safetensors file, of whatever name; it is read as `model.safetensors`, and there is no other.
    File(PathBuf),
    /// File names and contents, such as `include_bytes!` gives.
    Embedded(&'static [(&'static str, &'static [u8])]),
    /// A GGUF file, its header read.
    Gguf(Arc<Gguf>),
}

impl Source {
    /// What is at a path: a GGUF file by its name's ending, a folder otherwise.
    ///
    /// # Errors
    /// A GGUF file that cannot be read or whose header is damaged. A folder is not looked into yet.
    pub fn at(path: &Path) -> Result<Self, LoadError> {
        let gguf = path
            .extension()
            .is_some_and(|ending| ending.eq_ignore_ascii_case("gguf"));
        if gguf && !path.is_dir() {
            return Ok(Self::Gguf(Arc::new(Gguf::open(path)?)));
        }
        Ok(Self::Dir(path.to_owned()))
    }

    /// How messages name a file of this source.
    pub(super) fn name_of(&self, file: &str) -> String {
        match self {
            Source::Dir(folder) => folder.join(file).display().to_string(),
            Source::File(path) => path.display().to_string(),
            Source::Embedded(_) => format!("(embedded) {file}"),
            Source::Gguf(gguf) => format!("{} {file}", gguf.file()),
        }
    }

    /// The content of a file; `None` if there is no such file.
    pub(super) fn open(&self, file: &str) -> Result<Option<Bytes>, LoadError> {
        let path = match self {
            Source::Dir(folder) => folder.join(file),
            Source::File(path) if file == SINGLE => path.clone(),
            Source::File(_) | Source::Gguf(_) => return Ok(None),
            Source::Embedded(files) => {
                return Ok(files
                    .iter()
                    .find(|(name, _)| *name == file)
                    .map(|(_, content)| Bytes::Embedded(content)));
            }
        };
        match map(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(LoadError::Io {
                file: self.name_of(file),
                source,
            }),
        }
    }

    /// The content of a file that must be there.
    pub(super) fn require(&self, file: &str, advice: &'static str) -> Result<Bytes, LoadError> {
        self.open(file)?.ok_or_else(|| LoadError::MissingFile {
            file: self.name_of(file),
            advice,
        })
    }
}

/// Maps a regular file.
pub(super) fn map(path: &Path) -> std::io::Result<Bytes> {
    let file = File::open(path)?;
    if !file.metadata()?.is_file() {
        return Err(std::io::Error::other("not a regular file"));
    }
    // SAFETY: the map is private and read-only; that nobody changes the file while it lives is the contract of `Source`.
    Ok(Bytes::Mapped(unsafe { Mmap::map(&file) }?))
}

/// The content of a file.
#[derive(Debug)]
pub(super) enum Bytes {
    /// Pages of the file, brought in as they are touched.
    Mapped(Mmap),
    /// Part of the program.
    Embedded(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Embedded(bytes) => bytes,
        }
    }
}
