//! Tasks whose regions lie in kernels: a learner's verbs, the book and the check treat them as those in Rust.

mod support;

use course::check::check;
use course::learn::{diff, hint, next, reveal, start};
use support::Miniature;

fn complaint(miniature: &Miniature) -> String {
    match check(&miniature.workspace(), &[], |_| {}) {
        Ok(_) => panic!("the check passes"),
        Err(error) => error.to_string(),
    }
}

const KERNEL: &str = "kernels/gemm/k1.cu";
const HINTS: &str = "stages/01-tiny/hints.toml";

/// The miniature with a fifth task, whose region lies in a kernel. Its test stands for the emulator: it says what that would say.
fn with_kernel() -> Miniature {
    let miniature = Miniature::new();
    miniature.write(
        KERNEL,
        "KERNEL void five(GLOBAL(float) c, int n) {\n    float sum = 0;\n    for (int i = 0; i < n; ++i) {\n        // ANCHOR: solve-five\n        sum += 5;\n        c[i] = sum;\n        // ANCHOR_END: solve-five\n    }\n}\n",
    );
    miniature.write(
        "stages/01-tiny/tests/task_5_five.rs",
        "const TEXT: &str = include_str!(\"../../../kernels/gemm/k1.cu\");\n#[test]\nfn counts() {\n    if let Some((_, message)) = TEXT.split_once(\"TODO(\\\"\") {\n        panic!(\"not yet implemented: {}\", message.split('\"').next().unwrap());\n    }\n    assert!(!TEXT.contains(\"+= ;\"), \"k1.cu does not compile for host with c++\");\n    assert!(TEXT.contains(\"sum += 5;\") && TEXT.contains(\"c[i] = sum;\"));\n}\n",
    );
    let hints = miniature.read(HINTS);
    miniature.write(
        HINTS,
        &format!(
            "sources = [\"kernels/gemm\"]\n{hints}[[task]]\nname = \"five\"\ntest = \"task_5_five\"\ntitle = \"Sum fives\"\nhints = [\"add\", \"add 5\"]\n"
        ),
    );
    let mutants = miniature.read("stages/01-tiny/mutants.toml");
    let mutant = |name: &str, find: &str, replace: &str| {
        format!(
            "[[mutant]]\ntask = \"five\"\nname = \"{name}\"\nfind = \"{find}\"\nreplace = \"{replace}\"\neffect = \"Counts wrong.\"\n"
        )
    };
    miniature.write(
        "stages/01-tiny/mutants.toml",
        &format!(
            "{mutants}{}{}",
            mutant("five-six", "+= 5", "+= 6"),
            mutant("five-lost", "= sum", "= 0")
        ),
    );
    miniature.replace(
        "book/src/01-tiny.md",
        "{{#task 01 four}}",
        "{{#task 01 four}}\n\n{{#task 01 five}}\n\n{{#bugs 01}}",
    );
    miniature.commit();
    miniature
}

#[test]
fn a_region_in_a_kernel_is_a_task_like_any_other() {
    let miniature = with_kernel();
    let workspace = miniature.workspace();
    let summary = check(&workspace, &[], |_| {}).unwrap();
    assert_eq!((summary.tasks, summary.killed), (5, 10));
    let reference = miniature.read(KERNEL);
    miniature.run("git", &["switch", "-q", "-c", "learn"]);
    start(&workspace, "01", Some("five"), false).unwrap();
    assert!(miniature.read(KERNEL).contains(
        "ANCHOR: solve-five\n        TODO(\"task 01/five: cargo course hint 01 five\");\n        // ANCHOR_END"
    ));
    let said = next(&workspace).unwrap();
    assert!(said.contains("write  kernels/gemm/k1.cu:5"), "{said}");
    let said = course::status::status(&workspace).unwrap();
    assert!(
        said.contains("4/5") && said.contains("five: Sum fives"),
        "{said}"
    );
    assert!(hint(&workspace, "01", "five").unwrap().contains("1 of 2"));
    assert!(diff(&workspace, "01", "five").is_err());
    miniature.replace(
        KERNEL,
        "TODO(\"task 01/five: cargo course hint 01 five\");",
        "c[i] = 5 * (i + 1);",
    );
    let said = diff(&workspace, "01", "five").unwrap();
    assert!(
        said.contains("+++ yours.cu") && said.contains("-        sum += 5;"),
        "{said}"
    );
    reveal(&workspace, "01", "five").unwrap();
    assert_eq!(miniature.read(KERNEL), reference);
}

#[test]
fn the_book_shows_a_part_of_a_kernel_within_its_function() {
    let miniature = with_kernel();
    let book = course::book::Book::load(&miniature.workspace()).unwrap();
    assert_eq!(course::book::lint::lint(&book).unwrap().join("\n"), "");
    let page = &book.page("01-tiny.md").unwrap().expanded;
    for part in [
        "Write what is missing in this function in [`kernels/gemm/k1.cu`](../../kernels/gemm/k1.cu); ours has 2 lines.",
        "```cpp\nKERNEL void five(GLOBAL(float) c, int n) {\n    float sum = 0;\n    for (int i = 0; i < n; ++i) {\n        TODO(\"task 01/five: cargo course hint 01 five\");\n    }\n}\n```",
        "```cpp\nsum += 5;\nc[i] = sum;\n```",
        "```cpp\nsum += 6;\nc[i] = sum;\n```",
        "```rust,ignore\npub fn one(n: u32) -> u32 {\n    todo!(\"task 01/one: cargo course hint 01 one\")\n}\n```",
        "Write the body of this function in [`stages/01-tiny/src/lib.rs`]",
    ] {
        assert!(page.contains(part), "{part:?} in {page}");
    }
}

#[test]
fn faults_of_a_kernels_task_are_caught() {
    let miniature = with_kernel();
    miniature.replace(
        "stages/01-tiny/mutants.toml",
        "replace = \"+= 6\"",
        "replace = \"+= \"",
    );
    assert!(complaint(&miniature).contains("01/five: mutant five-six does not compile"));
    let miniature = with_kernel();
    miniature.replace(KERNEL, "        c[i] = sum;", "        c[i] = sum; \\");
    assert!(complaint(&miniature).contains("task five: the region is in a macro"));
    let miniature = with_kernel();
    miniature.replace(HINTS, "kernels/gemm", "kernels/none");
    let said = complaint(&miniature);
    assert!(
        said.contains("hints.toml names kernels/none, where there is no source")
            && said.contains("no source has the anchor solve-five"),
        "{said}"
    );
    // A file may be named as well as a folder.
    let miniature = with_kernel();
    miniature.replace(HINTS, "kernels/gemm", "kernels/gemm/k1.cu");
    assert_eq!(miniature.workspace().stage("01").unwrap().problems, [""; 0]);
}
