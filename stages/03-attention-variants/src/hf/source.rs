//! Where a model's files come from: a folder, or bytes in the program itself. Both are read the same way.

use std::fs::File;
use std::ops::Deref;
use std::path::PathBuf;

use memmap2::Mmap;

use super::LoadError;

/// The file that holds all weights where they are not in shards.
pub(super) const SINGLE: &str = "model.safetensors";

/// A Hugging Face folder, or one file of weights.
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
}

impl Source {
    /// How messages name a file of this source.
    pub(super) fn name_of(&self, file: &str) -> String {
        match self {
            Source::Dir(folder) => folder.join(file).display().to_string(),
            Source::File(path) => path.display().to_string(),
            Source::Embedded(_) => format!("(embedded) {file}"),
        }
    }

    /// The content of a file; `None` if there is no such file.
    pub(super) fn open(&self, file: &str) -> Result<Option<Bytes>, LoadError> {
        let path = match self {
            Source::Dir(folder) => folder.join(file),
            Source::File(path) if file == SINGLE => path.clone(),
            Source::File(_) => return Ok(None),
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

fn map(path: &std::path::Path) -> std::io::Result<Bytes> {
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
