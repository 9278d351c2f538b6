//! Compiled kernels on disk, one file a digest: what one process compiled, the next one reads.
//!
//! An entry is the SHA-256 of the rest, the length of the compiler's log, the log, and the machine code. It is written beside its name and
//! renamed, so that processes which start together see a whole entry or none; what a full disk or a copy cut short left of one has
//! another digest, reads as none, and is written again.

use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of entries.
pub(crate) struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The user's cache of one kind of machine code.
    pub fn of(kind: &str) -> Self {
        let folder = folder(kind);
        Self { folder }
    }

    /// The image and the log under `key`, if a whole entry is there.
    pub fn load(&self, key: &str) -> Option<(Vec<u8>, String)> {
        let entry = std::fs::read(self.folder.join(key)).ok()?;
        let (digest, rest) = entry.split_at_checked(Sha256::output_size())?;
        if Sha256::digest(rest)[..] != *digest {
            return None;
        }
        let (length, rest) = rest.split_first_chunk()?;
        let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
        let (log, image) = rest.split_at_checked(length)?;
        Some((image.to_vec(), String::from_utf8(log.to_vec()).ok()?))
    }

    /// Writes an entry, in place of what was under `key`.
    pub fn store(&self, key: &str, image: &[u8], log: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let length = (log.len() as u64).to_le_bytes();
        let rest = [&length, log.as_bytes(), image].concat();
        let partial = scratch(&self.folder, key);
        let written = std::fs::write(&partial, [&Sha256::digest(&rest)[..], &rest].concat())
            .and_then(|()| std::fs::rename(&partial, self.folder.join(key)));
        if written.is_err() {
            let _ = std::fs::remove_file(&partial);
        }
        written
    }
}

/// Where machine code of one kind is kept: in `WAVEBOOST_CACHE`, or `waveboost` in the user's cache folder.
pub(crate) fn folder(kind: &str) -> PathBuf {
    let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
    from("WAVEBOOST_CACHE")
        .or_else(|| Some(from("XDG_CACHE_HOME")?.join("waveboost")))
        .or_else(|| Some(from("HOME")?.join(".cache/waveboost")))
        .unwrap_or_else(|| std::env::temp_dir().join("waveboost"))
        .join(kind)
}

/// A file name in `folder` that no other call, in this process or another, gets.
pub(crate) fn scratch(folder: &Path, name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    folder.join(format!("{name}.{}-{count}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(folder: &tempfile::TempDir) -> Cache {
        // Not made yet: the first entry makes it.
        let folder = folder.path().join("new");
        Cache { folder }
    }

    #[test]
    fn an_entry_comes_back() {
        let folder = tempfile::tempdir().unwrap();
        let cache = new(&folder);
        assert!(cache.load("k").is_none());
        for (image, log) in [(&[1, 2][..], "said"), (&[3], ""), (&[], "more")] {
            cache.store("k", image, log).unwrap();
            assert_eq!(cache.load("k"), Some((image.to_vec(), log.to_owned())));
        }
        let left = cache.folder.read_dir().unwrap().count();
        assert_eq!(left, 1, "nothing partial is left");
    }

    #[test]
    fn a_damaged_entry_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = new(&folder);
        cache.store("k", &[1, 2], "said").unwrap();
        let path = cache.folder.join("k");
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(cache.load("k").is_none(), "cut to {length} bytes");
            let mut flipped = whole.clone();
            flipped[length] ^= 1;
            std::fs::write(&path, flipped).unwrap();
            assert!(cache.load("k").is_none(), "byte {length} flipped");
        }
        std::fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(cache.load("k").is_none(), "a byte too many");
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("new"), []).unwrap();
        assert!(new(&folder).store("k", &[1], "").is_err());
    }
}
