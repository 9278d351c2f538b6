//! The cache of compiled kernels under what happens to it: processes that start together, and entries that were cut short. Each test runs
//! itself again in processes of their own, since where the cache lies is a variable of the process.

use kernels::{Cubin, Source, Values};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Set in those processes, to what they are there for.
const ROLE: &str = "CUBIN_CACHE_TEST_ROLE";

const ARCH: &str = "sm_90a";

fn source(unroll: i64) -> Source {
    let changes = Values::from([("UNROLL".to_owned(), unroll)]);
    Source::load("micro/copy.cu", &changes).unwrap()
}

/// Starts the test `name` again with a cache in `folder`.
fn start(name: &str, folder: &Path) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--ignored", "--exact", "--nocapture", name])
        .env("WAVEBOOST_CACHE", folder)
        .env(ROLE, "child")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for it, and fails as it failed.
fn end(child: Child) {
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = folder.join("cubin").read_dir().unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// Four processes of four threads ask for the same two kernels while there is no cache yet; each gets what a compilation gives, and what
/// they leave is two whole entries.
#[test]
#[ignore = "needs NVRTC"]
fn processes_that_start_together_share_a_cache() {
    let ask = || {
        for unroll in [2, 3] {
            let expected = Cubin::compile(&source(unroll), ARCH).unwrap();
            for _ in 0..20 {
                let found = Cubin::of(&source(unroll), ARCH).unwrap();
                assert!(found.image == expected.image, "UNROLL={unroll}");
                assert_eq!(found.resources(), expected.resources());
            }
        }
    };
    if is_child() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(ask);
            }
        });
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = "processes_that_start_together_share_a_cache";
    let children: Vec<_> = (0..4).map(|_| start(name, folder.path())).collect();
    children.into_iter().for_each(end);
    let left = entries(folder.path());
    assert_eq!(left.len(), 2, "{left:?}");
    assert!(
        left.iter().all(|path| path.extension().is_none()),
        "{left:?}"
    );
}

/// A whole entry is read and left alone; one cut short is compiled and written again.
#[test]
#[ignore = "needs NVRTC"]
fn an_entry_that_was_cut_short_is_compiled_again() {
    if !is_child() {
        let folder = tempfile::tempdir().unwrap();
        end(start(
            "an_entry_that_was_cut_short_is_compiled_again",
            folder.path(),
        ));
        return;
    }
    let made = Cubin::of(&source(4), ARCH).unwrap();
    let folder = PathBuf::from(std::env::var_os("WAVEBOOST_CACHE").unwrap());
    let [entry] = &entries(&folder)[..] else {
        panic!("one entry");
    };
    // A file written again under the name is another file.
    let file = |metadata: Metadata| (metadata.ino(), metadata.len());
    let now = || file(entry.metadata().unwrap());
    let first = now();
    assert_eq!(Cubin::of(&source(4), ARCH).unwrap(), made);
    assert_eq!(now(), first, "a whole entry is not written again");
    let whole = std::fs::read(entry).unwrap();
    for length in [0, 10, 40, whole.len() / 2, whole.len() - 1] {
        std::fs::write(entry, &whole[..length]).unwrap();
        let again = Cubin::of(&source(4), ARCH).unwrap();
        assert!(again.image == made.image, "cut to {length} bytes");
        assert!(now().1 > made.image.len() as u64, "cut to {length} bytes");
        assert_eq!(Cubin::of(&source(4), ARCH).unwrap(), again);
    }
}
