//! A digest of sources: equal digests mean that what was measured is what stands there now.

use sha2::{Digest, Sha256};
use std::io;
use std::path::{Path, PathBuf};

/// SHA-256, in hex, over the files at `paths` (files, or folders with all that is in them), relative to `root`.
///
/// Names and contents both count; order does not.
///
/// # Errors
/// If a path does not exist or cannot be read.
pub fn digest(root: &Path, paths: &[impl AsRef<Path>]) -> io::Result<String> {
    let mut files = Vec::new();
    for path in paths {
        collect(&root.join(path), &mut files)?;
    }
    files.sort();
    files.dedup();
    let mut hash = Sha256::new();
    for file in files {
        let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy();
        let content = std::fs::read(&file)?;
        // Lengths part a name from its content, so that no two trees hash the same bytes.
        hash.update((name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
        hash.update((content.len() as u64).to_le_bytes());
        hash.update(&content);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    let name_error =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
    if path.metadata().map_err(name_error)?.is_dir() {
        for entry in path.read_dir()? {
            collect(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_path_buf());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_with_names_and_contents_and_not_with_order() {
        let folder = std::env::temp_dir().join(format!("digest-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("inner")).unwrap();
        std::fs::write(folder.join("a"), "one").unwrap();
        std::fs::write(folder.join("inner/b"), "two").unwrap();
        let whole = digest(&folder, &["a", "inner"]).unwrap();
        assert_eq!(whole, digest(&folder, &["inner", "a", "inner/b"]).unwrap());
        std::fs::write(folder.join("inner/b"), "twO").unwrap();
        assert_ne!(whole, digest(&folder, &["a", "inner"]).unwrap());
        std::fs::write(folder.join("inner/b"), "two").unwrap();
        assert_eq!(whole, digest(&folder, &["a", "inner"]).unwrap());
        std::fs::rename(folder.join("inner/b"), folder.join("inner/c")).unwrap();
        assert_ne!(whole, digest(&folder, &["a", "inner"]).unwrap());
        assert!(digest(&folder, &["gone"]).is_err());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
