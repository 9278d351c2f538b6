//! Compiled kernels on disk, one entry a digest: what one process compiled, the next one reads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A folder of entries, each a machine code image and the compiler's log.
pub(crate) struct Cache {
    folder: PathBuf,
    suffix: &'static str,
}

impl Cache {
    /// The user's cache of images with the given suffix: in `WAVEBOOST_CACHE`, or `waveboost` in the user's cache folder.
    pub fn of(suffix: &'static str) -> Self {
        let from = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let root = from("WAVEBOOST_CACHE")
            .or_else(|| Some(from("XDG_CACHE_HOME")?.join("waveboost")))
            .or_else(|| Some(from("HOME")?.join(".cache/waveboost")))
            .unwrap_or_else(|| std::env::temp_dir().join("waveboost"));
        Self {
            folder: root.join(suffix),
            suffix,
        }
    }

    /// The image and the log under `key`, if a whole entry is there.
    pub fn load(&self, key: &str) -> Option<(Vec<u8>, String)> {
        let image = std::fs::read(self.path(key, self.suffix)).ok()?;
        let log = std::fs::read_to_string(self.path(key, "log")).ok()?;
        Some((image, log))
    }

    /// Written beside and renamed, the log first: a process that reads meanwhile finds a whole entry or no image.
    pub fn store(&self, key: &str, image: &[u8], log: &str) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        for (suffix, content) in [("log", log.as_bytes()), (self.suffix, image)] {
            let partial = scratch(&self.folder, key);
            std::fs::write(&partial, content)?;
            std::fs::rename(&partial, self.path(key, suffix))?;
        }
        Ok(())
    }

    fn path(&self, key: &str, suffix: &str) -> PathBuf {
        self.folder.join(format!("{key}.{suffix}"))
    }
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

    #[test]
    fn an_entry_comes_back_and_a_torn_one_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache {
            folder: folder.path().join("new"),
            suffix: "co",
        };
        assert!(cache.load("k").is_none());
        cache.store("k", &[1, 2], "said").unwrap();
        assert_eq!(cache.load("k"), Some((vec![1, 2], "said".to_owned())));
        std::fs::remove_file(cache.path("k", "log")).unwrap();
        assert!(cache.load("k").is_none());
        let left = cache.folder.read_dir().unwrap().count();
        assert_eq!(left, 1, "nothing partial is left");
    }
}
