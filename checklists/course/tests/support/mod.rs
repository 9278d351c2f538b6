//! A course in miniature: one stage with four tasks, one checklist, one record, one chapter.

use course::Workspace;
use std::path::Path;
use std::process::Command;

/// A checkout in a folder of its own, gone with it.
pub struct Miniature {
    folder: tempfile::TempDir,
}

const TASKS: [&str; 4] = ["one", "two", "three", "four"];

impl Miniature {
    /// A sound one.
    pub fn new() -> Self {
        let miniature = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let write = |path: &str, text: &str| miniature.write(path, text);
        write(
            "Cargo.toml",
            "[workspace]\nresolver = \"3\"\nmembers = [\"stages/01-tiny\"]\n",
        );
        write(".gitignore", "/target/\n/.course/\n");
        write(
            "stages/01-tiny/Cargo.toml",
            "[package]\nname = \"stage-01\"\nversion = \"0.1.0\"\nedition = \"2024\"\n[lib]\nname = \"tiny\"\ndoctest = false\n",
        );
        let mut source = String::from("//! A tiny stage.\n");
        let (mut hints, mut mutants) = (String::new(), String::new());
        let mut chapter = String::from(
            "# 01. Tiny\n\n## Run it first\n\n## Invariants\n\n{{#test stage-01::task_1_one::counts}}\n\n## Predict before you build\n\n## The idea\n\n## Tasks\n\n",
        );
        for (index, task) in TASKS.iter().enumerate() {
            let number = index + 1;
            source += &format!(
                "pub fn {task}(n: u32) -> u32 {{\n    // ANCHOR: solve-{task}\n    let step = {number};\n    n + step\n    // ANCHOR_END: solve-{task}\n}}\n"
            );
            hints += &format!(
                "[[task]]\nname = \"{task}\"\ntest = \"task_{number}_{task}\"\ntitle = \"Add {number}\"\nhints = [\"add\", \"add {number}\"]\n"
            );
            mutants += &format!(
                "[[mutant]]\ntask = \"{task}\"\nname = \"{task}-down\"\nfind = \"n + step\"\nreplace = \"n - step\"\neffect = \"Counts down.\"\n"
            );
            mutants += &format!(
                "[[mutant]]\ntask = \"{task}\"\nname = \"{task}-still\"\nfind = \"= {number}\"\nreplace = \"= 0\"\neffect = \"Stands still.\"\n"
            );
            write(
                &format!("stages/01-tiny/tests/task_{number}_{task}.rs"),
                &format!(
                    "#[test]\nfn counts() {{\n    assert_eq!(tiny::{task}(10), 10 + {number});\n}}\n"
                ),
            );
            chapter += &format!("{{{{#task 01 {task}}}}}\n\n");
        }
        chapter += "## Checkpoint\n\n## Measure\n\nIt takes {{#value 01-speed one}}.\n\n## Break it\n\n## Interview walkthrough\n\n## In production\n\n## Proven here\n\n{{#proven 01}}\n";
        write("stages/01-tiny/src/lib.rs", &source);
        write("stages/01-tiny/hints.toml", &hints);
        write("stages/01-tiny/mutants.toml", &mutants);
        write("book/src/01-tiny.md", &chapter);
        write(
            "book/src/SUMMARY.md",
            "# Summary\n\n- [Tiny](01-tiny.md)\n- [Items](checklist-tiny.md)\n",
        );
        write(
            "book/src/checklist-tiny.md",
            "# Items\n\n{{#checklist tiny}}\n",
        );
        write(
            "book/book.toml",
            "[book]\ntitle = \"Tiny\"\nsrc = \"src\"\n",
        );
        write("kernels/k1.cu", "// one\n");
        write(
            "checklists/tiny.toml",
            "checklist = \"Tiny\"\n\n[[item]]\nid = \"T-1\"\nsection = \"All\"\ntitle = \"Count\"\nshown = \"It counts.\"\ntests = [\"stage-01::task_1_one::counts\"]\nchapters = [\"01-tiny.md#the-idea\"]\nrecords = [{ name = \"01-speed\", claim = \"two / one >= 1.5\" }]\nkernels = [\"kernels/k1.cu\"]\n\n[[item]]\nid = \"T-2\"\nsection = \"All\"\ntitle = \"Fly\"\n",
        );
        miniature.write_record("[10.0, 12.0, 11.0]", "[20.0, 24.0, 22.0]");
        miniature.run("git", &["init", "-q", "-b", "main"]);
        miniature.run("cargo", &["generate-lockfile", "--offline"]);
        miniature.commit();
        miniature
    }

    /// As a checkout.
    pub fn workspace(&self) -> Workspace {
        Workspace::at(self.folder.path())
    }

    /// Writes a file below it.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// The text of a file below it.
    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(path)).unwrap()
    }

    /// Replaces the one place in a file that reads `from`.
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path);
        assert_eq!(text.matches(from).count(), 1, "{path} has {from:?} once");
        self.write(path, &text.replace(from, to));
    }

    /// The record, with the digest of the kernel as it stands now.
    pub fn write_record(&self, one: &str, two: &str) {
        let digest = benches::digest(self.folder.path(), &["kernels/k1.cu"]).unwrap();
        self.write(
            "benches/records/01-speed.json",
            &format!(
                "{{\"name\":\"01-speed\",\"title\":\"Speed\",\"command\":\"run\",\"date\":\"2020-02-02\",\"machine\":{{\"device\":\"A device\",\"cores\":1,\"os\":\"linux\",\"toolchain\":\"rustc\"}},\"source\":{{\"commit\":\"\",\"dirty\":false,\"paths\":[\"kernels/k1.cu\"],\"digest\":\"{digest}\"}},\"series\":[{{\"name\":\"one\",\"unit\":\"ns\",\"samples\":{one}}},{{\"name\":\"two\",\"unit\":\"ns\",\"samples\":{two}}}]}}"
            ),
        );
    }

    /// Commits everything.
    pub fn commit(&self) {
        self.run("git", &["add", "-A"]);
        self.run(
            "git",
            &[
                "-c",
                "user.name=Test",
                "-c",
                "user.email=test@example.org",
                "commit",
                "-q",
                "-m",
                "state",
            ],
        );
    }

    /// Runs a program in it that must succeed; the answer is what it printed.
    pub fn run(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir::<&Path>(self.folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}
