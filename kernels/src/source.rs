//! Kernel sources: embedded in the binary, their includes resolved, their parameters written before them.

use crate::error::{Error, Result};
use crate::expression::Values;
use crate::metadata::Metadata;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

macro_rules! file {
    ($path:literal) => {
        ($path, include_str!(concat!("../", $path)))
    };
}

include!("files.rs");

/// Paths of all kernel files, relative to `kernels/`, in the order of the ladders.
pub fn sources() -> impl Iterator<Item = &'static str> {
    let all = FILES.iter().map(|(path, _)| *path);
    all.filter(|path| path.ends_with(".cu"))
}

/// A kernel file with values for its parameters: all that a compiler needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// What the file says of itself.
    pub metadata: Metadata,
    /// The parameters' values.
    pub values: Values,
    /// The whole text: parameters, included headers, the file.
    pub text: String,
}

impl Source {
    /// The kernel in the file `path` (relative to `kernels/`) with `changes` to its default parameters.
    ///
    /// The text is the one that was built in; where the environment variable `KERNELS_DIR` names a folder, the text is read from
    /// there, so that an edit needs no new build.
    ///
    /// # Errors
    /// If there is no such file, its metadata cannot be read, or a change names no parameter.
    pub fn load(path: &str, changes: &Values) -> Result<Self> {
        Self::of_text(path, &read(path)?, changes)
    }

    /// The same of a kernel that is not among the files: its text, and the name that the compiler's messages shall have for it.
    ///
    /// # Errors
    /// If the metadata cannot be read, a change names no parameter, or there is no such header.
    pub fn of_text(path: &str, text: &str, changes: &Values) -> Result<Self> {
        let metadata = Metadata::parse(path, text)?;
        let values = metadata.with(changes)?;
        let mut whole = String::new();
        for (name, value) in &values {
            whole += &format!("#define {name} {value}\n");
        }
        let mut seen = Vec::new();
        include(path, text, &mut seen, &mut whole)?;
        Ok(Self {
            metadata,
            values,
            text: whole,
        })
    }

    /// A digest over the text and what else decides the machine code, in hex.
    pub fn digest(&self, more: &[&str]) -> String {
        let mut hash = Sha256::new();
        for part in std::iter::once(self.text.as_str()).chain(more.iter().copied()) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let bytes = hash.finalize();
        bytes
            .iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// The text of a file under `kernels/`.
///
/// # Errors
/// If there is none of that path.
pub fn read(path: &str) -> Result<Cow<'static, str>> {
    if let Some(folder) = std::env::var_os("KERNELS_DIR") {
        let path = std::path::Path::new(&folder).join(path);
        let text = std::fs::read_to_string(&path);
        return text
            .map(Cow::Owned)
            .map_err(|error| Error::Io { path, error });
    }
    let found = FILES.iter().find(|(name, _)| *name == path);
    let found = found.map(|(_, text)| Cow::Borrowed(*text));
    found.ok_or_else(|| Error::UnknownSource(path.to_owned()))
}

/// Appends `text` to `whole` with every `#include "x"` of a header under `include/` replaced by that header, once; `#line` keeps the
/// compiler's messages at the file that a reader sees.
fn include(path: &str, text: &str, seen: &mut Vec<String>, whole: &mut String) -> Result<()> {
    *whole += &format!("#line 1 \"{path}\"\n");
    for (index, line) in text.lines().enumerate() {
        let name = line.strip_prefix("#include \"");
        match name.and_then(|name| name.strip_suffix('"')) {
            Some(name) => {
                let header = format!("include/{name}");
                if !seen.contains(&header) {
                    seen.push(header.clone());
                    include(&header, &read(&header)?, seen, whole)?;
                }
                *whole += &format!("#line {} \"{path}\"\n", index + 2);
            }
            None => {
                whole.push_str(line);
                whole.push('\n');
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn every_file_is_embedded() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for folder in ["gemm", "micro", "include"] {
            // A ladder that has not begun has no folder.
            for entry in root.join(folder).read_dir().into_iter().flatten() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if name.ends_with(".cu") || name.ends_with(".h") {
                    let path = format!("{folder}/{name}");
                    assert!(FILES.iter().any(|(file, _)| *file == path), "{path}");
                }
            }
        }
    }

    #[test]
    fn every_kernel_is_one_step_that_fits_on_a_page() {
        for path in sources() {
            let source = Source::load(path, &Values::new()).unwrap();
            let lines = read(path).unwrap().lines().count();
            assert!(lines <= 180, "{path} has {lines} lines");
            assert!(
                source.metadata.summary.lines().count() >= 3,
                "{path} opens without saying what it changes"
            );
            for (name, values) in source.metadata.configurations() {
                source
                    .metadata
                    .block(&values)
                    .unwrap_or_else(|error| panic!("{path} {name}: {error}"));
            }
        }
    }

    #[test]
    fn the_digest_changes_with_a_parameter() {
        let path = sources().next().unwrap();
        let plain = Source::load(path, &Values::new()).unwrap();
        assert_eq!(plain.digest(&["sm_90a"]), plain.digest(&["sm_90a"]));
        assert_ne!(plain.digest(&["sm_90a"]), plain.digest(&["sm_80"]));
        assert!(Source::load("gemm/none.cu", &Values::new()).is_err());
    }
}
