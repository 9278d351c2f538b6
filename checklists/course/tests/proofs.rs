//! The proofs can fail: each way of losing one is caught.

mod support;

use course::proofs::check;
use course::snapshot::{Snapshot, State};
use support::Miniature;

const TEST: &str = "stages/01-tiny/tests/task_1_one.rs";
const CHECKLIST: &str = "checklists/tiny.toml";

/// A miniature whose snapshot is up to date.
fn checked() -> Miniature {
    let miniature = Miniature::new();
    let first = check(&miniature.workspace(), None).unwrap_err().to_string();
    assert!(first.contains("the proofs have changed"), "{first}");
    miniature
}

/// What the check says of it now.
fn complaint(miniature: &Miniature) -> String {
    match check(&miniature.workspace(), None) {
        Ok(_) => panic!("the check passes"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_sound_course_passes_and_its_snapshot_says_so() {
    let miniature = checked();
    let snapshot = check(&miniature.workspace(), None).unwrap();
    assert_eq!(snapshot.items["T-1"], State::Proven);
    assert_eq!(snapshot.items["T-2"], State::Open);
    assert_eq!(snapshot, Snapshot::load(&miniature.workspace()).unwrap());
    let text = miniature.read("checklists/proofs.txt");
    for line in [
        "== tiny: 1 proven, 0 in part, 0 stale, 1 open, of 2",
        "  test stage-01::task_1_one::counts: passed",
        "  record 01-speed two / one >= 1.5: holds on A device",
        "  kernel kernels/k1.cu: found",
        "  chapter 01-tiny.md#the-idea: found",
    ] {
        assert!(
            text.lines().any(|found| found == line),
            "{line:?} in\n{text}"
        );
    }
}

#[test]
fn a_renamed_test_is_caught() {
    let miniature = checked();
    miniature.replace(TEST, "fn counts", "fn counts_on");
    let said = complaint(&miniature);
    assert!(
        said.contains("test stage-01::task_1_one::counts did not run"),
        "{said}"
    );
}

#[test]
fn an_ignored_test_is_caught() {
    let miniature = checked();
    miniature.replace(TEST, "#[test]", "#[test]\n#[ignore = \"needs a CUDA GPU\"]");
    let said = complaint(&miniature);
    assert!(
        said.contains("is ignored, and no record shows its run"),
        "{said}"
    );
    // A record that lists it as passed shows its run.
    miniature.replace(
        "benches/records/01-speed.json",
        "\"series\"",
        "\"tests_passed\":[\"stage-01::task_1_one::counts\"],\"series\"",
    );
    let said = complaint(&miniature);
    assert!(
        said.contains("+   test stage-01::task_1_one::counts: passed on A device"),
        "{said}"
    );
    assert!(check(&miniature.workspace(), None).is_ok());
}

#[test]
fn a_failing_test_is_caught() {
    let miniature = checked();
    miniature.replace(
        "stages/01-tiny/src/lib.rs",
        "let step = 1;",
        "let step = 5;",
    );
    let said = complaint(&miniature);
    assert!(
        said.contains("test stage-01::task_1_one::counts failed"),
        "{said}"
    );
}

#[test]
fn a_test_is_not_run_again_where_its_end_is_known() {
    let miniature = checked();
    let printed = miniature.run("sh", &["-c", "cargo test --workspace 2>&1"]);
    assert_eq!(printed.matches("test counts ... ok").count(), 4);
    let workspace = miniature.workspace();
    let file = workspace.root.join("target/printed");
    let ran = |printed: &str| {
        miniature.write("target/printed", printed);
        check(&workspace, Some(&file))
    };
    assert!(ran(&printed).is_ok());
    let failed = printed.replace("counts ... ok", "counts ... FAILED");
    let said = ran(&failed).unwrap_err().to_string();
    assert!(
        said.contains("test stage-01::task_1_one::counts failed"),
        "{said}"
    );
    // It runs if its line cannot be read, and if its program is newer than what was printed.
    assert!(ran(&failed.replace("test counts", "tesWARN counts")).is_ok());
    assert!(ran(&failed).is_err());
    miniature.replace(TEST, "10 + 1", "11");
    assert!(check(&workspace, Some(&file)).is_ok());
}

#[test]
fn an_edited_kernel_makes_its_record_stale() {
    let miniature = checked();
    miniature.write("kernels/k1.cu", "// two\n");
    let said = complaint(&miniature);
    assert!(
        said.contains("- T-1 proven") && said.contains("+ T-1 stale"),
        "{said}"
    );
    assert_eq!(
        check(&miniature.workspace(), None).unwrap().items["T-1"],
        State::Stale
    );
    // Measured again, it is fresh.
    miniature.write_record("[10.0]", "[20.0]");
    complaint(&miniature);
    assert_eq!(
        check(&miniature.workspace(), None).unwrap().items["T-1"],
        State::Proven
    );
}

#[test]
fn a_record_that_misses_its_claim_is_caught() {
    let miniature = checked();
    miniature.write_record("[10.0, 11.0]", "[11.0, 12.0]");
    let said = complaint(&miniature);
    assert!(
        said.contains("does not hold: the record gives 1.10"),
        "{said}"
    );
    miniature.write_record("[]", "[11.0]");
    assert!(complaint(&miniature).contains("no samples"));
}

#[test]
fn a_removed_anchor_is_caught() {
    let miniature = checked();
    miniature.replace("book/src/01-tiny.md", "## The idea", "## The notion");
    let said = complaint(&miniature);
    assert!(
        said.contains("chapter 01-tiny.md#the-idea: 01-tiny.md has no section #the-idea"),
        "{said}"
    );
}

#[test]
fn what_is_gone_is_caught() {
    let miniature = checked();
    miniature.replace(CHECKLIST, "kernels/k1.cu", "kernels/k2.cu");
    assert!(complaint(&miniature).contains("there is no kernel kernels/k2.cu"));
    let miniature = checked();
    miniature.replace(CHECKLIST, "01-speed", "01-gone");
    assert!(complaint(&miniature).contains("there is no such record"));
}

#[test]
fn unknown_ids_duplicates_and_orphans_are_errors() {
    let miniature = checked();
    miniature.replace(
        "book/src/01-tiny.md",
        "## The idea",
        "## The idea\n\n{{#item T-9}}",
    );
    assert!(complaint(&miniature).contains("item T-9, which no checklist has"));
    let miniature = checked();
    miniature.replace(CHECKLIST, "\"T-2\"", "\"T-1\"");
    assert!(complaint(&miniature).contains("T-1: the id stands twice"));
    let miniature = checked();
    miniature.replace(
        CHECKLIST,
        "counts\"]",
        "counts\", \"stage-01::task_1_one::counts\"]",
    );
    assert!(complaint(&miniature).contains("names stage-01::task_1_one::counts twice"));
    let miniature = checked();
    let record = miniature.read("benches/records/01-speed.json");
    miniature.write(
        "benches/records/01-lost.json",
        &record.replace("01-speed", "01-lost"),
    );
    assert!(complaint(&miniature).contains("record 01-lost: no item and no chapter cites it"));
}

#[test]
fn prose_alone_and_silence_prove_nothing() {
    let miniature = checked();
    miniature.replace(
        CHECKLIST,
        "tests = [\"stage-01::task_1_one::counts\"]\n",
        "",
    );
    miniature.replace(
        CHECKLIST,
        "records = [{ name = \"01-speed\", claim = \"two / one >= 1.5\" }]\n",
        "",
    );
    assert!(complaint(&miniature).contains("T-1: is proven by prose alone"));
    let miniature = checked();
    miniature.replace(CHECKLIST, "shown = \"It counts.\"\n", "");
    assert!(complaint(&miniature).contains("T-1: has proofs and does not say what they show"));
}

#[test]
fn a_part_that_is_open_keeps_an_item_from_being_proven() {
    let miniature = checked();
    miniature.replace(
        CHECKLIST,
        "shown = \"It counts.\"",
        "shown = \"It counts.\"\nopen = \"Not by twos.\"",
    );
    let said = complaint(&miniature);
    assert!(
        said.contains("- T-1 proven") && said.contains("+ T-1 in part"),
        "{said}"
    );
}
