//! The exercises' own check can fail, and a learner's verbs do what they say.

mod support;

use course::check::check;
use course::learn::{diff, hint, next, reveal, start};
use support::Miniature;

const SOURCE: &str = "stages/01-tiny/src/lib.rs";
const TEST: &str = "stages/01-tiny/tests/task_2_two.rs";
/// An example, and the output that the book would show of it.
const EXAMPLE: (&str, &str) = (
    "stages/01-tiny/examples/count.rs",
    "fn main() {\n    println!(\"{}\", tiny::two(10));\n}\n",
);
const OUTPUT: &str = "book/outputs/01-count.txt";

fn complaint(miniature: &Miniature) -> String {
    match check(&miniature.workspace(), &[], |_| {}) {
        Ok(_) => panic!("the check passes"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_sound_stage_passes() {
    let miniature = Miniature::new();
    let summary = check(&miniature.workspace(), &[], |_| {}).unwrap();
    assert_eq!((summary.tasks, summary.killed), (4, 8));
}

#[test]
fn a_test_that_lets_blanks_or_mutants_pass_is_caught() {
    let miniature = Miniature::new();
    miniature.replace(TEST, "tiny::two(10), 10 + 2", "10, 10");
    let said = complaint(&miniature);
    assert!(
        said.contains("01/two: blank, it passes task_2_two"),
        "{said}"
    );
    assert!(
        said.contains("01/two: mutant two-down survives task_2_two"),
        "{said}"
    );
}

#[test]
fn a_failure_without_the_tasks_message_is_caught() {
    let miniature = Miniature::new();
    // The target meets the blank in a way that hides what it says.
    miniature.write(TEST, "#[test]\nfn counts() {\n    std::panic::set_hook(Box::new(|_| {}));\n    assert!(std::panic::catch_unwind(|| tiny::two(10)).is_ok_and(|n| n == 12));\n}\n");
    assert!(
        complaint(&miniature).contains("01/two: blank, it fails task_2_two without the message")
    );
}

#[test]
fn a_target_that_needs_a_later_task_is_caught() {
    let miniature = Miniature::new();
    miniature.replace(TEST, "10 + 2);", "10 + 2);\n    tiny::four(1);");
    let said = complaint(&miniature);
    assert!(said.contains("01/three: with the tasks before it solved, `cargo test -p stage-01` stops at task_2_two"), "{said}");
}

#[test]
fn what_the_check_has_built_does_not_pass_for_the_checkouts() {
    let miniature = Miniature::new();
    // The example is built last, of what is in the checkout as well.
    miniature.write(EXAMPLE.0, EXAMPLE.1);
    miniature.write(OUTPUT, "12\n");
    assert!(check(&miniature.workspace(), &[], |_| {}).is_ok());
    let source = miniature.read(SOURCE);
    miniature.write(SOURCE, &(source + "compile_error!(\"edited\");\n"));
    let said = miniature.run(
        "sh",
        &["-c", "cargo build --example count 2>&1 || echo refused"],
    );
    assert!(
        said.contains("edited") && said.contains("refused"),
        "{said}"
    );
}

#[test]
fn a_unit_test_that_needs_a_task_is_caught() {
    let miniature = Miniature::new();
    let source = miniature.read(SOURCE);
    let test = "#[cfg(test)]\nmod tests {\n    #[test]\n    fn counts() {\n        assert_eq!(super::two(10), 12);\n    }\n}\n";
    miniature.write(SOURCE, &(source + test));
    let said = complaint(&miniature);
    assert!(
        said.contains("stage 01: a unit test needs a task") && said.contains("task 01/two"),
        "{said}"
    );
}

#[test]
fn a_reference_that_fails_is_caught() {
    let miniature = Miniature::new();
    miniature.replace(TEST, "10 + 2", "10 + 3");
    miniature.replace("stages/01-tiny/tests/task_4_four.rs", "10 + 4", "10 + 5");
    let said = complaint(&miniature);
    assert!(
        said.contains("01/three: with the tasks before it solved, `cargo test -p stage-01` stops at task_2_two")
            && said.contains("01/four: the reference fails task_4_four"),
        "{said}"
    );
}

#[test]
fn a_mutant_that_does_not_compile_or_apply_is_caught() {
    let miniature = Miniature::new();
    miniature.write(
        "stages/01-tiny/mutants.toml",
        &miniature
            .read("stages/01-tiny/mutants.toml")
            .replacen("n - step", "n - stp", 1),
    );
    assert!(complaint(&miniature).contains("01/one: mutant one-down does not compile"));
    let miniature = Miniature::new();
    miniature.replace(SOURCE, "let step = 3;", "let step = 2 + 1;");
    assert!(complaint(&miniature).contains("mutant three-still: its text occurs 0 times"));
}

#[test]
fn an_output_that_no_example_prints_is_caught() {
    let miniature = Miniature::new();
    miniature.write(OUTPUT, "12\n");
    assert!(
        complaint(&miniature).contains("book/outputs/01-count.txt: the example does not compile")
    );
    miniature.write(EXAMPLE.0, EXAMPLE.1);
    assert!(check(&miniature.workspace(), &[], |_| {}).is_ok());
    miniature.write(OUTPUT, "13\n");
    assert!(
        complaint(&miniature).contains("book/outputs/01-count.txt is not what the example prints")
    );
}

#[test]
fn missing_parts_are_caught() {
    let miniature = Miniature::new();
    miniature.replace(
        "stages/01-tiny/hints.toml",
        "\"add\", \"add 2\"",
        "\"add 2\"",
    );
    assert!(complaint(&miniature).contains("task two: fewer than two hints"));
    let miniature = Miniature::new();
    miniature.replace("stages/01-tiny/mutants.toml", "[[mutant]]\ntask = \"two\"\nname = \"two-still\"\nfind = \"= 2\"\nreplace = \"= 0\"\neffect = \"Stands still.\"\n", "");
    assert!(complaint(&miniature).contains("task two: fewer than two mutants"));
    let miniature = Miniature::new();
    miniature.write("stages/01-tiny/hints.toml", "");
    let said = complaint(&miniature);
    assert!(
        said.contains("no task was checked") && said.contains("anchor solve-one has no task"),
        "{said}"
    );
}

#[test]
fn the_lint_holds_the_book_to_the_stage() {
    let miniature = Miniature::new();
    let lint = |miniature: &Miniature| {
        let book = course::book::Book::load(&miniature.workspace()).unwrap();
        course::book::lint::lint(&book).unwrap().join("\n")
    };
    assert_eq!(lint(&miniature), "");
    let chapter = "book/src/01-tiny.md";
    for (from, to, complaint) in [
        ("{{#task 01 two}}", "", "does not show solve-two"),
        ("## Measure\n", "", "missing: [\"Measure\"]"),
        (
            "## Run it first\n",
            "## Run it first\n\n[gone](gone.md)\n",
            "the link gone.md leads nowhere",
        ),
        (
            "## Run it first\n",
            "## Run it first\n\n[gone](#gone)\n",
            "the link #gone leads nowhere",
        ),
        (
            "## Run it first\n",
            "## Run it first\n\n[gone](../../stages/gone.rs)\n",
            "leads nowhere",
        ),
        (
            "## Run it first\n",
            "## Run it first\n\n```rust\n{{#include ../../stages/01-tiny/src/lib.rs:gone}}\n```\n",
            "has no anchor",
        ),
        (
            "## Run it first\n",
            "## Run it first\n\n{{#include gone.txt}}\n",
            "has no file",
        ),
        (
            "## Run it first\n",
            "## Run it first\n\nIt is 3 times as fast.\n",
            "must come from a record",
        ),
        (
            "{{#value 01-speed one}}",
            "{{#value 01-speed gone}}",
            "no series \"gone\"",
        ),
        ("{{#proven 01}}", "{{#nothing 01}}", "no such directive"),
    ] {
        let before = miniature.read(chapter);
        miniature.replace(chapter, from, to);
        let said = lint(&miniature);
        assert!(said.contains(complaint), "{complaint:?} in {said:?}");
        miniature.write(chapter, &before);
    }
    miniature.write("book/src/stray.md", "# Stray\n");
    miniature.write("book/traces/stray.json", "{}");
    let said = lint(&miniature);
    assert!(
        said.contains("stray.md: SUMMARY.md does not list it")
            && said.contains("book/traces/stray.json: no page shows it"),
        "{said}"
    );
}

#[test]
fn a_stage_is_begun_on_a_clean_branch_alone() {
    let miniature = Miniature::new();
    let workspace = miniature.workspace();
    assert!(
        start(&workspace, "01", None, false)
            .unwrap_err()
            .to_string()
            .contains("main branch")
    );
    miniature.run("git", &["switch", "-q", "-c", "learn"]);
    miniature.replace(SOURCE, "A tiny stage.", "A tiny stage, changed.");
    assert!(
        start(&workspace, "1", None, false)
            .unwrap_err()
            .to_string()
            .contains("commit them first")
    );
    let said = start(&workspace, "1", Some("two"), true).unwrap();
    assert!(
        said.contains("forced, although files have changes"),
        "{said}"
    );
    assert!(
        miniature
            .read(SOURCE)
            .contains("todo!(\"task 01/two: cargo course hint 01 two\")")
    );
    assert!(
        miniature.read(SOURCE).contains("let step = 1;"),
        "one task alone is blank"
    );
    assert!(
        start(&workspace, "01", Some("nine"), true)
            .unwrap_err()
            .to_string()
            .contains("it has one, two, three, four")
    );
}

#[test]
fn hints_grow_and_solutions_come_back() {
    let miniature = Miniature::new();
    let workspace = miniature.workspace();
    let reference = miniature.read(SOURCE);
    miniature.run("git", &["switch", "-q", "-c", "learn"]);
    start(&workspace, "01", None, false).unwrap();
    miniature.commit();
    assert!(next(&workspace).unwrap().contains("01/one: Add 1"));
    assert!(
        hint(&workspace, "01", "one")
            .unwrap()
            .contains("hint 1 of 2")
    );
    assert!(
        hint(&workspace, "01", "one")
            .unwrap()
            .contains("cargo course reveal 01 one")
    );
    assert!(
        hint(&workspace, "01", "one")
            .unwrap()
            .contains("hint 2 of 2"),
        "the last hint stays"
    );
    assert!(
        diff(&workspace, "01", "one")
            .unwrap_err()
            .to_string()
            .contains("not solved yet")
    );
    miniature.replace(
        SOURCE,
        "    todo!(\"task 01/one: cargo course hint 01 one\")\n",
        "    n + 1\n",
    );
    let said = diff(&workspace, "01", "one").unwrap();
    assert!(
        said.contains("-    let step = 1;") && said.contains("+    n + 1"),
        "{said}"
    );
    assert!(next(&workspace).unwrap().contains("01/two"));
    miniature.commit();
    for task in ["one", "two", "three", "four"] {
        reveal(&workspace, "01", task).unwrap();
        assert!(
            diff(&workspace, "01", task)
                .unwrap()
                .contains("letter for letter")
        );
    }
    assert_eq!(miniature.read(SOURCE), reference);
    assert!(
        course::status::status(&workspace)
            .unwrap()
            .contains("4/4 (4 seen)")
    );
    assert!(next(&workspace).unwrap().contains("no task is blank"));
}

#[test]
fn a_region_whose_marks_are_gone_is_named() {
    let miniature = Miniature::new();
    miniature.replace(SOURCE, "    // ANCHOR: solve-two\n", "");
    miniature.replace(SOURCE, "    // ANCHOR_END: solve-two\n", "");
    let said = hint(&miniature.workspace(), "01", "two")
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("no source has the anchor solve-two"),
        "{said}"
    );
}

#[test]
fn the_drill_asks_shows_the_points_and_ends() {
    let miniature = Miniature::new();
    let workspace = miniature.workspace();
    miniature.write(
        "stages/01-tiny/interview.toml",
        "[[question]]\nid = \"why\"\nquestion = \"Why count?\"\nanswer = \"To know.\"\nfollow_ups = [\"How far?\"]\n[[question.rubric]]\npoint = \"Says why.\"\nproof = \"stage-01::task_1_one::counts\"\n",
    );
    let session = |input: &str| {
        let mut output = Vec::new();
        course::drill::drill(
            &workspace,
            Some("01"),
            Some(1),
            &mut input.as_bytes(),
            &mut output,
        )
        .unwrap();
        String::from_utf8(output).unwrap()
    };
    let whole = session("\n\n\n");
    let at = |text: &str| {
        whole
            .find(text)
            .unwrap_or_else(|| panic!("{text:?} in {whole}"))
    };
    assert!(
        at("Why count?") < at("Says why.")
            && at("Says why.") < at("How far?")
            && at("How far?") < at("To know.")
    );
    assert!(at("stage-01::task_1_one::counts") > 0);
    assert!(
        !session("q\n").contains("Says why."),
        "who quits sees no answer"
    );
    assert!(!session("\nq\n").contains("To know."));
}
