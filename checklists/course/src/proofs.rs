//! Checks every proof that the course names: tests ran and passed, records hold what is claimed of them, sections exist.

use crate::book::{Book, references::References};
use crate::cargo::{Outcome, Program, build_tests, parse_test_run};
use crate::checklist::{Checklist, Item};
use crate::error::{Error, Result, read, write};
use crate::interview::questions;
use crate::snapshot::{Snapshot, State};
use crate::workspace::{Workspace, file_name};
use benches::{Claim, Record};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

/// A target of the whole project, with its longest test.
const LIMIT: Duration = Duration::from_secs(900);

/// How tests ended, by `package::target::path`.
pub type Outcomes = BTreeMap<String, Outcome>;

impl Item {
    /// Its proofs as the snapshot names them.
    pub fn proof_names(&self) -> Vec<String> {
        let tests = self.tests.iter().map(|test| format!("test {test}"));
        let records = self
            .records
            .iter()
            .map(|record| format!("record {} {}", record.name, record.claim));
        let kernels = self.kernels.iter().map(|kernel| format!("kernel {kernel}"));
        let chapters = self
            .chapters
            .iter()
            .map(|chapter| format!("chapter {chapter}"));
        tests
            .chain(records)
            .chain(kernels)
            .chain(chapters)
            .collect()
    }
}

/// Runs the cited tests, checks all proofs, writes the snapshot. `ran` may be a file of what `cargo test --workspace` has just printed, errors
/// and output in one: a test whose end it shows is not run again, unless its program was built later.
///
/// # Errors
/// If a proof does not hold, or the snapshot was not up to date; it is then written, to be looked at and committed.
pub fn check(workspace: &Workspace, ran: Option<&Path>) -> Result<Snapshot> {
    let cited = Cited::gather(workspace)?;
    let outcomes = run_tests(workspace, &cited.tests, ran)?;
    let snapshot = cited.verify(workspace, &outcomes)?;
    let path = Snapshot::path(workspace);
    let text = snapshot.render(&cited.checklists);
    let before = if path.is_file() {
        read(&path)?
    } else {
        String::new()
    };
    if before != text {
        write(&path, &text)?;
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        let (old, new) = (lines(&before), lines(&text));
        let lost = old.difference(&new).map(|line| format!("- {line}"));
        let won = new.difference(&old).map(|line| format!("+ {line}"));
        let changes: Vec<_> = lost.chain(won).collect();
        return Err(Error(format!(
            "the proofs have changed; look, and commit checklists/proofs.txt:\n{}",
            changes.join("\n")
        )));
    }
    Ok(snapshot)
}

/// Everything that is cited anywhere.
pub struct Cited {
    /// The checklists.
    pub checklists: Vec<Checklist>,
    /// Tests.
    pub tests: BTreeSet<String>,
    /// Sections of chapters.
    pub chapters: BTreeSet<String>,
    book: Book,
    references: References,
}

impl Cited {
    /// Gathers what checklists, chapters and interview questions cite.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn gather(workspace: &Workspace) -> Result<Self> {
        let checklists = workspace.checklists()?;
        let book = Book::load(workspace)?;
        let references = book.references();
        let items = || checklists.iter().flat_map(|checklist| &checklist.items);
        let mut tests: BTreeSet<String> = items().flat_map(|item| item.tests.clone()).collect();
        let mut chapters: BTreeSet<String> =
            items().flat_map(|item| item.chapters.clone()).collect();
        tests.extend(references.tests.iter().cloned());
        for stage in workspace.stages()? {
            for question in questions(workspace, &stage)? {
                for point in question.rubric {
                    if point.is_chapter() {
                        &mut chapters
                    } else {
                        &mut tests
                    }
                    .insert(point.proof);
                }
            }
        }
        Ok(Self {
            checklists,
            tests,
            chapters,
            book,
            references,
        })
    }

    /// What each proof and item comes to.
    ///
    /// # Errors
    /// If any proof does not hold. A record whose sources have changed is no error: it shows as stale.
    pub fn verify(&self, workspace: &Workspace, outcomes: &Outcomes) -> Result<Snapshot> {
        let mut problems = Vec::new();
        let mut snapshot = Snapshot::default();
        let records = self.load_records(workspace, &mut problems);
        for test in &self.tests {
            match test_state(test, outcomes, &records, workspace) {
                Ok(state) => drop(snapshot.proofs.insert(format!("test {test}"), state)),
                Err(why) => problems.push(format!("test {test} {why}")),
            }
        }
        for chapter in &self.chapters {
            match self.book.find(chapter) {
                Ok(()) => drop(
                    snapshot
                        .proofs
                        .insert(format!("chapter {chapter}"), "found".to_owned()),
                ),
                Err(why) => problems.push(format!("chapter {chapter}: {why}")),
            }
        }
        for item in self
            .checklists
            .iter()
            .flat_map(|checklist| &checklist.items)
        {
            let mut stale = false;
            for cited in &item.records {
                let name = format!("record {} {}", cited.name, cited.claim);
                match record_state(&records, &cited.name, &cited.claim, workspace) {
                    Ok((fresh, state)) => {
                        stale |= !fresh;
                        snapshot.proofs.insert(name, state);
                    }
                    Err(why) => problems.push(format!("{}: {name}: {why}", item.id)),
                }
            }
            for kernel in &item.kernels {
                if workspace.root.join(kernel).is_file() {
                    snapshot
                        .proofs
                        .insert(format!("kernel {kernel}"), "found".to_owned());
                } else {
                    problems.push(format!("{}: there is no kernel {kernel}", item.id));
                }
            }
            let state = match (item.has_proofs(), stale, item.open.is_empty()) {
                (false, _, _) => State::Open,
                (true, true, _) => State::Stale,
                (true, false, true) => State::Proven,
                (true, false, false) => State::Part,
            };
            snapshot.items.insert(item.id.clone(), state);
        }
        let known = |id: &String| snapshot.items.contains_key(id);
        problems.extend(
            self.references
                .items
                .iter()
                .filter(|id| !known(id))
                .map(|id| format!("a chapter names item {id}, which no checklist has")),
        );
        Error::all(&problems)?;
        Ok(snapshot)
    }

    /// The records, by name. One that nothing cites is an orphan: a figure that nobody reads, or a claim that lost its record.
    fn load_records(
        &self,
        workspace: &Workspace,
        problems: &mut Vec<String>,
    ) -> BTreeMap<String, Record> {
        let mut records = BTreeMap::new();
        let items = || {
            self.checklists
                .iter()
                .flat_map(|checklist| &checklist.items)
        };
        for path in crate::workspace::files(&workspace.root.join("benches/records"), "json") {
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let claimed = items().any(|item| item.records.iter().any(|record| record.name == name));
            if !claimed && !self.references.records.contains(&name) {
                problems.push(format!("record {name}: no item and no chapter cites it"));
            }
            match Record::load(&workspace.root, &name) {
                Ok(record) => drop(records.insert(name, record)),
                Err(error) => problems.push(error.to_string()),
            }
        }
        records
    }
}

/// Builds all test targets of the project, as `cargo test --workspace` does, and runs the cited tests but for those whose end `ran` shows.
fn run_tests(
    workspace: &Workspace,
    tests: &BTreeSet<String>,
    ran: Option<&Path>,
) -> Result<Outcomes> {
    let printed = ran.map(read).transpose()?.unwrap_or_default();
    let mut seen = parse_test_run(&printed);
    let mut outcomes = Outcomes::new();
    for binary in build_tests(&workspace.root, &workspace.target(), &["--workspace"])? {
        let mut found = BTreeMap::new();
        if let (Some(ran), Some(own)) = (ran, seen.remove(&file_name(&binary.executable)))
            && !is_newer(&binary, ran)?
        {
            found = own;
        }
        let prefix = format!("{}::{}::", binary.package, binary.target);
        let own: Vec<_> = tests
            .iter()
            .filter_map(|test| test.strip_prefix(&prefix))
            // Also one whose line is unreadable, because something else was printed into it.
            .filter(|&test| !found.contains_key(test))
            .collect();
        if !own.is_empty() {
            found.extend(binary.outcomes(&own, LIMIT)?);
        }
        let named = found
            .into_iter()
            .map(|(test, outcome)| (prefix.clone() + &test, outcome));
        outcomes.extend(named);
    }
    Ok(outcomes)
}

/// Whether the program was built after the file was written.
fn is_newer(program: &Program, file: &Path) -> Result<bool> {
    let changed = |path: &Path| {
        let time = path.metadata().and_then(|metadata| metadata.modified());
        time.map_err(|error| Error::at(path, error))
    };
    Ok(changed(&program.executable)? > changed(file)?)
}

/// What a test came to, or why it is no proof.
fn test_state(
    test: &str,
    outcomes: &Outcomes,
    records: &BTreeMap<String, Record>,
    workspace: &Workspace,
) -> std::result::Result<String, String> {
    match outcomes.get(test) {
        Some(Outcome::Passed) => Ok("passed".to_owned()),
        Some(Outcome::Failed) => Err("failed".to_owned()),
        None => Err("did not run: there is no such test".to_owned()),
        Some(Outcome::Ignored) => {
            let shown = records
                .values()
                .find(|record| record.tests_passed.iter().any(|passed| passed == test));
            match shown {
                Some(record) if record.is_stale(&workspace.root) => Ok(format!(
                    "stale, passed on {} before its sources changed",
                    record.machine.device
                )),
                Some(record) => Ok(format!("passed on {}", record.machine.device)),
                None => Err("is ignored, and no record shows its run".to_owned()),
            }
        }
    }
}

/// Whether the record is fresh, and what the claim came to; or why it does not hold.
fn record_state(
    records: &BTreeMap<String, Record>,
    name: &str,
    claim: &str,
    workspace: &Workspace,
) -> std::result::Result<(bool, String), String> {
    let record = records.get(name).ok_or("there is no such record")?;
    let claim: Claim = claim
        .parse()
        .map_err(|error: benches::ClaimError| error.to_string())?;
    let (holds, quantity) = claim.holds(record).map_err(|error| error.to_string())?;
    if !holds {
        return Err(format!("does not hold: the record gives {quantity}"));
    }
    let fresh = !record.is_stale(&workspace.root);
    let state = if fresh { "holds" } else { "stale, held" };
    Ok((fresh, format!("{state} on {}", record.machine.device)))
}
