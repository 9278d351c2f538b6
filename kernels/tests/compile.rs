//! What can be proved of the kernels for NVIDIA's GPUs with no such GPU: every file compiles, in every variant and for every `sm_` target
//! that its metadata names, into code that keeps all it holds in registers, multiplies without being serialised, uses the instructions
//! it is about, fits its launch, and takes what it took before.

mod support;

use kernels::{Cubin, Resources, Source, Values, nvrtc_version};
use rayon::prelude::*;
use std::path::Path;
use support::{Case, run};

#[test]
#[ignore = "needs NVRTC"]
fn every_kernel_is_what_its_metadata_says() {
    nvrtc_version().unwrap_or_else(|error| panic!("{error}"));
    let cases = Case::all();
    let (mut wrong, mut rows) = (Vec::new(), String::new());
    let mut spilling = Vec::new();
    let examined: Vec<_> = cases.par_iter().map(|case| case.examine()).collect();
    for (case, examined) in cases.iter().zip(examined) {
        let name = case.name();
        match examined {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok((found, sentences)) => {
                wrong.extend(sentences.iter().map(|wrong| format!("{name}: {wrong}")));
                let (.., dynamic) = case.source.metadata.block(&case.source.values).unwrap();
                let Resources {
                    registers, shared, ..
                } = found;
                rows += &format!("{name} {registers} {shared} {dynamic}\n");
                if found.spills > 0 {
                    spilling.push(&case.source.metadata.path);
                }
            }
        }
    }
    for case in &cases {
        let metadata = &case.source.metadata;
        if metadata.spills && !spilling.contains(&&metadata.path) && case.variant == "default" {
            let name = case.name();
            wrong.push(format!("{name}: `//@ spills: yes`, but no variant does"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} compilations", cases.len());
    hold_to_snapshot(&rows);
}

/// Compares with `resources.txt`, or writes it where UPDATE_RESOURCES is set. Another compiler's numbers are not compared: it may choose
/// other registers for the same source.
fn hold_to_snapshot(rows: &str) {
    let empty = Source::load("micro/empty.cu", &Values::new()).unwrap();
    let cubin = Cubin::compile(&empty, "sm_90a").unwrap();
    let version = cubin.compiler().expect("an image names its compiler");
    let head = format!(
        "# NVRTC {version}: file, variant, target, registers, bytes of shared memory: static, dynamic\n"
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("resources.txt");
    if std::env::var_os("UPDATE_RESOURCES").is_some() {
        std::fs::write(path, head + rows).unwrap();
        return;
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    if let Err(sentence) = compare(&kept, &(head + rows)) {
        panic!("{sentence}");
    }
}

fn compare(kept: &str, now: &str) -> std::result::Result<(), String> {
    let (head, rows) = now.split_once('\n').expect("there is a first line");
    let (kept_head, kept_rows) = kept.split_once('\n').unwrap_or_default();
    let again = "run this test again with UPDATE_RESOURCES=1 and read the difference";
    if head != kept_head {
        return Err(format!(
            "kernels/resources.txt begins with `{kept_head}`, this compiler's would with `{head}`: install that version, or {again}"
        ));
    }
    let missing = |from: &str, rows: &str| -> Vec<String> {
        let lines = rows
            .lines()
            .filter(|row| !from.lines().any(|line| line == *row));
        lines.map(str::to_owned).collect()
    };
    let (new, old) = (missing(kept_rows, rows), missing(rows, kept_rows));
    if new.is_empty() && old.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the compiler now gives {new:#?}, where kernels/resources.txt has {old:#?}; if that is meant, {again}"
    ))
}

#[test]
fn a_snapshot_differs_by_one_row_or_by_the_compiler() {
    let kept = "# 1\na 2\nb 3\n";
    assert!(compare(kept, kept).is_ok());
    for (now, word) in [
        ("# 1\na 2\nb 4\n", "b 4"),
        ("# 1\na 2\n", "b 3"),
        ("# 1\na 2\nb 3\nc 1\n", "c 1"),
        ("# 2\na 2\nb 3\n", "install that version"),
    ] {
        let said = compare(kept, now).unwrap_err();
        assert!(
            said.contains(word) && said.contains("UPDATE_RESOURCES=1"),
            "{said}"
        );
    }
    assert!(compare("", kept).is_err());
}

/// Without the compiler the tests above fail with a sentence that says what to install; they do not pass. Empty files under NVRTC's names
/// hide one that the system may have.
#[test]
fn a_missing_nvrtc_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["", ".1", ".9", ".10", ".11", ".12", ".13"] {
        std::fs::write(folder.path().join(format!("libnvrtc.so{name}")), []).unwrap();
    }
    let (passed, said) = run(
        "every_kernel_is_what_its_metadata_says",
        &[("LD_LIBRARY_PATH", folder.path())],
    );
    assert!(!passed, "{said}");
    assert!(said.contains("NVRTC was not found"), "{said}");
    assert!(said.contains("pip install nvidia-cuda-nvrtc"), "{said}");
}
